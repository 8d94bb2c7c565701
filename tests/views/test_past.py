"""Whether a table's past can still be read."""

from __future__ import annotations

import os
from typing import Any

import polars as pl
import pytest

from featurestore_transforms.tables.table_history import are_there, is_known, tells


def commit(n: int) -> str:
    return f"{n:020d}.json"


def checkpoint(n: int, rest: str = "parquet") -> str:
    return f"{n:020d}.checkpoint.{rest}"


@pytest.mark.parametrize(
    ("log", "version", "known"),
    [
        ([commit(0), commit(1)], 1, True),
        ([commit(0), commit(1)], 2, False),
        ([commit(0), commit(2)], 2, False),
        ([commit(1), commit(2)], 2, False),
        ([checkpoint(1), commit(2)], 2, True),
        ([checkpoint(1), commit(2)], 1, True),
        ([checkpoint(3), commit(3), commit(2)], 2, False),
        ([checkpoint(1, "0000000001.0000000002.parquet"), commit(2), "_last_checkpoint"], 2, True),
        ([], 0, False),
    ],
)
def test_a_version_is_known_if_all_commits_since_a_base_are_there(
    log: list[str], version: int, known: bool
) -> None:
    assert tells(log, version) is known


def test_the_versions_of_a_table_are_known(lake: Any) -> None:
    version = lake.append(pl.DataFrame({"n": [1]}))
    assert is_known(lake.table, version)
    assert not is_known(lake.table, version + 1)


def test_a_data_file_that_was_cleaned_up_is_missed(lake: Any) -> None:
    lake.append(pl.DataFrame({"n": [1]}), pl.DataFrame({"n": [2]}))
    files = lake.table.files()
    assert are_there(lake.table, files)
    os.unlink(lake.storage.uri(f"{lake.path}/{files[0].path}"))
    assert not are_there(lake.table, files)
    assert are_there(lake.table, files[1:])
