"""How the rows of one arrival are read, whatever kind of source it came from.

Files have one reader per format. What a batch asks of any of them: which columns, of which types, which rows, how
many; and whether they still are the rows that the manifest pinned. Rows are numbered from 0 in the order of the
arrival, and a row keeps its number whatever else is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import polars as pl
import pyarrow as pa

from featurestore.arrivals.arrival import Arrival
from featurestore_transforms.sources.stream import FrameStream
from featurestore_transforms.steps.column_names import ColumnNames

MALFORMED, LINE = "__malformed", "__line"
"""String columns: why a row cannot be told apart into values, and the text that it is. Null for other rows."""

DECODING = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    pa.ArrowException,
    OSError,
    EOFError,
    ValueError,
)
"""What decoders raise over broken bytes."""


class UnreadableFile(Exception):
    """An arrival that cannot be taken: the ``rule`` it breaks, and a human-readable ``reason``."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = reason


class ArrivalReader(Protocol):
    """An arrival that looks like what it should be. Reading it may still show that it is not.

    ``schema``: its columns, under names that a plan can have; all are strings where the format has no types.
    ``names``: those that the arrival gives them. ``partitions``: columns that have one value in all rows, which the
    name of the arrival tells.
    """

    arrival: Arrival
    schema: Mapping[str, pl.DataType]
    names: ColumnNames
    partitions: Mapping[str, pl.Series]

    @property
    def stream(self) -> FrameStream | None:
        """The rows piece by piece; None if they do not come so."""

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        """The types that values of these columns have, in all rows; ``Null`` if there is no value."""

    def scan(self) -> pl.LazyFrame:
        """``frame[<columns>, __row: int64]``, and ``__malformed: str, __line: str`` if rows may be malformed."""

    def rows(self) -> int:
        """How many rows there are; known once all of them were scanned."""

    def refuse(self, columns: Mapping[str, str]) -> None:
        """Take no row that has one of these columns, for the reasons given. Raises UnreadableFile if all rows do."""

    def require_learnable(self) -> None:
        """Raises UnreadableFile if the names and types of columns are not to be learned from this one."""

    def require_unchanged(self) -> None:
        """Raises UnreadableFile if it is gone or was changed since it was taken, StorageError if storage did not answer."""

    def explaining(self) -> AbstractContextManager[None]:
        """What goes wrong inside becomes ``UnreadableFile``, or StorageError if it is not the arrival's fault."""
