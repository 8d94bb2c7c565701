"""Columns of an Iceberg table as a source: by their ids, so that a name may change; what cannot be read rightly is refused."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from event_specs import NAME
from events import Events
from ice_table import SCHEMA, IceTable
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DecimalType, DoubleType, LongType, StringType

from featurestore.arrivals.source_kinds import open_source
from featurestore.resources.data_pipeline import Source
from featurestore.storage import paths
from featurestore_transforms.sources.reader import UnreadableArrival, open_reader

AT = datetime(2024, 1, 1, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture
def table(tmp_path: Path) -> IceTable:
    return IceTable(tmp_path / "lake" / "events")


def pipeline(table: IceTable, folder: Path, **iceberg: Any) -> Events[Any]:
    return Events[Any](folder / "project", table).apply({"startAt": "Earliest", **iceberg})


def reasons(events: Events[Any]) -> list[str]:
    return [row["reason"] for row in events.laptop.table(paths.quarantine("pipelines", NAME))]


def test_a_column_that_was_renamed_keeps_its_values_and_one_that_was_made_again_does_not(
    table: IceTable, tmp_path: Path
) -> None:
    table.append(1)
    with table.table.update_schema() as change:
        change.rename_column("level", "grade")
    with table.table.update_schema() as change:
        change.add_column("level", StringType())
    row = {"at": AT, "grade": "high", "n": 2, "level": "info"}
    table.write(
        pa.Table.from_pylist(
            [row], pa.schema([*SCHEMA.remove(1), ("grade", pa.string()), ("level", pa.string())])
        )
    )
    events = pipeline(table, tmp_path, startAt="Snapshot")
    events.run()
    assert [(row["n"], row["grade"], row["level"]) for row in events.rows] == [
        (1, "info", None),
        (2, "high", "info"),
    ]
    assert events.open == []


def test_types_that_grew_are_read_from_older_files(tmp_path: Path) -> None:
    price, part = pa.decimal128(9, 2), pa.struct([("a", pa.int32())])
    small = pa.schema([("n", pa.int32()), ("x", pa.float32()), ("price", price), ("parts", pa.list_(part))])
    table = IceTable(tmp_path / "lake" / "events", small)
    first = {"n": 1, "x": 0.5, "price": Decimal("1.50"), "parts": [{"a": 3}]}
    table.write(pa.Table.from_pylist([first], small))
    with table.table.update_schema() as change:
        change.update_column("n", LongType())
        change.update_column("x", DoubleType())
        change.update_column("price", DecimalType(18, 2))
        change.update_column(("parts", "element", "a"), LongType())
    second = {"n": 2**40, "x": 0.1, "price": Decimal("12345678901.25"), "parts": [{"a": 2**40}, None]}
    table.write(pa.Table.from_pylist([second], table.table.schema().as_arrow()))
    events = Events[Any](tmp_path / "project", table).apply(expectations=[])
    events.run()
    assert [{name: row[name] for name in first} for row in events.rows] == [first, second]


def test_values_of_all_types_are_as_they_were_written(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "n": pa.array([1, 2]),
            "truth": [True, None],
            "ratio": pa.array([0.5, None], pa.float32()),
            "price": pa.array([Decimal("12.34"), None], pa.decimal128(9, 2)),
            "day": [date(2024, 2, 29), None],
            "clock": pa.array([time(3, 4, 5, 6), None], pa.time64("us")),
            "at": pa.array([AT, None], pa.timestamp("us", "UTC")),
            "naive": pa.array([AT.replace(tzinfo=None), None], pa.timestamp("us")),
            "text": ["ü", None],
            "data": pa.array([b"\x00\xff", None], pa.binary()),
            "fixed": pa.array([b"abcd", None], pa.binary(4)),
            "list": pa.array([[1, None], None], pa.list_(pa.int64())),
            "part": pa.array([{"a": 1, "b": "x"}, None], pa.struct([("a", pa.int64()), ("b", pa.string())])),
            "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        }
    )
    table = IceTable(tmp_path / "lake" / "events", rows.schema)
    table.write(rows)
    arrival, source = arrival_of(table)
    reader = open_reader(arrival, source, 1 << 28, "/")
    assert reader.refused == {}
    frame = reader.scan().drop("__row").collect().select(rows.column_names)
    assert frame.to_dicts() == pl.DataFrame(pl.from_arrow(rows)).to_dicts()


def arrival_of(table: IceTable) -> tuple[Any, Source]:
    """All that the table has."""
    source = Source.model_validate(table.source())
    [arrival] = open_source(source).arrivals()
    first, _, rest = arrival.version.partition("-")
    assert first.isdecimal()
    return type(arrival)(arrival.uri, f"*-{rest}", 0, 0), source


def test_values_of_partitions_are_columns(tmp_path: Path) -> None:
    table = IceTable(tmp_path / "lake" / "events")
    with table.table.update_spec() as change:
        change.add_field("level", IdentityTransform())
    for level in ("info", "warning"):
        table.append(1, level=level)
    events = pipeline(table, tmp_path)
    events.run()
    assert sorted(row["level"] for row in events.rows) == ["info", "warning"]


def test_columns_tell_which_snapshot_brought_a_row_and_when(table: IceTable, tmp_path: Path) -> None:
    table.append(1)
    events = pipeline(table, tmp_path, startAt="Snapshot", include={"snapshot": "s", "timestamp": "t"})
    events.run()
    table.append(2)
    events.run()
    [first, second] = events.rows
    assert [first["s"], second["s"]] == [table.id(1), table.id(2)]
    assert first["t"] is None
    written = table.table.current_snapshot()
    assert written is not None
    assert round(second["t"].timestamp() * 1000) == written.timestamp_ms


def test_a_column_that_include_names_too_is_refused(table: IceTable, tmp_path: Path) -> None:
    table.append(1)
    events = pipeline(table, tmp_path, include={"snapshot": "LEVEL"})
    events.run()
    assert events.open == [(1, "iceberg:column", None)]


def rewritten(table: IceTable, change: Any) -> None:
    """Write the file of the first snapshot again, as another writer would; its size stands in the manifest."""
    [file] = table.files(1)
    size = file.stat().st_size
    change(file)
    data = file.read_bytes()
    assert len(data) <= size
    # Room before the footer is no part of a page.
    footer = int.from_bytes(data[-8:-4], "little") + 8
    file.write_bytes(data[:-footer] + b"\0" * (size - len(data)) + data[-footer:])


def test_a_file_without_ids_of_columns_is_refused(table: IceTable, tmp_path: Path) -> None:
    table.append(1)

    def without_ids(file: Path) -> None:
        rows = pq.read_table(file)
        plain = pa.schema([pa.field(it.name, it.type) for it in rows.schema])
        pq.write_table(rows.cast(plain).replace_schema_metadata(), file, store_schema=False)

    rewritten(table, without_ids)
    events = pipeline(table, tmp_path)
    events.run()
    assert events.open == [(1, "iceberg:unsupported", None)]
    assert "has no id" in reasons(events)[0]


def test_a_file_of_another_number_of_rows_is_told(table: IceTable) -> None:
    table.append(1, 2)

    def shorter(file: Path) -> None:
        pq.write_table(pq.read_table(file).slice(0, 1), file, store_schema=False)

    rewritten(table, shorter)
    arrival, source = arrival_of(table)
    reader = open_reader(arrival, source, 1 << 28, "/")
    with pytest.raises(UnreadableArrival, match="iceberg:corrupt"), reader.explaining():
        reader.scan().collect()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda field: field.update(type="int"), "column 'level' is String, and Int32"),
        (lambda field: field.update(type="geometry"), "not known here"),
        (lambda field: field.update({"id": 77, "initial-default": "x"}), "metadata alone"),
        (lambda field: field.update({"id": 77, "required": True}), "is required"),
        (lambda field: field.pop("id"), "the metadata of snapshot .* cannot be read: KeyError"),
    ],
    ids=["type", "unknown type", "default", "required", "no id"],
)
def test_a_column_that_cannot_be_read_rightly_is_refused(
    table: IceTable, tmp_path: Path, change: Any, reason: str
) -> None:
    table.append(1)
    table.change_metadata(lambda it: change(it["schemas"][0]["fields"][1]))
    events = pipeline(table, tmp_path)
    events.run()
    assert events.numbers == []
    assert re.search(reason, reasons(events)[0])


def test_a_column_of_the_partition_that_a_file_does_not_have_is_refused(
    table: IceTable, tmp_path: Path
) -> None:
    table.append(1)

    def change(metadata: dict[str, Any]) -> None:
        metadata["schemas"][0]["fields"].append(
            {"id": 77, "name": "day", "type": "string", "required": False}
        )
        part = {"source-id": 77, "field-id": 1000, "name": "day", "transform": "identity"}
        metadata["partition-specs"][0]["fields"] = [part]

    table.change_metadata(change)
    events = pipeline(table, tmp_path)
    events.run()
    assert "whose value stands in the metadata alone" in reasons(events)[0]


def test_a_part_of_a_column_that_was_renamed_is_refused(tmp_path: Path) -> None:
    rows = pa.table({"n": [1], "part": pa.array([{"a": 1}], pa.struct([("a", pa.int64())]))})
    table = IceTable(tmp_path / "lake" / "events", rows.schema)
    table.write(rows)
    with table.table.update_schema() as change:
        change.rename_column(("part", "a"), "b")
    table.hint()
    events = pipeline(table, tmp_path, startAt="Snapshot")
    events.run()
    # The snapshot is of the schema that it was written with.
    assert [row["part"] for row in events.rows] == [{"a": 1}]
    table.write(pa.table({"n": [2], "part": pa.array([{"b": 2}], pa.struct([("b", pa.int64())]))}))
    later = pipeline(table, tmp_path / "later", startAt="Snapshot")
    later.run()
    assert later.open == [(1, "iceberg:unsupported", None)]
    assert "parts of column 'part' were renamed" in reasons(later)[0]


def test_files_of_deleted_rows_are_refused_in_the_first_snapshot(table: IceTable, tmp_path: Path) -> None:
    """No writer of such files is to be had here: a manifest of data says that it is one."""
    import fastavro

    table.append(1)
    [snapshot] = table.table.snapshots()
    path = Path(snapshot.manifests(table.table.io)[0].manifest_path.removeprefix("file://"))
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        records, schema, metadata = list(reader), reader.writer_schema, reader.metadata
    for record in records:
        record["data_file"]["content"] = 1
    kept = {name: value for name, value in metadata.items() if not name.startswith("avro.")}
    with path.open("wb") as file:
        fastavro.writer(file, schema, records, metadata=kept)
    events = pipeline(table, tmp_path, startAt="Snapshot")
    events.run()
    assert events.open == [(1, "iceberg:unsupported", None)]
    assert "lists rows that are deleted" in reasons(events)[0]
