"""Queries: what they see, what becomes of the identity of rows, and errors that help."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import polars as pl
import pytest

from featurestore.errors import SpecError

FLIGHTS = {"tailnum": ["N1", "N2", None], "distance": [100, 2000, 30]}


def sql(query: str) -> dict[str, Any]:
    return {"sql": {"query": query}}


def test_a_query_on_a_column_that_is_not_there_lists_what_there_is(steps: Any) -> None:
    with pytest.raises(SpecError, match=r"transforms\[0\].*There is: 'tailnum', 'distance', '__row'"):
        steps([sql("SELECT distence FROM self")], FLIGHTS)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT distance, distance FROM self",
        "SELECT * FROM self WHERE distance > 'far'",
        "SELECT UPPER(distance) AS up FROM self",
        "SELECT tailnum, SUM(distance) AS miles FROM self GROUP BY distance",
    ],
)
def test_a_query_that_does_not_fit_the_columns_is_an_error_of_the_spec(steps: Any, query: str) -> None:
    with pytest.raises(SpecError):
        steps([sql(query)], FLIGHTS)


@pytest.mark.parametrize("alias", ["__x", '"^d.*$"', '"*"'])
def test_names_that_are_not_for_users_are_refused(steps: Any, alias: str) -> None:
    with pytest.raises(SpecError, match="name"):
        steps([sql(f"SELECT distance AS {alias} FROM self")], FLIGHTS)


def test_a_row_that_is_there_twice_is_numbered_anew(steps: Any) -> None:
    query = "SELECT a.* FROM self AS a JOIN self AS b ON a.k = b.k"
    out = steps([sql(query)], {"k": [1, 1, 2]})
    assert sorted(out.rows("__row")) == [(0,), (1,), (2,), (3,), (4,)]


def test_a_file_without_rows_gives_none(steps: Any) -> None:
    out = steps([sql("SELECT COUNT(*) AS n FROM self")], {"k": []})
    assert out.good.height == 0
    assert out.good.columns[0] == "n"


def test_a_file_whose_rows_are_all_marked_is_a_file_with_no_good_row(steps: Any) -> None:
    out = steps(
        [{"cast": {"columns": {"a": "int64"}}}, sql("SELECT COUNT(*) AS n FROM self")], {"a": ["x", "y"]}
    )
    assert (out.rows("n", "__file"), sorted(out.broken)) == ([(0, 0)], [(0, 0), (0, 1)])


def test_rows_that_a_query_made_can_break_rules(steps: Any) -> None:
    out = steps(
        [sql("SELECT k, COUNT(*) AS n FROM self GROUP BY k")],
        {"k": ["b", "a", "b"]},
        expectations=[{"name": "single", "that": "n = 1"}],
    )
    assert out.rows("k", "n", "__row") == [("a", 1, 0)]
    assert out.broken == {(0, 1): ("single", "n = 1, but n = 2")}


def test_rows_in_the_order_of_the_query_are_numbered_in_that_order(steps: Any) -> None:
    query = "SELECT distance AS miles FROM self ORDER BY distance DESC"
    assert steps([sql(query)], FLIGHTS).rows("miles", "__row") == [(2000, 0), (100, 1), (30, 2)]


_PROGRAM = """
import hashlib
import polars as pl
from featurestore_transforms.steps.sql import run_query
frame = pl.DataFrame({"k": [f"key {i * 7919 % 5000}" for i in range(20000)], "__row": range(20000)})
frame = frame.with_columns(pl.lit(0, pl.Int32).alias("__file"), pl.lit(None, pl.Int16).alias("__rule"))
made = run_query(frame.lazy(), "SELECT k, COUNT(*) AS n FROM self GROUP BY k", "spec").collect(engine="streaming")
print(hashlib.sha256(made.write_csv().encode()).hexdigest(), made.height, made["__row"].max())
"""


def test_groups_have_the_same_numbers_in_every_process_however_many_threads_it_has() -> None:
    answers = {
        subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            env={**os.environ, "POLARS_MAX_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "5")
    }
    assert len(answers) == 1
    assert answers.pop().split()[1:] == ["5000", "4999"]


def test_a_query_over_many_types_orders_its_groups(steps: Any) -> None:
    frame = pl.DataFrame({"k": [2, 1, 1], "l": [[1], [2], [2]], "s": [{"a": 1}, {"a": 2}, {"a": 2}]})
    out = steps([sql("SELECT DISTINCT k, l, s FROM self")], frame)
    assert out.rows("k", "__row") == [(1, 0), (2, 1)]
