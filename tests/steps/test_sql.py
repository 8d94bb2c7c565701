"""Queries: what they see, what becomes of the identity of rows, and errors that help."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from examples import exhaustive

from featurestore.errors import SpecError
from featurestore.expressions.query_text import query_text
from featurestore.storage.delta import FILE, ROW
from featurestore_transforms.steps.query_engine import answer
from featurestore_transforms.steps.rules import RULE
from featurestore_transforms.steps.sql import run_query

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
import hashlib, sys
import polars as pl
from featurestore_transforms.steps.sql import run_query
frame = pl.DataFrame({"k": [f"key {i * 7919 % 5000}" for i in range(20000)], "__row": range(20000)})
frame = frame.with_columns(x=1.0 / (pl.col("__row") + 3), y=pl.col("__row") % 7)
frame = frame.with_columns(pl.lit(0, pl.Int32).alias("__file"), pl.lit(None, pl.Int16).alias("__rule"))
for query in sys.argv[1:]:
    made = run_query(frame.lazy(), query, "spec", 1 << 30).collect(engine="streaming")
    print(hashlib.sha256(repr(made.rows()).encode()).hexdigest(), made.height, made["__row"].max())
"""
_QUERIES = [
    "SELECT k, COUNT(*) AS n FROM self GROUP BY k",
    "SELECT k, COUNT(*) AS n FROM self GROUP BY k ORDER BY n",
    "SELECT k FROM self ORDER BY y LIMIT 100",
    "SELECT k, y FROM self LIMIT 10",
    "SELECT DISTINCT y FROM self LIMIT 3",
    "SELECT y, SUM(x) AS total, AVG(x) AS mean, STDDEV(x) AS spread FROM self GROUP BY y ORDER BY y",
    "SELECT k, FIRST(x) AS first, ARRAY_AGG(y) AS ys FROM self GROUP BY k ORDER BY first LIMIT 50",
    "SELECT a.k, SUM(a.x * b.x) AS s FROM self AS a JOIN self AS b ON a.k = b.k GROUP BY a.k ORDER BY s DESC LIMIT 20",
    "SELECT k, SUM(x) OVER (PARTITION BY y ORDER BY k) AS s, ROW_NUMBER() OVER (ORDER BY y) AS n FROM self",
]


def test_a_query_gives_the_same_rows_order_and_bits_in_every_process_however_many_threads_it_has() -> None:
    answers = {
        subprocess.run(
            [sys.executable, "-c", _PROGRAM, *_QUERIES],
            env={**os.environ, "POLARS_MAX_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "5", *(["2"] if exhaustive() else []))
    }
    assert len(answers) == 1
    assert answers.pop().splitlines()[0].split()[1:] == ["5000", "4999"]


def test_a_query_counts_as_an_expression_does(steps: Any) -> None:
    query = "SELECT x / 86400.0 AS a, x / 7 AS b, 24 * 3600 * 1000 * 1000 AS c, x / 0 AS d, x % 0 AS e, -7 // 2 AS f FROM self"
    out = steps([sql(query)], {"x": [3]})
    assert out.rows("a", "b", "c", "d", "e", "f") == [(3 / 86400.0, 3 / 7, 86_400_000_000, None, None, -3)]


@pytest.mark.parametrize(
    "query",
    ["SELECT x * 4 AS y FROM self", "SELECT SUM(x) AS y FROM self", "SELECT -x AS y FROM self"],
)
def test_a_whole_number_of_a_query_that_leaves_int64_refuses_the_file(steps: Any, query: str) -> None:
    with pytest.raises(SpecError, match=r"the query does not fit the rows.*(?i:overflow|out of range)"):
        steps([sql(query)], {"x": [2**62, 2**62, -(2**63)] if "-x" in query else [2**62, 2**62]})


TOO_MUCH = {
    "SELECT COUNT(*) AS n FROM self a, self b, self c WHERE a.k + b.k = c.k * c.k + 1 AND a.k <> b.k": "too long",
    "SELECT a.s, b.k FROM self a CROSS JOIN self b": "too much memory",
    "SELECT ARRAY_AGG(a.s || b.k) AS s FROM self a CROSS JOIN self b": "too much memory",
}


@pytest.mark.parametrize(("query", "reason"), TOO_MUCH.items())
def test_a_query_that_takes_too_much_is_ended_with_the_reason(query: str, reason: str) -> None:
    rows = pl.DataFrame({"k": range(20_000), "s": ["x" * 1000] * 20_000})
    max_s = 1 if reason == "too long" else 60
    with pytest.raises(
        SpecError, match=rf"the query takes {reason}: in spec, wanted at most .* and {max_s} s"
    ):
        answer(rows, query_text(query, where="spec"), "spec", max_bytes=128 << 20, max_s=max_s)


def test_a_query_may_use_half_of_the_memory_that_the_run_has() -> None:
    rows = pl.DataFrame({"k": range(2000), "s": ["x" * 1000] * 2000}).with_columns(
        pl.lit(0, pl.Int32).alias(FILE), pl.col("k").alias(ROW), pl.lit(None, pl.Int16).alias(RULE)
    )
    query = "SELECT ARRAY_AGG(s || k) AS s FROM self"
    assert run_query(rows.lazy(), query, "spec", 256 << 20).collect().height == 1
    with pytest.raises(SpecError, match=r"too much memory.*at most 2.0 MiB.*Raise spec.resources.memory"):
        run_query(rows.lazy(), query, "spec", 4 << 20)


def test_times_of_a_query_are_utc(steps: Any) -> None:
    moment = datetime(2013, 1, 1, 5, tzinfo=UTC)
    query = "SELECT t, t + INTERVAL '90 minutes' AS later FROM self WHERE t < TIMESTAMP '2100-01-01 00:00:00'"
    assert steps([sql(query)], {"t": [moment]}).rows("t", "later") == [
        (moment, moment + timedelta(minutes=90))
    ]


@pytest.mark.parametrize("literal", ["TIMESTAMP '{}'", "TIMESTAMPTZ '{}+00:00'", "TIMESTAMPTZ '{}Z'"])
def test_a_time_of_a_query_keeps_its_fraction(steps: Any, literal: str) -> None:
    moment = datetime(2013, 1, 1, 5, 0, 0, 250_000, tzinfo=UTC)
    query = f"SELECT t FROM self WHERE t <= {literal.format('2013-01-01 05:00:00.250000')}"
    assert steps([sql(query)], {"t": [moment, moment + timedelta(microseconds=1)]}).rows("t") == [(moment,)]


@pytest.mark.parametrize("number", ["1e400", "1e-400"])
def test_a_number_of_a_query_that_no_float_comes_near_to_is_refused(steps: Any, number: str) -> None:
    with pytest.raises(SpecError, match="out of the range of float64"):
        steps([sql(f"SELECT {number} AS x FROM self")], {"k": [1]})


def test_columns_that_differ_only_in_case_are_told_apart_before_a_query(steps: Any) -> None:
    with pytest.raises(SpecError, match="columns differ only in case"):
        steps([sql("SELECT k FROM self")], {"k": [1], "K": [2]})


def test_a_query_over_many_types_orders_its_groups(steps: Any) -> None:
    frame = pl.DataFrame({"k": [2, 1, 1], "l": [[1], [2], [2]], "s": [{"a": 1}, {"a": 2}, {"a": 2}]})
    out = steps([sql("SELECT DISTINCT k, l, s FROM self")], frame)
    assert out.rows("k", "__row") == [(1, 0), (2, 1)]
