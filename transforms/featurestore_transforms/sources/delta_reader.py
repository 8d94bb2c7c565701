"""The rows of one commit of a Delta table, or of its first snapshot: those of its Parquet files, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.delta.delta_commit import ChangeKind, DeltaCommit, TableFile
from featurestore.arrivals.delta.delta_log import DeltaLog, table_file_uri
from featurestore.arrivals.delta.delta_source import LOST, REPLACED
from featurestore.arrivals.delta.table_versions import TableVersions
from featurestore.arrivals.files.listing import find_arrival
from featurestore.errors import Damaged, NotFound, StorageError
from featurestore.resources.data_pipeline import Source
from featurestore.resources.delta_lake import DeltaLake, OnChange
from featurestore.resources.location import locate
from featurestore.storage.credentials import source_environ
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.arrow_values import ColumnTypes
from featurestore_transforms.sources.column_use import ColumnUse
from featurestore_transforms.sources.parquet_file import ParquetFile
from featurestore_transforms.sources.reader import DECODING, ArrivalReader, UnreadableArrival
from featurestore_transforms.sources.source_file import sparing_others
from featurestore_transforms.sources.stream import (
    LINE,
    MALFORMED,
    MARKS,
    FrameReader,
    FrameStream,
    limit,
    same,
)
from featurestore_transforms.steps.column_names import ColumnNames, short

CHANGED, UNSUPPORTED = "delta:changed", "delta:unsupported"
"""Rules of commits that change rows where that is refused, and of tables that cannot be read here."""
_TIME = pl.Datetime("us", "UTC")
_INSERT, _DELETE, _PREIMAGE = "insert", "delete", "update_preimage"
_CHANGE = "_change_type"
_DELETION_VECTORS = "deletionVectors"
_KNOWN_FEATURES = {"timestampNtz", "vacuumProtocolCheck", "v2Checkpoint", "typeWidening", _DELETION_VECTORS}


@dataclass(frozen=True, slots=True)
class _Piece:
    """A file of rows. ``change``: what became of all of them; None if the file says it of each."""

    file: TableFile
    change: str | None
    version: int
    time_ms: int | None


def open_reader(arrival: Arrival, source: Source, memory_bytes: int, base: str) -> ArrivalReader:
    """See :func:`featurestore_transforms.sources.reader.open_reader`. The footers of all its files are read.

    Raises:
        UnreadableArrival: the version or all its files are gone, it changes rows where that is refused, or the table
            needs what is not known here.
        StorageError: storage did not answer.
    """
    assert source.delta is not None
    log = DeltaLog(locate(arrival.uri, base), source_environ())
    return DeltaReader(arrival, source.delta, log, memory_bytes)


def open_head(
    arrival: Arrival, source: Source, memory_bytes: int, base: str, scratch: Path
) -> tuple[ArrivalReader, bool]:
    """See :func:`featurestore_transforms.sources.reader.open_head`. Of all commits that are listed, what the table is now."""
    listed = TableVersions.of(arrival.version)
    snapshot = TableVersions(listed.table_id, 0, listed.end, snapshot=True)
    reader = open_reader(replace(arrival, version=str(snapshot)), source, memory_bytes, base)
    limit(reader.stream)
    return reader, False


class DeltaReader(FrameReader):
    """See :class:`featurestore_transforms.sources.reader.ArrivalReader`."""

    whole = True
    partitions: Mapping[str, pl.Series] = MappingProxyType({})

    def __init__(self, arrival: Arrival, delta: DeltaLake, log: DeltaLog, memory_bytes: int) -> None:
        self.arrival, self._delta, self._log = arrival, delta, log
        self._memory_bytes = memory_bytes
        self._versions = TableVersions.of(arrival.version)
        self._table = self._opened()
        own = pa.schema(self._table.schema().to_arrow())
        include = delta.include
        self._given: dict[str, pl.DataType] = {
            **({include.change: pl.String()} if include.change else {}),
            **({include.version: pl.Int64()} if include.version else {}),
            **({include.timestamp: _TIME} if include.timestamp else {}),
        }
        names = ColumnNames.of(own.names)
        for name in own.names:
            if name.lower() in {given.lower() for given in self._given}:
                raise UnreadableArrival(
                    "delta:column",
                    f"the table has a column {short(name)}, and spec.source.delta.include names a column so",
                )
        given = {name: name for name in self._given}
        self.names = ColumnNames({**names.originals, **given}, names.unusable, names.repeated)
        types = ColumnTypes.of(own, names.originals, {})
        self.refused: Mapping[str, str] = types.refused
        self.schema = {**types.polars, **self._given}
        taken = {name: dtype for name, dtype in self.schema.items() if name not in self.refused}
        self._lost: list[str] = []
        self._files = [(piece, file) for piece in self._pieces() if (file := self._file(piece)) is not None]
        if self._lost and not self._files:
            raise UnreadableArrival(LOST, self._gone)
        self.stream = FrameStream({**taken, **MARKS}, self._frames)

    def refuse(self, columns: Mapping[str, str]) -> None:
        """Every row of a table has every column."""
        raise UnreadableArrival("delta:column", next(iter(columns.values())))

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
                self._require_there(piece)
            if isinstance(failure, UnreadableArrival):
                raise failure from error
            raise UnreadableArrival("delta:corrupt", str(failure) or type(failure).__name__) from error

    @property
    def _gone(self) -> str:
        count = f"{len(self._lost)} of {len(self._lost) + len(self._files)} files"
        why = "were deleted, by VACUUM for instance, before they were read"
        return f"{count} of {self._versions.words} {why}; {self._lost[0]} is one"

    @cached_property
    def _configuration(self) -> Mapping[str, str | None]:
        configuration: Mapping[str, str | None] = self._table.metadata().configuration
        return configuration

    def _opened(self) -> DeltaTable:
        """The table at the last version of the arrival.

        Raises:
            UnreadableArrival: it is not there any more, is another table, or needs what is not known here.
            StorageError: storage did not answer.
        """
        last = self._versions.end - 1
        try:
            table = DeltaTable(
                self._log.storage.root, version=last, storage_options=self._log.storage.delta_options
            )
        except (DeltaError, OSError, ValueError) as error:
            if not self._log.has_commit(last):
                raise UnreadableArrival(LOST, f"{self._versions.words} is not there any more") from error
            if isinstance(error, OSError):
                raise StorageError(
                    "the Delta table cannot be read", where=self._log.uri, got=str(error)
                ) from error
            raise UnreadableArrival(UNSUPPORTED, f"the table cannot be read: {error}") from error
        table_id = str(table.metadata().id)
        if self._versions.table_id not in ("", table_id):
            got = f"wanted {self._versions.table_id}, got {table_id}"
            raise UnreadableArrival(
                REPLACED, f"the table was deleted and made again before it was read: {got}"
            )
        self._require_known(table)
        return table

    def _require_known(self, table: DeltaTable) -> None:
        protocol = table.protocol()
        needed = set(protocol.reader_features or ()) - _KNOWN_FEATURES
        mapping = (table.metadata().configuration or {}).get("delta.columnMapping.mode") or "none"
        if mapping != "none":
            needed.add("columnMapping")
        else:
            needed.discard("columnMapping")
        if self._versions.snapshot and _DELETION_VECTORS in (protocol.reader_features or ()):
            needed.add(_DELETION_VECTORS)
        if needed:
            hint = ", or begin at a version (startAt)" if needed == {_DELETION_VECTORS} else ""
            raise UnreadableArrival(
                UNSUPPORTED,
                f"the table needs {', '.join(sorted(needed))} of its readers, which is not known here: write it without{hint}",
            )

    def _pieces(self) -> Iterator[_Piece]:
        if self._versions.snapshot:
            yield from self._snapshot()
            return
        for version in range(self._versions.first, self._versions.end):
            try:
                commit = self._log.commit(version)
            except NotFound as error:
                raise UnreadableArrival(LOST, f"version {version} is not there any more") from error
            yield from self._of_commit(commit)

    def _snapshot(self) -> Iterator[_Piece]:
        actions = pa.table(self._table.get_add_actions()).to_pylist()
        for action in sorted(actions, key=lambda action: str(action["path"])):
            partition = action.get("partition") or {}
            file = TableFile(unquote(action["path"]), int(action["size_bytes"]), partition)
            yield _Piece(file, _INSERT, self._versions.end - 1, None)

    def _of_commit(self, commit: DeltaCommit) -> Iterator[_Piece]:
        """Files of what the commit does to rows, in the order of its log."""

        def pieces(files: tuple[TableFile, ...], change: str | None) -> Iterator[_Piece]:
            for file in files:
                if file.has_deletion_vector:
                    raise UnreadableArrival(
                        UNSUPPORTED,
                        f"version {commit.version} marks rows of {file.path} by a deletion vector, which is not known here",
                    )
                yield _Piece(file, change, commit.version, commit.timestamp_ms)

        if commit.kind is not ChangeKind.CHANGE:
            yield from pieces(commit.added, _INSERT)
            return
        does = f"version {commit.version} ({commit.operation or 'of no name'}) deletes or changes rows"
        match self._delta.on_change:
            case OnChange.IGNORE:
                return
            case OnChange.REJECT:
                raise UnreadableArrival(CHANGED, f"{does}, and spec.source.delta.onChange is Reject")
        if commit.feed:
            yield from pieces(commit.feed, None)
        elif (self._configuration.get("delta.enableChangeDataFeed") or "").lower() == "true":
            if self._delta.include.change:
                yield from pieces(commit.removed, _DELETE)
            yield from pieces(commit.added, _INSERT)
        else:
            raise UnreadableArrival(
                CHANGED,
                f"{does}, and the table has no change data feed: delta.enableChangeDataFeed is not set",
            )

    def _file(self, piece: _Piece) -> ParquetFile | None:
        """The file's reader; None if it is gone, which is noted."""
        uri = self._uri(piece)
        try:
            return ParquetFile(Arrival(uri, "", piece.file.size_bytes, 0), self._memory_bytes)
        except DECODING as error:
            if self._is_there(piece):
                if isinstance(error, UnreadableArrival):
                    raise
                reason = f"{piece.file.path}: {error or type(error).__name__}"
                raise UnreadableArrival("delta:corrupt", reason) from error
        self._lost.append(piece.file.path)
        return None

    def _uri(self, piece: _Piece) -> str:
        try:
            return table_file_uri(self._log.storage, piece.file.path)
        except Damaged as error:
            raise UnreadableArrival("delta:outside", f"{error.problem}: {error.got}") from error

    def _is_there(self, piece: _Piece) -> bool:
        """Whether the file is there as the log has it.

        Raises:
            UnreadableArrival: it has another size, or must not be read.
            StorageError: storage did not answer.
        """
        uri = self._uri(piece)
        with sparing_others(replace(self.arrival, uri=uri)):
            arrival = find_arrival(uri, source_environ())
        if arrival is not None and arrival.size_bytes != piece.file.size_bytes:
            raise UnreadableArrival(
                "delta:corrupt",
                f"{piece.file.path} has {arrival.size_bytes:,} bytes, and {piece.file.size_bytes:,} in the log",
            )
        return arrival is not None

    def _require_there(self, piece: _Piece) -> None:
        if not self._is_there(piece):
            raise UnreadableArrival(LOST, f"{piece.file.path} was deleted while it was read")

    def _frames(self, wanted: Collection[str]) -> Iterator[pl.DataFrame]:
        """A row's number counts the rows of all files that are there, those that are left out as well."""
        first = 0
        for piece, file in self._files:
            for frame in self._of_file(piece, file, wanted):
                numbered = frame.with_columns(
                    pl.int_range(first, first + frame.height, dtype=pl.Int64).alias(ROW)
                )
                first += frame.height
                yield self._kept(piece, numbered)
        if self._lost:
            yield self._row_of_lost(first, wanted)

    def _of_file(self, piece: _Piece, file: ParquetFile, wanted: Collection[str]) -> Iterator[pl.DataFrame]:
        """All rows of the file: ``frame[<wanted columns>, _change_type, __row, __malformed, __line]``."""
        plan_names = {original: name for name, original in file.names.originals.items()}
        sources = {
            name: plan_names[self.names.originals[name]]
            for name in self.schema
            if name in wanted
            and name not in self._given
            and name not in self.refused
            and self.names.originals[name] in plan_names
        }
        for name in sources.values():
            if name in file.refused:
                raise UnreadableArrival("delta:corrupt", f"{piece.file.path}: {file.refused[name]}")
        asked = {*sources.values(), *((_planned_change(plan_names),) if piece.change is None else ())}
        for frame in file.stream.frames({*asked, *MARKS}):
            columns = []
            for name, dtype in self.schema.items():
                if name not in wanted or name in self.refused:
                    continue
                if name in sources:
                    column = frame.get_column(sources[name]).alias(name)
                    columns.append(column if column.dtype == dtype else column.cast(dtype))
                elif name not in self._given:
                    value = _partition_value(piece.file.partition.get(self.names.originals[name]), dtype)
                    columns.append(same(name, value, dtype, frame.height))
            changes = (
                frame.get_column(_planned_change(plan_names)).cast(pl.String).alias(_CHANGE)
                if piece.change is None
                else same(_CHANGE, piece.change, pl.String(), frame.height)
            )
            columns += [changes, *self._given_columns(piece, changes, wanted)]
            yield pl.DataFrame([*columns, *(frame.get_column(name) for name in (MALFORMED, LINE))])

    def _given_columns(self, piece: _Piece, changes: pl.Series, wanted: Collection[str]) -> list[pl.Series]:
        include, rows = self._delta.include, len(changes)
        columns = []
        if include.change in wanted:
            columns.append(changes.alias(str(include.change)))
        if include.version in wanted:
            columns.append(same(str(include.version), piece.version, pl.Int64(), rows))
        if include.timestamp in wanted:
            time_us = None if piece.time_ms is None else piece.time_ms * 1000
            columns.append(same(str(include.timestamp), time_us, pl.Int64(), rows).cast(_TIME))
        return columns

    def _kept(self, piece: _Piece, frame: pl.DataFrame) -> pl.DataFrame:
        """Without what rows were before an update and, unless a column tells them, those that were deleted."""
        if piece.change is None:
            left_out = [_PREIMAGE] if self._delta.include.change else [_PREIMAGE, _DELETE]
            frame = frame.filter(~pl.col(_CHANGE).is_in(left_out))
        return frame.drop(_CHANGE)

    def _row_of_lost(self, number: int, wanted: Collection[str]) -> pl.DataFrame:
        columns = [
            same(name, None, dtype, 1)
            for name, dtype in self.schema.items()
            if name in wanted and name not in self.refused
        ]
        marks = {ROW: number, MALFORMED: f"{LOST}: {self._gone}", LINE: None}
        return pl.DataFrame([*columns, *(same(name, marks[name], dtype, 1) for name, dtype in MARKS.items())])


