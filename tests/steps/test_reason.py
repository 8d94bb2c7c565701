"""Values in reasons: short, told apart, and never a second error."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl
import pytest

from featurestore_transforms.steps.shown import shown


def texts(values: list[Any], dtype: pl.DataType, physical: bool = False) -> list[str]:
    series = pl.Series("v", values) if physical else pl.Series("v", values, dtype=dtype)
    return pl.DataFrame([series.cast(dtype)]).select(shown(pl.col("v"), dtype)).to_series().to_list()


@pytest.mark.parametrize(
    ("values", "dtype", "wanted"),
    [
        ([1, None], pl.Int8(), ["1", "null"]),
        ([1.5, float("nan"), None], pl.Float64(), ["1.5", "NaN", "null"]),
        ([True, None], pl.Boolean(), ["true", "null"]),
        (["null", "", None], pl.String(), ["'null'", "''", "null"]),
        (["a", None], pl.Categorical(), ["'a'", "null"]),
        ([b"\xff\x00", b"", None], pl.Binary(), ["x'ff00'", "x''", "null"]),
        ([date(2013, 1, 31), None], pl.Date(), ["2013-01-31", "null"]),
        ([datetime(2013, 1, 1), None], pl.Datetime("ms"), ["2013-01-01 00:00:00.000", "null"]),
        ([time(1, 2), None], pl.Time(), ["01:02:00", "null"]),
        ([timedelta(seconds=90), None], pl.Duration("us"), ["PT1M30S", "null"]),
        ([[1, None], [], None], pl.List(pl.Int64()), ["[1, null]", "[]", "null"]),
        ([["a"], [None]], pl.List(pl.String()), ["['a']", "[null]"]),
        ([[1, 2], None], pl.Array(pl.Int64, 2), ["[1, 2]", "null"]),
        (
            [{"a": 1, "b": [None]}, None],
            pl.Struct({"a": pl.Int8, "b": pl.List(pl.Int8)}),
            ["{a: 1, b: [null]}", "null"],
        ),
        ([None], pl.Null(), ["null"]),
    ],
)
def test_every_type_has_a_text(values: list[Any], dtype: pl.DataType, wanted: list[str]) -> None:
    assert texts(values, dtype) == wanted


def test_times_that_no_calendar_has_are_shown_as_numbers() -> None:
    least, most = -(2**63) + 1, 2**63 - 1
    assert texts([least, most], pl.Datetime("us", "UTC"), physical=True) == [str(least), str(most)]
    assert texts([2**31 - 1], pl.Date(), physical=True) == [str(2**31 - 1)]


def test_long_values_are_cut_and_say_so() -> None:
    assert texts(["x" * 200], pl.String()) == ["'" + "x" * 100 + "…'"]
    [text] = texts([list(range(10_000))], pl.List(pl.Int64()))
    assert len(text) == 103
