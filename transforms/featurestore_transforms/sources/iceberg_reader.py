"""The rows that one snapshot of an Iceberg table adds, or all that the table has: of its Parquet files, by ids of columns.

https://iceberg.apache.org/spec/#manifests
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fastavro
import polars as pl

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.iceberg.iceberg_metadata import Snapshot, SnapshotKind, TableMetadata
from featurestore.arrivals.iceberg.iceberg_source import LOST, REPLACED
from featurestore.arrivals.iceberg.iceberg_table import IcebergTable
from featurestore.arrivals.iceberg.table_snapshots import TableSnapshots
from featurestore.errors import Damaged, NotFound
from featurestore.resources.data_pipeline import Source
from featurestore.resources.delta_lake import OnChange
from featurestore.resources.iceberg import Iceberg
from featurestore.resources.location import locate
from featurestore.storage.credentials import source_environ
from featurestore_transforms.sources.iceberg_schema import (
    arrow_schema,
    field_id,
    is_same_column,
    is_widened,
)
from featurestore_transforms.sources.parquet_file import ParquetFile
from featurestore_transforms.sources.reader import ArrivalReader, UnreadableArrival
from featurestore_transforms.sources.stream import limit, same
from featurestore_transforms.sources.table_reader import TIME, TableReader
from featurestore_transforms.steps.column_names import short

CHANGED, UNSUPPORTED, CORRUPT = "iceberg:changed", "iceberg:unsupported", "iceberg:corrupt"
"""Rules of snapshots that change rows where that is refused, of what cannot be read here, and of what is broken."""
_ADDED, _DELETED = 1, 2
_DATA = 0


@dataclass(frozen=True, slots=True)
class _DataFile:
    """``path``: below the table. ``spec_id``: how it is partitioned. ``rows``: as its manifest counts them."""

    uri: str
    path: str
    size_bytes: int
    rows: int
    spec_id: int


def open_reader(arrival: Arrival, source: Source, memory_bytes: int, base: str) -> ArrivalReader:
    """See :func:`featurestore_transforms.sources.reader.open_reader`. The footers of all its files are read.

    Raises:
        UnreadableArrival: the snapshot or all its files are gone, it changes rows where that is refused, or the table
            needs what is not known here.
        StorageError: storage did not answer.
    """
    assert source.iceberg is not None
    table = IcebergTable(locate(arrival.uri, base), source_environ())
    return IcebergReader(arrival, source.iceberg, table, memory_bytes)


def open_head(
    arrival: Arrival, source: Source, memory_bytes: int, base: str, scratch: Path
) -> tuple[ArrivalReader, bool]:
    """See :func:`featurestore_transforms.sources.reader.open_head`. Of all snapshots that are listed, what the table is now."""
    whole = replace(TableSnapshots.of(arrival.version), first=0, is_whole=True)
    reader = open_reader(replace(arrival, version=str(whole)), source, memory_bytes, base)
    limit(reader.stream)
    return reader, False


class IcebergReader(TableReader[_DataFile]):
    """See :class:`featurestore_transforms.sources.reader.ArrivalReader`."""

    def __init__(self, arrival: Arrival, iceberg: Iceberg, table: IcebergTable, memory_bytes: int) -> None:
        self._iceberg, self._table = iceberg, table
        self._snapshots = TableSnapshots.of(arrival.version)
        self._metadata = self._opened()
        self._snapshot = self._found()
        include = iceberg.include
        given: dict[str, pl.DataType] = {
            **({include.snapshot: pl.Int64()} if include.snapshot else {}),
            **({include.timestamp: TIME} if include.timestamp else {}),
        }
        self._columns: dict[str, Mapping[str, str]] = {}
        with self._understanding():
            schema = self._schema()
            self._fields: Mapping[int, Mapping[str, Any]] = {
                int(field["id"]): field for field in schema["fields"]
            }
            self._own = arrow_schema(schema)
            super().__init__(arrival, memory_bytes, "iceberg", self._own, given, self._snapshots.words)
            self._open(self._pieces())

    @contextmanager
    def _understanding(self) -> Iterator[None]:
        """What is raised over metadata that is not as it should be becomes UnreadableArrival."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            got = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UnreadableArrival(
                CORRUPT, f"the metadata of {self._snapshots.words} cannot be read: {got}"
            ) from error

    def _schema(self) -> Mapping[str, Any]:
        """The columns that the table had with the snapshot."""
        snapshot, schemas = self._snapshot, self._metadata.schemas
        if snapshot is None or snapshot.schema_id is None:
            return schemas[self._metadata.schema_id]
        return schemas[snapshot.schema_id]

    def _opened(self) -> TableMetadata:
        metadata = self._table.look()
        if metadata is None:
            raise UnreadableArrival(LOST, "the table is not there any more")
        if metadata.table_id != self._snapshots.table_id:
            got = f"wanted {self._snapshots.table_id}, got {metadata.table_id}"
            raise UnreadableArrival(
                REPLACED, f"the table was deleted and made again before it was read: {got}"
            )
        return metadata

    def _found(self) -> Snapshot | None:
        """The snapshot that is read; None of a table that has none yet."""
        if self._snapshots.last_id is None:
            return None
        snapshot = self._metadata.snapshots.get(self._snapshots.last_id)
        if snapshot is None:
            raise UnreadableArrival(LOST, f"{self._snapshots.words} is not there any more: it expired")
        return snapshot

    def _pieces(self) -> Iterator[_DataFile]:
        snapshot = self._snapshot
        if snapshot is None:
            return
        if not self._snapshots.is_whole and snapshot.kind is SnapshotKind.CHANGE:
            if self._iceberg.on_change is OnChange.REJECT:
                does = (
                    f"{self._snapshots.words} ({snapshot.operation or 'of no name'}) deletes or changes rows"
                )
                raise UnreadableArrival(CHANGED, f"{does}, and spec.source.iceberg.onChange is Reject")
            return
        files = list(self._whole(snapshot) if self._snapshots.is_whole else self._added(snapshot))
        name = "total-data-files" if self._snapshots.is_whole else "added-data-files"
        counted = snapshot.summary.get(name)
        if counted is not None and counted != str(len(files)):
            raise UnreadableArrival(
                CORRUPT,
                f"{self._snapshots.words} has {len(files)} files in its manifests, and {name} {counted}",
            )
        yield from files

    def _added(self, snapshot: Snapshot) -> Iterator[_DataFile]:
        for manifest in self._records(snapshot.manifests):
            if manifest["added_snapshot_id"] != snapshot.id:
                continue
            for entry in self._entries(manifest):
                if entry["status"] == _ADDED and entry.get("snapshot_id") in (None, snapshot.id):
                    yield self._data_file(manifest, entry["data_file"])

    def _whole(self, snapshot: Snapshot) -> Iterator[_DataFile]:
        for manifest in self._records(snapshot.manifests):
            for entry in self._entries(manifest):
                if entry["status"] != _DELETED:
                    yield self._data_file(manifest, entry["data_file"])

    def _entries(self, manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        if manifest.get("key_metadata"):
            raise UnreadableArrival(UNSUPPORTED, "the table is encrypted")
        yield from self._records(manifest["manifest_path"])

    def _records(self, location: str) -> list[Any]:
        """The records of a file of metadata.

        Raises:
            UnreadableArrival: it is gone, is not such a file, or is not below the table.
            StorageError: storage did not answer.
        """
        path = self._path(location)
        try:
            data = self._table.storage.read(path)
        except NotFound as error:
            raise UnreadableArrival(
                LOST, f"{path} of {self._snapshots.words} was deleted before it was read"
            ) from error
        try:
            # A decoder raises whatever over broken bytes.
            return list(fastavro.reader(io.BytesIO(data)))
        except Exception as error:
            got = " ".join(str(error).split())[:200] or type(error).__name__
            raise UnreadableArrival(CORRUPT, f"{path} cannot be read: {got}") from error

    def _data_file(self, manifest: Mapping[str, Any], file: Mapping[str, Any]) -> _DataFile:
        path = self._path(str(file["file_path"]))
        if file.get("content", _DATA) != _DATA:
            raise UnreadableArrival(
                UNSUPPORTED,
                f"{path} lists rows that are deleted, not known here: have the table compacted, or begin later (startAt)",
            )
        if str(file["file_format"]).upper() != "PARQUET" or file.get("key_metadata"):
            what = "is encrypted" if file.get("key_metadata") else f"is of the format {file['file_format']}"
            raise UnreadableArrival(UNSUPPORTED, f"{path} {what}: only plain Parquet is read")
        return _DataFile(
            self._table.storage.uri(path),
            path,
            int(file["file_size_in_bytes"]),
            int(file["record_count"]),
            int(manifest.get("partition_spec_id") or 0),
        )

    def _path(self, location: str) -> str:
        try:
            return self._table.path(location, self._metadata.location)
        except Damaged as error:
            raise UnreadableArrival("iceberg:outside", f"{error.problem}: {error.got}") from error

    def _file(self, piece: _DataFile) -> ParquetFile | None:
        file = super()._file(piece)
        if file is not None:
            self._columns[piece.uri] = self._matched(piece, file)
        return file

    def _matched(self, piece: _DataFile, file: ParquetFile) -> Mapping[str, str]:
        """Columns of the table, to those of the file that have their values.

        Raises:
            UnreadableArrival: it cannot be told, or the file is not of the table's schema.
        """
        fields = {field_id(field): field for field in file.arrow_schema}
        if None in fields:
            raise UnreadableArrival(
                UNSUPPORTED,
                f"{piece.path}: column {short(fields[None].name)} has no id: it was written by no Iceberg",
            )
        plan_names = {original: name for name, original in file.names.originals.items()}
        columns = {}
        for name in self.schema:
            if name in self._given:
                continue
            own = self._own.field(self.names.originals[name])
            field = fields.get(field_id(own))
            if field is None:
                self._require_null(piece, own.name, self._fields[field_id(own) or 0])
                continue
            source = plan_names.get(field.name)
            if source is None or not is_same_column(own, field):
                raise UnreadableArrival(
                    UNSUPPORTED,
                    f"{piece.path}: parts of column {short(own.name)} were renamed, added or dropped",
                )
            if name not in self.refused and not is_widened(file.schema[source], self.schema[name]):
                raise UnreadableArrival(
                    CORRUPT,
                    f"{piece.path}: column {short(own.name)} is {file.schema[source]}, and {self.schema[name]} in the table",
                )
            columns[name] = source
        return columns

    def _require_null(self, piece: _DataFile, name: str, field: Mapping[str, Any]) -> None:
        """Raises UnreadableArrival unless a column that a file does not have is null in all its rows."""
        spec = self._metadata.specs.get(piece.spec_id, {})
        by = {int(part["source-id"]) for part in spec.get("fields", ()) if part["transform"] == "identity"}
        if int(field["id"]) in by or field.get("initial-default") is not None:
            raise UnreadableArrival(
                UNSUPPORTED,
                f"{piece.path} has no column {short(name)}, whose value stands in the metadata alone",
            )
        if field.get("required"):
            raise UnreadableArrival(CORRUPT, f"{piece.path} has no column {short(name)}, which is required")

    def _sources(self, piece: _DataFile, file: ParquetFile) -> Mapping[str, str]:
        return self._columns[piece.uri]

    def _column(
        self, piece: _DataFile, file: ParquetFile, frame: pl.DataFrame, name: str, dtype: pl.DataType
    ) -> pl.Series:
        include, snapshot = self._iceberg.include, self._snapshot
        if name == include.snapshot and snapshot is not None:
            return same(name, snapshot.id, pl.Int64(), frame.height)
        if name == include.timestamp and snapshot is not None:
            time_us = None if self._snapshots.is_whole else snapshot.timestamp_ms * 1000
            return same(name, time_us, pl.Int64(), frame.height).cast(TIME)
        return same(name, None, dtype, frame.height)

    def _of_file(
        self, piece: _DataFile, file: ParquetFile, wanted: Collection[str]
    ) -> Iterator[tuple[pl.DataFrame, pl.Series | None]]:
        rows = 0
        for frame, kept in super()._of_file(piece, file, wanted):
            rows += frame.height
            yield frame, kept
        if rows != piece.rows:
            raise UnreadableArrival(
                CORRUPT, f"{piece.path} has {rows:,} rows, and {piece.rows:,} in its manifest"
            )
