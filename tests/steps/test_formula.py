"""Expressions that are used are those that no row can make raise."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from featurestore.errors import SpecError
from featurestore_transforms.steps.formula import condition, formula

TYPES = {
    "n": pl.Int64(),
    "small": pl.Int8(),
    "x": pl.Float64(),
    "s": pl.String(),
    "yes": pl.Boolean(),
    "t": pl.Datetime("us", "UTC"),
    "l": pl.List(pl.Int64()),
    "price": pl.Decimal(10, 2),
    "who": pl.Struct({"name": pl.String(), "age": pl.Int64()}),
}


@pytest.mark.parametrize(
    "text",
    [
        "n / (x / 60.0)",
        "n // small",
        "n % small",
        "POW(n, 2)",
        "SQRT(x)",
        "LOG(x, n)",
        "ABS(small)",
        "TRY_CAST(s AS BIGINT)",
        "s LIKE 'N%' AND NOT yes",
        "COALESCE(s, 'none')",
        "t + INTERVAL '90 minutes'",
        "EXTRACT(HOUR FROM t)",
        "ARRAY_GET(l, n)",
        "price * 2",
        "CASE WHEN n > 0 THEN x ELSE 0.5 END",
        "1",
    ],
)
def test_what_passes_gives_one_value_per_row_whatever_the_rows_hold(text: str) -> None:
    made = formula(text, TYPES, "spec")
    rows = pl.DataFrame(
        {
            "n": [0, -1, 2**63 - 1, None],
            "small": [0, -1, -128, None],
            "x": [0.0, float("nan"), float("-inf"), None],
            "s": ["", "x", "\N{GRINNING FACE}", None],
            "yes": [True, False, True, None],
            "t": [datetime(2013, 1, 1, tzinfo=UTC)] * 3 + [None],
            "l": [[], [1], [None], None],
            "price": [0, -1, 1, None],
            "who": [{"name": None, "age": 1}, {"name": "a", "age": None}, None, None],
        },
        schema=TYPES,
    )
    assert rows.with_columns(made.alias("made")).height == 4


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("s * 2", "s: String"),
        ("s > 1", "cannot compare string"),
        ("UPPER(n)", "n: Int64"),
        ("n + s", "n: Int64, s: String"),
        ("n IN ('a')", "n: Int64"),
        ("ROUND(x, 'a')", "ROUND"),
        ("s ~ '['", "unclosed character class"),
        ("TRY_CAST(s AS DATE)", "from string to date"),
    ],
)
def test_types_that_do_not_fit_are_found_before_any_row_is_read(text: str, got: str) -> None:
    with pytest.raises(SpecError, match="types do not fit") as failed:
        formula(text, TYPES, "transforms[1]")
    assert "transforms[1]" in str(failed.value)
    assert got in str(failed.value)


@pytest.mark.parametrize("text", ["x // 2", "POW(n, small)", "DIV(n, price)"])
def test_what_raises_for_some_values_is_refused_because_one_row_would_stop_all(text: str) -> None:
    with pytest.raises(SpecError, match="one such row would stop all others"):
        formula(text, TYPES, "spec")


def test_an_expression_over_many_columns_is_tried_too() -> None:
    types = {f"c{number}": pl.Float64() for number in range(40)}
    text = " + ".join(types)
    assert formula(text, types, "spec") is not None
    with pytest.raises(SpecError, match="would stop all others"):
        formula(f"({text}) // c3", types, "spec")


def test_the_same_expression_over_other_types_is_tried_anew() -> None:
    formula("a + 1", {"a": pl.Int64()}, "spec")
    with pytest.raises(SpecError, match="types do not fit"):
        formula("a + 1", {"a": pl.String()}, "spec")


def test_a_condition_is_false_where_it_is_null() -> None:
    rows = pl.DataFrame({"n": [1, -1, None]})
    assert rows.select(condition("n > 0", {"n": pl.Int64()}, "spec")).to_series().to_list() == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("text", ["n", "n AND n", "NULL", "1"])
def test_a_condition_that_is_not_true_or_false_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="a condition is true or false"):
        condition(text, TYPES, "spec")
