"""How the rows of one arrival are read, whatever kind of source it came from.

Files have one reader per format. A batch asks each of them for its columns and their types, its rows and how many there
are, and whether they still are the rows that the manifest pinned. Rows are numbered from 0 in the order of the
arrival, and a row keeps its number whatever else is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Protocol

import polars as pl
import pyarrow as pa

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.manifest import Entry
from featurestore.arrivals.source_kinds import source_kind
from featurestore.resources.data_pipeline import Source
from featurestore_transforms.sources.column_use import ColumnUse
from featurestore_transforms.sources.stream import FrameStream, limit
from featurestore_transforms.steps.column_names import ColumnNames


class UnreadableArrival(Exception):
    """An arrival that cannot be taken: the ``rule`` it breaks, and a human-readable ``reason``."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = reason


DECODING = (
    UnreadableArrival,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    pa.ArrowException,
    OSError,
    EOFError,
    ValueError,
)
"""What decoders raise over broken bytes."""


class ArrivalReader(Protocol):
    """An arrival that looks like what it should be. Reading it may still show that it is not.

    ``schema``: its columns, under names that a plan can have; all are strings where the format has no types.
    ``names``: those that the arrival gives them. ``partitions``: columns with one value in all rows, which stands in the
    arrival's path. ``whole``: False of a part of a stream, which may end anywhere: a column that it lacks says
    nothing, and one that is not taken refuses the rows that have it.
    """

    arrival: Arrival
    schema: Mapping[str, pl.DataType]
    names: ColumnNames
    partitions: Mapping[str, pl.Series]

    @property
    def whole(self) -> bool:
        """See above."""

    @property
    def stream(self) -> FrameStream:
        """The rows piece by piece."""

    @property
    def refused(self) -> Mapping[str, str]:
        """Columns of types that no table holds, and why each is refused; ``Unknown`` in the schema."""

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        """The types that values of these columns have, in all rows; ``Null`` if there is no value."""

    def scan(self) -> pl.LazyFrame:
        """``frame[<columns>, __row: int64]``, and ``__malformed: str, __line: str`` if rows may be malformed."""

    def rows(self) -> int:
        """How many rows there are; known once all of them were scanned."""

    def refuse(self, columns: Mapping[str, str]) -> None:
        """Take no row that has one of these columns, for the reasons given. Raises UnreadableArrival if all rows do."""

    def require_learnable(self, use: ColumnUse) -> None:
        """Raises UnreadableArrival if the names and types of columns are not to be learned from this one."""

    def require_unchanged(self) -> None:
        """Raises UnreadableArrival if it is gone or was changed since it was taken, StorageError if storage did not answer."""

    def explaining(self) -> AbstractContextManager[None]:
        """What goes wrong inside becomes ``UnreadableArrival``, or StorageError if it is not the arrival's fault."""


def open_reader(arrival: Arrival, source: Source, memory_bytes: int, base: str) -> ArrivalReader:
    """A reader of the arrival's rows, from the module that the table of source kinds names.

    ``memory_bytes``: what a run may take. ``base``: what relative URIs are relative to.

    Raises:
        UnreadableArrival: the arrival is gone, was changed, is empty, or is not what the source says.
        StorageError: storage did not answer.
    """
    reader: ArrivalReader = import_module(source_kind(source).reader).open_reader(
        arrival, source, memory_bytes, base
    )
    return reader


def open_head(
    arrival: Arrival, source: Source, memory_bytes: int, base: str, scratch: Path
) -> tuple[ArrivalReader, bool]:
    """A reader of the arrival's first rows, and whether it is known that these are all.

    A kind of source whose reader has no ``open_head`` of its own is read row by row. ``scratch``: an empty folder.

    Raises:
        UnreadableArrival: as :func:`open_reader`.
        StorageError: storage did not answer.
    """
    open_own = getattr(import_module(source_kind(source).reader), "open_head", None)
    if open_own is not None:
        head: tuple[ArrivalReader, bool] = open_own(arrival, source, memory_bytes, base, scratch)
        return head
    reader = open_reader(arrival, source, memory_bytes, base)
    limit(reader.stream)
    return reader, False


def unused_path_columns(arrival: Arrival, source: Source) -> tuple[str, ...]:
    """Columns whose values are in the arrival's path, and that the spec does not take; most kinds of source have none."""
    of_source = getattr(import_module(source_kind(source).reader), "unused_path_columns", None)
    names: tuple[str, ...] = () if of_source is None else of_source(arrival, source)
    return names


def acknowledge(entries: Sequence[Entry], source: Source) -> None:
    """Tell the source what a committed batch took, for those who watch its lag; nothing depends on it."""
    of_source = getattr(import_module(source_kind(source).reader), "acknowledge", None)
    if of_source is not None:
        of_source(entries, source)


def require_taken(reader: ArrivalReader, columns: Iterable[str]) -> None:
    """Raises UnreadableArrival if no table holds values of these columns' types; it says which column, of which type."""
    reasons = [reader.refused[name] for name in columns if name in reader.refused]
    if reasons:
        raise UnreadableArrival(
            "file:type", f"{'; '.join(reasons)}. The file is taken once the column is dropped or not selected"
        )
