"""Rows that came and went between two versions of a dataset, however its files were rewritten."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from featurestore.storage.delta import SYSTEM_COLUMNS
from featurestore_transforms.tables.row_changes import Rows, TooManyChanged, rows_changed

PLENTY = 2**30


def numbers(*values: int) -> pl.DataFrame:
    return pl.DataFrame({"n": values}, schema={"n": pl.Int64})


def since(lake: Any, version: int, memory_bytes: int = PLENTY) -> Rows:
    table = lake.table
    return rows_changed(table, table.changes(version), memory_bytes)


def inserted(rows: Rows) -> list[int]:
    return sorted(rows.inserted.collect()["n"].to_list())


def deleted(rows: Rows) -> list[tuple[int, int, int]]:
    return sorted(rows.deleted.rows())


def test_appended_rows_came_and_nothing_went(lake: Any) -> None:
    version = lake.append(numbers(1, 2))
    lake.append(numbers(3), numbers(4))
    rows = since(lake, version)
    assert (inserted(rows), deleted(rows)) == ([3, 4], [])


def test_a_compaction_changes_no_row(lake: Any) -> None:
    lake.append(numbers(1, 2))
    version = lake.append(numbers(3))
    lake.compact()
    rows = since(lake, version)
    assert (inserted(rows), deleted(rows)) == ([], [])


def test_rows_that_were_rewritten_beside_deleted_ones_have_not_changed(lake: Any) -> None:
    version = lake.append(numbers(1, 2, 3), numbers(4))
    lake.replace(lambda rows: rows["n"] == 2, numbers(5))
    rows = since(lake, version)
    assert (inserted(rows), deleted(rows)) == ([5], [(1, 0, 1)])


def test_a_whole_file_that_went_is_known_row_by_row(lake: Any) -> None:
    version = lake.append(numbers(1, 2), numbers(3))
    lake.replace(lambda rows: rows["__file"] == 0)
    rows = since(lake, version)
    assert (inserted(rows), deleted(rows)) == ([], [(1, 0, 0), (1, 0, 1)])


def test_rows_that_came_and_went_between_the_versions_are_not_seen(lake: Any) -> None:
    version = lake.append(numbers(1))
    lake.append(numbers(2))
    lake.replace(lambda rows: rows["n"] == 2)
    rows = since(lake, version)
    assert (inserted(rows), deleted(rows)) == ([], [])


def test_changes_hidden_in_a_compaction_are_found(lake: Any) -> None:
    version = lake.append(numbers(1, 2, 3))
    lake.replace(lambda rows: rows["n"] == 1, numbers(4))
    lake.compact()
    rows = since(lake, version)
    assert (inserted(rows), deleted(rows)) == ([4], [(1, 0, 0)])


def test_rows_that_a_restore_brings_back_came(lake: Any) -> None:
    before = lake.append(numbers(1, 2, 3))
    old = lake.table.files()
    version = lake.replace(lambda rows: rows["n"] != 2)
    table = lake.table
    table.commit(app_id="restore", number=1, add=old, remove=table.files(), metadata={})
    rows = since(lake, version)
    assert (inserted(rows), deleted(rows)) == ([1, 3], [])
    assert (inserted(since(lake, before)), deleted(since(lake, before))) == ([], [])


def test_rows_are_compared_in_parts_that_fit_into_memory(lake: Any) -> None:
    version = lake.append(numbers(*range(100)))
    lake.replace(lambda rows: rows["n"] < 5, numbers(1000))
    rows = since(lake, version, memory_bytes=256 * 10)
    assert (inserted(rows), deleted(rows)) == ([1000], [(1, 0, n) for n in range(5)])


def test_more_deleted_rows_than_fit_are_refused(lake: Any) -> None:
    version = lake.append(numbers(*range(100)))
    lake.replace(lambda rows: rows["n"] < 50)
    with pytest.raises(TooManyChanged):
        since(lake, version, memory_bytes=256 * 10)


def test_rows_of_files_older_than_a_column_have_null_there(lake: Any) -> None:
    version = lake.append(numbers())
    lake.append(numbers(1))
    lake.append(numbers(2).with_columns(m=pl.lit(5)))
    rows = since(lake, version).inserted.collect().sort(SYSTEM_COLUMNS)
    assert rows["m"].to_list() == [None, 5]
