"""Lookups: which keys are equal, and that rows are neither lost nor doubled."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest

from featurestore.errors import SpecError
from featurestore.storage.delta import BATCH, FILE, ROW


def table(keys: list[Any], values: list[Any], dtype: Any = None) -> pl.LazyFrame:
    return pl.LazyFrame(
        {
            "key": pl.Series(keys, dtype=dtype),
            "value": values,
            BATCH: range(1, len(keys) + 1),
            FILE: pl.Series([0] * len(keys), dtype=pl.Int32),
            ROW: [0] * len(keys),
        }
    )


def found(steps: Any, mine: pl.Series, theirs: pl.LazyFrame) -> list[Any]:
    step = {"lookup": {"pipeline": "other", "keys": {"mine": "key"}, "columns": {"value": "value"}}}
    out = steps([step], pl.DataFrame({"mine": mine}), lookups={"other": theirs})
    return out.good["value"].to_list()


@pytest.mark.parametrize(
    ("mine", "keys", "key_type"),
    [
        (pl.Series([1, 2], dtype=pl.Int8), [1, 300], pl.Int64),
        (pl.Series([1, 2], dtype=pl.Int64), ["1", "two"], pl.String),
        (pl.Series(["1", "2"]), [1, 300], pl.Int64),
        (pl.Series([1.0, 2.0]), [1, 2**53 + 1], pl.Int64),
        (pl.Series([date(2013, 1, 1), date(2013, 1, 2)]), ["2013-01-01", "never"], pl.String),
    ],
)
def test_keys_of_other_types_are_equal_if_they_mean_the_same(
    steps: Any, mine: pl.Series, keys: list[Any], key_type: Any
) -> None:
    assert found(steps, mine, table(keys, ["yes", "no"], key_type)) == ["yes", None]


def test_keys_that_only_rounding_makes_equal_are_not(steps: Any) -> None:
    mine = pl.Series([0.1, 0.5], dtype=pl.Float32)
    assert found(steps, mine, table([0.1, 0.5], ["near", "same"])) == [None, "same"]


def test_of_many_rows_of_a_key_the_newest_is_found_and_null_is_no_key(steps: Any) -> None:
    theirs = table(["a", None, "a", "b", None], [1, 2, 3, 4, 5])
    assert found(steps, pl.Series(["a", None, "a", "c", "b"]), theirs) == [3, None, 3, None, 4]


def test_keys_of_several_columns_match_if_all_do(steps: Any) -> None:
    theirs = table(["a", "a"], [1, 2]).with_columns(day=pl.Series([1, 2]))
    step = {"lookup": {"pipeline": "other", "keys": {"k": "key", "d": "day"}, "columns": {"value": "v"}}}
    out = steps([step], {"k": ["a", "a", "a"], "d": [2, 1, None]}, lookups={"other": theirs})
    assert out.rows("k", "d", "v") == [("a", 2, 2), ("a", 1, 1), ("a", None, None)]


def test_a_table_without_rows_gives_nulls(steps: Any) -> None:
    assert found(steps, pl.Series(["a"]), table(["a"], [1]).head(0)) == [None]


def test_a_key_itself_can_be_fetched(steps: Any) -> None:
    step = {"lookup": {"pipeline": "other", "keys": {"k": "key"}, "columns": {"key": "known", "value": "v"}}}
    out = steps([step], {"k": ["a", "z"]}, lookups={"other": table(["a"], [1])})
    assert out.rows("k", "known", "v") == [("a", "a", 1), ("z", None, None)]


def test_a_name_that_is_taken_is_refused(steps: Any) -> None:
    step = {"lookup": {"pipeline": "other", "keys": {"k": "key"}, "columns": {"value": "k"}}}
    with pytest.raises(SpecError, match="exists already: in transforms\\[0\\], got 'k'"):
        steps([step], {"k": ["a"]}, lookups={"other": table(["a"], [1])})


def test_only_columns_that_are_the_other_pipelines_users_own_are_found(steps: Any) -> None:
    step = {"lookup": {"pipeline": "other", "keys": {"k": "key"}, "columns": {"vallue": "v"}}}
    with pytest.raises(SpecError, match=r"no column 'vallue'.*Did you mean 'value'"):
        steps([step], {"k": ["a"]}, lookups={"other": table(["a"], [1])})
