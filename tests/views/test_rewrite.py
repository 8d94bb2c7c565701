"""Data files of a build are rewritten only where rows go."""

from __future__ import annotations

from typing import Any

import polars as pl

from featurestore.storage.delta import SYSTEM_COLUMNS
from featurestore_transforms.tables.rewrite import Rewrite, without

SCHEMA = dict(zip(SYSTEM_COLUMNS, (pl.Int64, pl.Int32, pl.Int64), strict=True))


def identities(*rows: tuple[int, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def rows_of(lake: Any, rewritten: Rewrite) -> list[list[int]]:
    read = (pl.read_parquet(lake.storage.uri(f"{lake.path}/{file.path}")) for file in rewritten.add)
    return [frame["n"].to_list() for frame in read]


def test_only_files_that_hold_a_deleted_row_are_rewritten(lake: Any) -> None:
    for batch in range(3):
        lake.append(pl.DataFrame({"n": [10 * batch + 2, 10 * batch + 1, 10 * batch]}))
    rewritten = without(lake.table, lake.table.files(), identities((2, 0, 1)))
    assert rows_of(lake, rewritten) == [[12, 10]]
    assert [file.stats["minValues"]["n"] for file in rewritten.remove] == [10]


def test_a_file_that_loses_all_rows_is_only_removed(lake: Any) -> None:
    lake.append(pl.DataFrame({"n": [1, 2]}))
    rewritten = without(lake.table, lake.table.files(), identities((1, 0, 0), (1, 0, 1)))
    assert (len(rewritten.add), len(rewritten.remove)) == (0, 1)


def test_rows_that_are_not_there_need_no_rewriting(lake: Any) -> None:
    lake.append(pl.DataFrame({"n": [1, 2]}))
    assert without(lake.table, lake.table.files(), identities((1, 0, 7), (9, 0, 0))) == Rewrite()
    assert without(lake.table, lake.table.files(), identities()) == Rewrite()


def test_files_without_statistics_are_looked_into(lake: Any) -> None:
    lake.append(pl.DataFrame({"n": [1, 2]}))
    [file] = lake.table.files()
    bare = type(file)(file.path, file.size_bytes, file.rows, {"numRecords": file.rows})
    lake.table.commit(app_id="other", number=1, remove=[file], metadata={})
    lake.table.commit(app_id="other", number=2, add=[bare], metadata={})
    assert rows_of(lake, without(lake.table, lake.table.files(), identities((1, 0, 0)))) == [[2]]
