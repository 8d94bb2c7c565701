"""A Delta table that others write, with a pipeline that takes its commits."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

SCHEMA = pa.schema([("at", pa.timestamp("us", "UTC")), ("level", pa.string()), ("n", pa.int64())])
FEED = {"delta.enableChangeDataFeed": "true"}


class LakeTable:
    """``uri``: of a table that is there once something was written. ``options``: of delta-rs."""

    def __init__(self, uri: Path | str, options: dict[str, str] | None = None, **config: str) -> None:
        self.uri, self._options, self._config = str(uri), options, config

    def append(self, *numbers: int, level: str = "info", **more: Any) -> None:
        """One commit with these rows."""
        start = datetime(2024, 1, 1, tzinfo=UTC)
        rows = [{"at": start + timedelta(seconds=n % 60), "level": level, "n": n} for n in numbers]
        self.write(pa.Table.from_pylist(rows, SCHEMA), **more)

    def write(self, table: pa.Table, **more: Any) -> None:
        write_deltalake(
            self.uri,
            table,
            **{
                "mode": "append",
                "configuration": self._config or None,
                "storage_options": self._options,
                **more,
            },
        )

    @property
    def table(self) -> DeltaTable:
        return DeltaTable(self.uri, storage_options=self._options)

    def optimize(self) -> None:
        """Rewrites files, and no row."""
        self.table.optimize.compact()

    def vacuum(self) -> None:
        """Delete the files that the newest version does not have."""
        self.table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)

    def forget_commits(self, before: int) -> None:
        """What log cleanup does."""
        self.table.create_checkpoint()
        for version in range(before):
            os.unlink(self.commit(version))

    def commit(self, version: int) -> Path:
        return Path(self.uri, "_delta_log", f"{version:020}.json")

    def actions(self, version: int) -> Iterator[dict[str, Any]]:
        for line in self.commit(version).read_text().splitlines():
            yield json.loads(line)

    def files(self, version: int) -> list[Path]:
        """Those that a commit added."""
        added = [action["add"] for action in self.actions(version) if "add" in action]
        return [Path(self.uri, file["path"]) for file in added]

    def delete(self) -> None:
        shutil.rmtree(self.uri)

    def source(self, **more: Any) -> dict[str, Any]:
        """``spec.source`` of a pipeline that reads it."""
        return {"delta": {"uri": self.uri, **more}}
