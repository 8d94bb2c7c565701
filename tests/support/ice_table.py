"""An Iceberg table that others write, by PyIceberg with a catalog of its own, and a pipeline that takes its snapshots."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

SCHEMA = pa.schema([("at", pa.timestamp("us", "UTC")), ("level", pa.string()), ("n", pa.int64())])
_NAME = ("lake", "events")
_LOGIN = {
    "s3.endpoint": "AWS_ENDPOINT_URL",
    "s3.region": "AWS_REGION",
    "s3.access-key-id": "AWS_ACCESS_KEY_ID",
    "s3.secret-access-key": "AWS_SECRET_ACCESS_KEY",
}


class IceTable:
    """A table that is there once something was written.

    ``folder``: where the catalog is, and the table, unless ``uri`` says another place, which opens with ``environ``.
    ``schema``: its columns at first.
    """

    def __init__(
        self,
        folder: Path,
        schema: pa.Schema = SCHEMA,
        uri: str = "",
        environ: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        self.uri, self._schema, self._more = uri or str(folder), schema, more
        folder.parent.mkdir(parents=True, exist_ok=True)
        keys = environ or {}
        login = {name: keys[variable] for name, variable in _LOGIN.items() if variable in keys}
        self._catalog = SqlCatalog("lake", uri=f"sqlite:///{folder.parent}/catalog.db", **login)
        self._catalog.create_namespace_if_not_exists(_NAME[0])

    @property
    def table(self) -> Table:
        if not self._catalog.table_exists(_NAME):
            self._catalog.create_table(_NAME, self._schema, location=self.uri, **self._more)
        return self._catalog.load_table(_NAME)

    def append(self, *numbers: int, level: str = "info") -> None:
        """One snapshot with these rows."""
        start = datetime(2024, 1, 1, tzinfo=UTC)
        rows = [{"at": start + timedelta(seconds=n % 60), "level": level, "n": n} for n in numbers]
        self.write(pa.Table.from_pylist(rows, SCHEMA))

    def write(self, rows: pa.Table) -> None:
        self.table.append(rows)
        self.hint()

    def delete(self, condition: str) -> None:
        """Deletes rows, by writing files again without them."""
        self.table.delete(condition)
        self.hint()

    def compact(self) -> None:
        """Rewrites all files as one, and no row. PyIceberg has no snapshot of that kind: one that overwrites is renamed."""
        table = self.table
        rows = table.scan().to_arrow()
        files = [task.file for task in table.scan().plan_files()]
        with table.transaction() as transaction, transaction.update_snapshot().overwrite() as snapshot:
            for file in files:
                snapshot.delete_data_file(file)
            for file in _written(table, transaction, rows):
                snapshot.append_data_file(file)
        self.change_metadata(
            lambda metadata: metadata["snapshots"][-1]["summary"].update(operation="replace")
        )
        self.hint()

    def expire(self, *numbers: int) -> None:
        """Forget the snapshots with these sequence numbers, as their expiry does; their files stay."""
        ids = [it.snapshot_id for it in self.table.snapshots() if it.sequence_number in numbers]
        self.table.maintenance.expire_snapshots().by_ids(ids).commit()
        self.hint()

    def roll_back(self, number: int) -> None:
        """Make the snapshot with this sequence number what the table is."""
        self.table.manage_snapshots().set_current_snapshot(self.id(number)).commit()
        self.hint()

    def id(self, number: int) -> int:
        """The id of the snapshot with this sequence number."""
        [snapshot] = [it for it in self.table.snapshots() if it.sequence_number == number]
        return snapshot.snapshot_id

    @property
    def metadata(self) -> Path:
        """The newest metadata file."""
        return Path(self.table.metadata_location.removeprefix("file://"))

    def change_metadata(self, change: Any) -> None:
        """Write something else into the newest metadata file."""
        metadata = json.loads(self.metadata.read_text())
        change(metadata)
        self.metadata.write_text(json.dumps(metadata))

    def hint(self) -> None:
        """Say which metadata file is the newest."""
        file = self.table.io.new_output(f"{self.uri}/metadata/version-hint.text")
        with file.create(overwrite=True) as stream:
            stream.write(self.metadata.name.encode())

    def files(self, number: int) -> list[Path]:
        """Those that a snapshot added."""
        [snapshot] = [it for it in self.table.snapshots() if it.sequence_number == number]
        entries = [
            entry
            for manifest in snapshot.manifests(self.table.io)
            if manifest.added_snapshot_id == snapshot.snapshot_id
            for entry in manifest.fetch_manifest_entry(self.table.io)
        ]
        return [
            Path(it.data_file.file_path.removeprefix("file://"))
            for it in entries
            if it.status.name == "ADDED"
        ]

    def drop(self) -> None:
        """Delete the table with its folder."""
        self._catalog.drop_table(_NAME)
        shutil.rmtree(self.uri)

    def source(self, **more: Any) -> dict[str, Any]:
        """``spec.source`` of a pipeline that reads it."""
        return {"iceberg": {"uri": self.uri, **more}}


def _written(table: Table, transaction: Any, rows: pa.Table) -> list[DataFile]:
    from pyiceberg.io.pyarrow import _dataframe_to_data_files

    return list(_dataframe_to_data_files(transaction.table_metadata, rows, table.io))
