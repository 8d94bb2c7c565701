"""Values that do not fit go to quarantine: never wrapped, never silently null, never in the way of good rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from featurestore.resources import FeatureView

View = Callable[..., FeatureView]
NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


def rows(values: list[Any], dtype: Any = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "tailnum": [f"N{index}" for index in range(len(values))],
            "at": pl.Series([NOON] * len(values), dtype=pl.Datetime("us", "UTC")),
            "value": pl.Series(values, dtype=dtype, strict=False),
        }
    )


def column(declared: str) -> dict[str, Any]:
    return {"name": "f", "type": declared, "column": "value"}


@pytest.mark.parametrize(
    ("declared", "values", "dtype", "kept", "rejected"),
    [
        ("int8", [127, 128, -129, None], pl.Int64, [127, None], ["128", "-129"]),
        ("int64", [2**63 - 1, None], pl.Int64, [2**63 - 1, None], []),
        ("float64", [2**53, 2**53 + 1], pl.Int64, [2.0**53], ["9007199254740993"]),
        ("int32", [1.0, 1.5, math.inf], pl.Float64, [1], ["1.5", "inf"]),
        ("float32", [0.5, 1e300], pl.Float64, [0.5], ["1e+300"]),
        ("bool", [0, 1, 2], pl.Int64, [False, True], ["2"]),
        ("int32", ["12", "twelve"], pl.String, [12], ["'twelve'"]),
        ("date", ["2013-01-31", "2013-02-30"], pl.String, [date(2013, 1, 31)], ["'2013-02-30'"]),
        ("timestamp", ["2013-01-01T12:00:00Z", "noon"], pl.String, [NOON], ["'noon'"]),
        ("list<int64>", [[1, 2], [1.5]], pl.List(pl.Float64), [[1, 2]], ["[1.5]"]),
        ("string", [1, None], pl.Int64, ["1", None], []),
    ],
)
def test_what_does_not_fit_is_quarantined_and_the_rest_is_kept(
    lake: Any,
    view: View,
    declared: str,
    values: list[Any],
    dtype: Any,
    kept: list[Any],
    rejected: list[str],
) -> None:
    typed = view(column(declared))
    lake.accept(typed)
    lake.append(rows(values, dtype))
    result = lake.build(typed)
    assert lake.features(typed)["f"].to_list() == kept
    quarantine = lake.rejected_rows(typed)
    assert quarantine["rule"].to_list() == ["feature:f"] * len(rejected)
    assert quarantine["reason"].to_list() == [f"wanted {declared}, got {each}" for each in rejected]
    assert result.rows_quarantined == len(rejected)


def test_nan_is_a_float_and_stays_one(lake: Any, view: View) -> None:
    typed = view(column("float64"))
    lake.accept(typed)
    lake.append(rows([math.nan, None]))
    lake.build(typed)
    nan, null = lake.features(typed)["f"].to_list()
    assert math.isnan(nan)
    assert null is None


def test_the_value_of_an_expression_must_fit_too(lake: Any, view: View) -> None:
    typed = view({"name": "f", "type": "int8", "expression": "value * 2"})
    lake.accept(typed)
    lake.append(rows([63, 64]))
    lake.build(typed)
    assert lake.features(typed)["f"].to_list() == [126]
    assert lake.rejected_rows(typed)["reason"].to_list() == ["wanted int8, got 128"]


def test_the_input_of_an_aggregate_must_fit_too(lake: Any, view: View) -> None:
    of = {"function": "Mean", "column": "value", "windows": ["1d"]}
    typed = view({"name": "f", "type": "float64", "aggregate": of})
    lake.accept(typed)
    lake.append(rows(["1.5", "much"]))
    lake.build(typed)
    assert lake.features(typed)["__in_f"].to_list() == [1.5]
    assert lake.rejected_rows(typed)["rule"].to_list() == ["feature:f"]


def test_a_null_key_and_a_key_of_another_type_are_quarantined(lake: Any, view: View) -> None:
    keys = {"name": "gate", "joinKeys": [{"name": "value", "type": "int32"}]}
    typed = view({"name": "f", "type": "string", "column": "tailnum"}, entity=keys)
    lake.accept(typed)
    lake.append(rows([1, None, 2**31], pl.Int64))
    lake.build(typed)
    assert lake.features(typed)["value"].to_list() == [1]
    assert lake.rejected_rows(typed).select("rule", "reason").rows() == [
        ("key:value", "wanted int32, got null"),
        ("key:value", "wanted int32, got 2147483648"),
    ]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["2013-01-01T12:00:00", "2013-01-01T13:00:00+01:00", "2013-01-01 12:00:00Z", "x", None], pl.String),
        ([NOON.replace(tzinfo=None)] * 3 + [None, None], pl.Datetime("us")),
        ([NOON] * 3 + [None, None], pl.Datetime("us", "UTC")),
    ],
)
def test_event_times_are_utc_and_a_row_without_one_is_quarantined(
    lake: Any, view: View, values: list[Any], dtype: Any
) -> None:
    typed = view({"name": "f", "type": "string", "column": "tailnum"}, timestampField="value")
    lake.accept(typed)
    lake.append(rows(values, dtype))
    lake.build(typed)
    assert lake.features(typed)["event_timestamp"].to_list() == [NOON] * 3
    assert lake.rejected_rows(typed)["rule"].to_list() == ["timestampField"] * 2


def test_a_date_is_its_midnight(lake: Any, view: View) -> None:
    typed = view({"name": "f", "type": "string", "column": "tailnum"}, timestampField="value")
    lake.accept(typed)
    lake.append(rows([date(2013, 1, 1)]))
    lake.build(typed)
    assert lake.features(typed)["event_timestamp"].to_list() == [datetime(2013, 1, 1, tzinfo=UTC)]


def test_a_row_that_breaks_several_rules_is_quarantined_once_by_the_first(lake: Any, view: View) -> None:
    typed = view(column("int8"), {"name": "g", "type": "int16", "column": "value"})
    lake.accept(typed)
    lake.append(rows([10**6]))
    lake.build(typed)
    assert lake.rejected_rows(typed)["rule"].to_list() == ["feature:f"]


def test_an_entry_names_the_file_and_holds_the_whole_row(lake: Any, view: View) -> None:
    typed = view(column("int8"))
    lake.accept(typed)
    lake.append(rows([1]), rows([1000]).with_columns(note=pl.lit("é"), share=pl.lit(math.nan)))
    lake.build(typed)
    [entry] = lake.rejected_rows(typed).to_dicts()
    assert (entry["__batch"], entry["__file"], entry["__row"]) == (1, 1, 0)
    assert (entry["uri"], entry["version"]) == ("file:///raw/1-1.parquet", "v1")
    assert json.loads(entry["record"]) == {
        "tailnum": "N0",
        "at": "2013-01-01T12:00:00.000000Z",
        "value": 1000,
        "note": "é",
        "share": "NaN",
    }
    assert entry["quarantined_at"] > NOON


def test_a_corrected_definition_starts_with_an_empty_quarantine(lake: Any, view: View) -> None:
    narrow, wide = view(column("int8")), view(column("int64"))
    lake.accept(narrow)
    lake.append(rows([1000]))
    assert lake.build(narrow).rows_quarantined == 1
    lake.accept(wide)
    assert lake.build(wide).rows_quarantined == 0
    assert lake.features(wide)["f"].to_list() == [1000]


def test_a_row_that_leaves_the_dataset_leaves_the_quarantine(lake: Any, view: View) -> None:
    typed = view(column("int8"))
    lake.accept(typed)
    lake.append(rows([1000, 1, 2000]))
    lake.build(typed)
    lake.replace(lambda old: old["value"] == 1000, rows([3000]))
    assert lake.build(typed).rows_quarantined == 2
    assert lake.rejected_rows(typed)["reason"].to_list() == ["wanted int8, got 2000", "wanted int8, got 3000"]
