"""The rows of Parquet files that a table's metadata lists, one file after the other: what readers of tables have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

import polars as pl
import pyarrow as pa

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files.listing import find_arrival
from featurestore.storage.credentials import source_environ
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.arrow_values import ColumnTypes
from featurestore_transforms.sources.column_use import ColumnUse
from featurestore_transforms.sources.parquet_file import ParquetFile
from featurestore_transforms.sources.reader import DECODING, UnreadableArrival
from featurestore_transforms.sources.source_file import sparing_others
from featurestore_transforms.sources.stream import LINE, MALFORMED, MARKS, FrameReader, FrameStream, same
from featurestore_transforms.steps.column_names import ColumnNames, short

TIME = pl.Datetime("us", "UTC")


class TablePiece(Protocol):
    """A file of rows. ``uri``: where it is; ``path``: as people read it."""

    @property
    def uri(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...


P = TypeVar("P", bound=TablePiece)


class TableReader(FrameReader, Generic[P]):
    """See :class:`featurestore_transforms.sources.reader.ArrivalReader`. A kind of table says what its pieces are.

    ``kind``: field of the source, and what its rules begin with. ``own``: columns of the table. ``given``: columns beside
    those, that ``include`` names. ``words``: what the arrival is called.
    """

    whole = True
    partitions: Mapping[str, pl.Series] = MappingProxyType({})

    def __init__(
        self,
        arrival: Arrival,
        memory_bytes: int,
        kind: str,
        own: pa.Schema,
        given: Mapping[str, pl.DataType],
        words: str,
    ) -> None:
        self.arrival, self._memory_bytes, self._kind = arrival, memory_bytes, kind
        self._given, self._words = given, words
        names = ColumnNames.of(own.names)
        for name in own.names:
            if name.lower() in {column.lower() for column in given}:
                raise UnreadableArrival(
                    f"{kind}:column",
                    f"the table has a column {short(name)}, and spec.source.{kind}.include names a column so",
                )
        self.names = ColumnNames(
            {**names.originals, **{name: name for name in given}}, names.unusable, names.repeated
        )
        types = ColumnTypes.of(own, names.originals, {})
        self.refused: Mapping[str, str] = types.refused
        self.schema = {**types.polars, **given}
        self._lost: list[str] = []
        self._files: list[tuple[P, ParquetFile]] = []

    def _open(self, pieces: Iterator[P]) -> None:
        """Opens all files: what cannot be read is told before a row is.

        Raises:
            UnreadableArrival: all of them are gone, or one is not what the metadata says.
        """
        taken = {name: dtype for name, dtype in self.schema.items() if name not in self.refused}
        self._files = [(piece, file) for piece in pieces if (file := self._file(piece)) is not None]
        if self._lost and not self._files:
            raise UnreadableArrival(f"{self._kind}:lost", self._gone)
        self.stream = FrameStream({**taken, **MARKS}, self._frames)

    def refuse(self, columns: Mapping[str, str]) -> None:
        """Every row of a table has every column."""
        raise UnreadableArrival(f"{self._kind}:column", next(iter(columns.values())))

    def require_learnable(self, use: ColumnUse) -> None:
        """Any commit will do: the table has a schema."""

    def require_unchanged(self) -> None:
        """Files of a table are never changed. One that is gone is told where it was to be read."""

    @contextmanager
    def explaining(self) -> Iterator[None]:
        try:
            yield
        except UnreadableArrival:
            raise
        except DECODING as error:
            failure = self.stream.failure or error
            for piece, _ in self._files:
                if not self._is_there(piece):
                    raise UnreadableArrival(
                        f"{self._kind}:lost", f"{piece.path} was deleted while it was read"
                    ) from error
            if isinstance(failure, UnreadableArrival):
                raise failure from error
            raise UnreadableArrival(
                f"{self._kind}:corrupt", str(failure) or type(failure).__name__
            ) from error

    @property
    def _gone(self) -> str:
        count = f"{len(self._lost)} of {len(self._lost) + len(self._files)} files"
        return f"{count} of {self._words} were deleted before they were read; {self._lost[0]} is one"

    def _file(self, piece: P) -> ParquetFile | None:
        """The file's reader; None if it is gone, which is noted."""
        try:
            return ParquetFile(Arrival(piece.uri, "", piece.size_bytes, 0), self._memory_bytes)
        except DECODING as error:
            if self._is_there(piece):
                if isinstance(error, UnreadableArrival):
                    raise
                reason = f"{piece.path}: {error or type(error).__name__}"
                raise UnreadableArrival(f"{self._kind}:corrupt", reason) from error
        self._lost.append(piece.path)
        return None

    def _is_there(self, piece: P) -> bool:
        """Whether the file is there as the metadata has it.

        Raises:
            UnreadableArrival: it has another size, or must not be read.
            StorageError: storage did not answer.
        """
        with sparing_others(replace(self.arrival, uri=piece.uri)):
            arrival = find_arrival(piece.uri, source_environ())
        if arrival is not None and arrival.size_bytes != piece.size_bytes:
            raise UnreadableArrival(
                f"{self._kind}:corrupt",
                f"{piece.path} has {arrival.size_bytes:,} bytes, and {piece.size_bytes:,} in the table's metadata",
            )
        return arrival is not None

    def _frames(self, wanted: Collection[str]) -> Iterator[pl.DataFrame]:
        """A row's number counts the rows of all files that are there, those that are left out as well."""
        first = 0
        for piece, file in self._files:
            for frame, kept in self._of_file(piece, file, wanted):
                numbered = frame.with_columns(
                    pl.int_range(first, first + frame.height, dtype=pl.Int64).alias(ROW)
                )
                first += frame.height
                yield numbered if kept is None else numbered.filter(kept)
        if self._lost:
            yield self._row_of_lost(first, wanted)

    def _of_file(
        self, piece: P, file: ParquetFile, wanted: Collection[str]
    ) -> Iterator[tuple[pl.DataFrame, pl.Series | None]]:
        """All rows of the file, ``frame[<wanted columns>, __malformed, __line]``, and which of them are kept; None: all."""
        sources = {
            name: source
            for name, source in self._sources(piece, file).items()
            if name in wanted and name not in self.refused
        }
        for source in sources.values():
            if source in file.refused:
                raise UnreadableArrival(f"{self._kind}:corrupt", f"{piece.path}: {file.refused[source]}")
        for frame in file.stream.frames({*sources.values(), *self._asked(piece, file), *MARKS}):
            columns = []
            for name, dtype in self.schema.items():
                if name not in wanted or name in self.refused:
                    continue
                if name in sources:
                    column = frame.get_column(sources[name]).alias(name)
                    columns.append(column if column.dtype == dtype else column.cast(dtype))
                else:
                    columns.append(self._column(piece, file, frame, name, dtype))
            marks = (frame.get_column(name) for name in (MALFORMED, LINE))
            yield pl.DataFrame([*columns, *marks]), self._kept(piece, file, frame)

    def _sources(self, piece: P, file: ParquetFile) -> Mapping[str, str]:
        """Columns of the table, to the columns of the file that have their values."""
        raise NotImplementedError

    def _column(
        self, piece: P, file: ParquetFile, frame: pl.DataFrame, name: str, dtype: pl.DataType
    ) -> pl.Series:
        """The values of a column that the file does not have."""
        raise NotImplementedError

    def _asked(self, piece: P, file: ParquetFile) -> Collection[str]:
        """Columns of the file that are needed beside those of the table."""
        return ()

    def _kept(self, piece: P, file: ParquetFile, frame: pl.DataFrame) -> pl.Series | None:
        """Which rows of a frame of the file the arrival brings; None: all."""
        return None

    def _row_of_lost(self, number: int, wanted: Collection[str]) -> pl.DataFrame:
        columns = [
            same(name, None, dtype, 1)
            for name, dtype in self.schema.items()
            if name in wanted and name not in self.refused
        ]
        marks = {ROW: number, MALFORMED: f"{self._kind}:lost: {self._gone}", LINE: None}
        return pl.DataFrame([*columns, *(same(name, marks[name], dtype, 1) for name, dtype in MARKS.items())])
