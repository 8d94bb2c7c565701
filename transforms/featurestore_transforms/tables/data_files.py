"""Data files of a Delta table: how they are written, and the statistics that readers prune by."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from featurestore.errors import StorageError
from featurestore.storage.delta import DataFile, Table
from featurestore.storage.objects import Storage
from featurestore.timestamps import from_us, parse_us, to_us
from featurestore_transforms.tables.polars_credentials import access

ROW_GROUP_ROWS = 131_072
"""Small enough to skip what a read does not need, large enough to read quickly."""
ROW_GROUP_BYTES = 64 * 2**20
"""Readers hold some row groups at once as they are in memory: rows with hundreds of columns need smaller ones."""
_TEXT_BYTES = 32
"""Roughly the bytes that a string, a list or bytes take."""


def write_data_file(storage: Storage, table: str, frame: pl.DataFrame | pl.LazyFrame) -> DataFile:
    """The rows as a new Parquet file below ``table``; no commit names it yet.

    A lazy frame is streamed: it is never in memory as a whole.

    Raises:
        StorageError: storage did not take it.
    """
    name = f"{uuid.uuid4().hex}.parquet"
    uri = storage.uri(f"{table}/{name}")
    try:
        frame.lazy().sink_parquet(
            uri,
            compression="lz4",
            row_group_size=row_group_rows(frame.lazy().collect_schema()),
            statistics=True,
            mkdir=storage.is_local,
            sync_on_close="all" if storage.is_local else None,
            engine="streaming",
            **access(storage.root, storage.environ),
        )
    except OSError as error:
        raise StorageError("the data file cannot be written", where=uri, got=str(error)) from error
    return describe(storage, table, name)


def discard_uncommitted(storage: Storage, table: str, files: Iterable[DataFile]) -> None:
    """Remove data files that were written for a commit which failed; not if it landed and only its answer was lost.

    Raises:
        StorageError: storage did not answer.
    """
    newest = Table.open(storage, table)
    committed = {file.path for file in newest.files()} if newest is not None else set()
    for file in files:
        if file.path not in committed:
            storage.delete(f"{table}/{file.path}")


def row_group_rows(schema: pl.Schema) -> int:
    """How many rows of this schema make a row group.

    >>> row_group_rows(pl.Schema({"n": pl.Int64})), row_group_rows(pl.Schema({f"c{n}": pl.Int64 for n in range(512)}))
    (131072, 16384)
    """
    fixed = (dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean for dtype in schema.dtypes())
    row_bytes = sum(8 if each else _TEXT_BYTES for each in fixed)
    return max(1, min(ROW_GROUP_ROWS, ROW_GROUP_BYTES // max(row_bytes, 1)))


def describe(storage: Storage, table: str, name: str) -> DataFile:
    """A Parquet file below ``table`` with its size, rows and Delta statistics, from its footer.

    Raises:
        StorageError: storage did not answer.
    """
    with storage.opened(f"{table}/{name}") as file:
        footer = pq.read_metadata(file)
        size = file.seek(0, 2)
    return DataFile(path=name, size_bytes=size, rows=footer.num_rows, stats=statistics(footer))


def statistics(footer: pq.FileMetaData) -> dict[str, Any]:
    """Delta's statistics of a data file: ``numRecords``, ``minValues``, ``maxValues``, ``nullCount``.

    Floats have no bounds, because a footer's leave NaN out; lists and bytes have none in Delta. Bounds of
    long strings may be shortened, and bound the values all the same.
    """
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for index in range(footer.num_columns):
        leaf = footer.schema.column(index)
        if leaf.path != leaf.name or leaf.max_repetition_level:
            continue
        groups = [footer.row_group(n).column(index).statistics for n in range(footer.num_row_groups)]
        if any(group is None or not group.has_null_count for group in groups):
            continue
        nulls[leaf.name] = sum(group.null_count for group in groups)
        # A group without bounds has no value, or values that no bounds are kept of.
        filled = [group for group in groups if group.num_values]
        if filled and all(group.has_min_max for group in filled):
            bounds = _bounds(leaf.logical_type, filled)
            if bounds is not None:
                low[leaf.name], high[leaf.name] = bounds
    return {"numRecords": footer.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}


def _bounds(kind: Any, groups: list[Any]) -> tuple[Any, Any] | None:
    """Least and greatest value as Delta writes them in JSON; None for types without bounds."""
    if kind.type == "TIMESTAMP":
        return _times(kind, min(group.min_raw for group in groups), max(group.max_raw for group in groups))
    try:
        least, greatest = min(group.min for group in groups), max(group.max for group in groups)
    except (OverflowError, ValueError):
        return None  # dates outside of Python's years 1 to 9999
    if isinstance(least, bool | float | bytes):
        return None
    if isinstance(least, int):
        return least, greatest
    return str(least), str(greatest)  # texts, and dates as ISO 8601


def _times(kind: Any, least: int, greatest: int) -> tuple[str, str] | None:
    """Bounds of times, from numbers: pyarrow's own way to a zoned time loads pandas, which takes a second."""
    logical_type = json.loads(kind.to_json())
    second = {"milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}[logical_type["timeUnit"]]
    zone = "Z" if logical_type["isAdjustedToUTC"] else ""
    try:
        low = from_us(least * 10**6 // second).replace(tzinfo=None)
        high = from_us(-(-greatest * 10**6 // second)).replace(tzinfo=None)
    except OverflowError:
        return None
    return low.isoformat(timespec="microseconds") + zone, high.isoformat(timespec="microseconds") + zone


def statistic_us(greatest: datetime | str) -> int:
    """Microseconds since 1970 of a time in a file's statistics, as they are read or as they are written."""
    return parse_us(greatest) if isinstance(greatest, str) else to_us(greatest)
