"""The rows of one commit of a Delta table, or of its first snapshot: those of its Parquet files, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
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
from featurestore.errors import Damaged, NotFound, StorageError
from featurestore.resources.data_pipeline import Source
from featurestore.resources.delta_lake import DeltaLake, OnChange
from featurestore.resources.location import locate
from featurestore.storage.credentials import source_environ
from featurestore_transforms.sources.parquet_file import ParquetFile
from featurestore_transforms.sources.reader import ArrivalReader, UnreadableArrival
from featurestore_transforms.sources.stream import limit, same
from featurestore_transforms.sources.table_reader import TIME, TableReader

CHANGED, UNSUPPORTED = "delta:changed", "delta:unsupported"
"""Rules of commits that change rows where that is refused, and of tables that cannot be read here."""
_INSERT, _DELETE, _PREIMAGE = "insert", "delete", "update_preimage"
_CHANGE = "_change_type"
_DELETION_VECTORS = "deletionVectors"
_KNOWN_FEATURES = {"timestampNtz", "vacuumProtocolCheck", "v2Checkpoint", "typeWidening", _DELETION_VECTORS}


@dataclass(frozen=True, slots=True)
class _Piece:
    """A file of rows. ``change``: what became of all of them; None if the file says it of each."""

    file: TableFile
    uri: str
    change: str | None
    version: int
    time_ms: int | None

    @property
    def path(self) -> str:
        return self.file.path

    @property
    def size_bytes(self) -> int:
        return self.file.size_bytes


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


class DeltaReader(TableReader[_Piece]):
    """See :class:`featurestore_transforms.sources.reader.ArrivalReader`."""

    def __init__(self, arrival: Arrival, delta: DeltaLake, log: DeltaLog, memory_bytes: int) -> None:
        self._delta, self._log = delta, log
        self._versions = TableVersions.of(arrival.version)
        self._table = self._opened()
        include = delta.include
        given: dict[str, pl.DataType] = {
            **({include.change: pl.String()} if include.change else {}),
            **({include.version: pl.Int64()} if include.version else {}),
            **({include.timestamp: TIME} if include.timestamp else {}),
        }
        own = pa.schema(self._table.schema().to_arrow())
        super().__init__(arrival, memory_bytes, "delta", own, given, self._versions.words)
        self._open(self._pieces())

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
            yield self._piece(file, _INSERT, self._versions.end - 1, None)

    def _of_commit(self, commit: DeltaCommit) -> Iterator[_Piece]:
        """Files of what the commit does to rows, in the order of its log."""

        def pieces(files: tuple[TableFile, ...], change: str | None) -> Iterator[_Piece]:
            for file in files:
                if file.has_deletion_vector:
                    raise UnreadableArrival(
                        UNSUPPORTED,
                        f"version {commit.version} marks rows of {file.path} by a deletion vector, which is not known here",
                    )
                yield self._piece(file, change, commit.version, commit.timestamp_ms)

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

    def _piece(self, file: TableFile, change: str | None, version: int, time_ms: int | None) -> _Piece:
        try:
            uri = table_file_uri(self._log.storage, file.path)
        except Damaged as error:
            raise UnreadableArrival("delta:outside", f"{error.problem}: {error.got}") from error
        return _Piece(file, uri, change, version, time_ms)

    def _sources(self, piece: _Piece, file: ParquetFile) -> Mapping[str, str]:
        own = _plan_names(file)
        return {
            name: own[self.names.originals[name]]
            for name in self.schema
            if name not in self._given and self.names.originals[name] in own
        }

    def _asked(self, piece: _Piece, file: ParquetFile) -> Collection[str]:
        return () if piece.change is not None else (_planned_change(file),)

    def _column(
        self, piece: _Piece, file: ParquetFile, frame: pl.DataFrame, name: str, dtype: pl.DataType
    ) -> pl.Series:
        include = self._delta.include
        if name == include.change:
            return self._changes(piece, file, frame).alias(name)
        if name == include.version:
            return same(name, piece.version, pl.Int64(), frame.height)
        if name == include.timestamp:
            time_us = None if piece.time_ms is None else piece.time_ms * 1000
            return same(name, time_us, pl.Int64(), frame.height).cast(TIME)
        value = _partition_value(piece.file.partition.get(self.names.originals[name]), dtype)
        return same(name, value, dtype, frame.height)

    def _kept(self, piece: _Piece, file: ParquetFile, frame: pl.DataFrame) -> pl.Series | None:
        """Without what rows were before an update and, unless a column tells them, those that were deleted."""
        if piece.change is not None:
            return None
        left_out = [_PREIMAGE] if self._delta.include.change else [_PREIMAGE, _DELETE]
        return ~self._changes(piece, file, frame).is_in(left_out)

    def _changes(self, piece: _Piece, file: ParquetFile, frame: pl.DataFrame) -> pl.Series:
        if piece.change is not None:
            return same(_CHANGE, piece.change, pl.String(), frame.height)
        return frame.get_column(_planned_change(file)).cast(pl.String)


def _plan_names(file: ParquetFile) -> dict[str, str]:
    return {original: name for name, original in file.names.originals.items()}


def _planned_change(file: ParquetFile) -> str:
    """The column of a change data feed's file that tells what became of a row."""
    plan_names = _plan_names(file)
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