def _planned_change(plan_names: Mapping[str, str]) -> str:
    """The column of a change data feed's file that tells what became of a row."""
    if _CHANGE not in plan_names:
        raise UnreadableArrival("delta:corrupt", f"a file of the change data feed has no column {_CHANGE}")
    return plan_names[_CHANGE]


def _partition_value(value: Any, dtype: pl.DataType) -> Any:
    """The value of a column that the table is partitioned by. The log has it as text; a snapshot with its type.

    https://github.com/delta-io/delta/blob/master/PROTOCOL.md#partition-value-serialization
    """
    if not isinstance(value, str) or dtype == pl.String:
        return value
    if value == "":
        return None
    try:
        if dtype == pl.Boolean:
            return {"true": True, "false": False}[value.lower()]
        if dtype == pl.Date:
            return date.fromisoformat(value)
        if isinstance(dtype, pl.Datetime):
            time = datetime.fromisoformat(value)
            return pl.Series([time.replace(tzinfo=None)]).dt.replace_time_zone(dtype.time_zone).cast(dtype)[0]
        return pl.Series([value]).cast(dtype)[0]
    except (ValueError, KeyError, pl.exceptions.PolarsError) as error:
        raise UnreadableArrival(
            "delta:corrupt", f"a value of a partition, {value!r}, is not a {dtype}"
        ) from error
