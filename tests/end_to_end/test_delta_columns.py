"""Columns of a Delta table as a source: those of its schema, and those that it is partitioned by."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from events import Events
from lake_table import LakeTable


def pipeline(table: LakeTable, folder: Path, **delta: Any) -> Events[Any]:
    return Events[Any](folder / "project", table).apply(delta)


def test_columns_and_types_are_the_tables_where_its_schema_grew(tmp_path: Path) -> None:
    table = LakeTable(tmp_path / "lake" / "events")
    table.append(1)
    events = pipeline(table, tmp_path, startAt="Earliest")
    events.run()
    at = pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    more = pa.table({"at": at, "level": ["info"], "n": [2], "note": ["new"]})
    table.write(more, schema_mode="merge")
    table.append(3, schema_mode="merge")
    events.run()
    assert [(row["n"], row["note"]) for row in events.rows] == [(1, None), (2, "new"), (3, None)]
    assert events.open == []


def test_values_of_partitions_are_columns_with_their_types(tmp_path: Path) -> None:
    table = LakeTable(tmp_path / "lake" / "events")
    at = datetime(2024, 1, 1, 3, 4, 5, 678901, tzinfo=UTC)
    values = {
        "level": pa.array(["a b/c%20d", None, "ü="]),
        "at": pa.array([at, at, at], pa.timestamp("us", "UTC")),
        "day": pa.array([at.date(), None, at.date()]),
        "number": pa.array([1, None, -3], pa.int32()),
        "truth": pa.array([True, None, False]),
        "n": pa.array([1, 2, 3]),
    }
    table.write(pa.table(values), partition_by=["level", "at", "day", "number", "truth"])
    snapshot = pipeline(table, tmp_path / "snapshot")
    commits = pipeline(table, tmp_path / "commits", startAt="Earliest")
    for events in (snapshot, commits):
        events.run()
        assert events.open == []
        rows = [{name: row[name] for name in values} for row in events.rows]
        assert rows == pa.table(values).to_pylist()
