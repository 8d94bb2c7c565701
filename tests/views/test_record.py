"""A quarantined row as JSON: nothing that it says is lost."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from featurestore_transforms.tables.records import to_json


def record(value: Any, dtype: Any = None) -> Any:
    return json.loads(to_json(pl.DataFrame({"x": pl.Series([value], dtype=dtype)}))[0])["x"]


def test_plain_values_are_themselves() -> None:
    for value in (1, 2**63 - 1, 1.5, "é", True, None, [1, None], {"a": {"b": 1}}):
        assert record(value) == value


def test_a_duration_that_python_cannot_hold_is_written_out() -> None:
    frame = pl.DataFrame({"x": pl.Series([2**63 - 1], dtype=pl.Int64).cast(pl.Duration("ms"))})
    assert json.loads(to_json(frame)[0])["x"] == "P106751991167DT7H12M55.807S"


def test_what_json_has_no_word_for_is_a_text() -> None:
    assert [record(value) for value in (math.nan, math.inf, -math.inf)] == ["NaN", "Infinity", "-Infinity"]
    assert record([math.nan]) == ["NaN"]
    assert record(b"\xff") == "/w=="
    assert record(date(2013, 1, 31)) == "2013-01-31"
    assert record(datetime(2013, 1, 31, 5)) == "2013-01-31T05:00:00"
    assert record(datetime(2013, 1, 31, 5, tzinfo=UTC)) == "2013-01-31T05:00:00.000000Z"
    assert record(datetime(2013, 1, 31, 5, tzinfo=UTC), pl.Datetime("us", "Europe/Berlin")).endswith(
        "05:00:00.000000Z"
    )
    assert record(Decimal("1.10")) == "1.10"
    assert record(timedelta(hours=1)) == "1:00:00"


def test_there_is_one_record_per_row_in_order() -> None:
    assert [json.loads(each)["n"] for each in to_json(pl.DataFrame({"n": [3, 1, 2]}))] == [3, 1, 2]
    assert to_json(pl.DataFrame({"n": []})).to_list() == []
