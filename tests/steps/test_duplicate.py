"""Which row of a key is the last."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest

from featurestore.resources.transform import SortKey
from featurestore.storage.delta import BATCH, FILE, ROW
from featurestore_transforms.steps.deduplicate import LAST, flag_last


def last(values: list[Any], order: str, dtype: Any = None) -> Any:
    """Which of the values of one key is the last."""
    frame = pl.LazyFrame(
        {"v": pl.Series(values, dtype=dtype), "k": ["a"] * len(values), ROW: range(len(values))}
    )
    key = SortKey.model_validate({"column": "v", "order": order})
    [row] = flag_last(frame, ["k"], key, [ROW]).filter(LAST).collect().rows(named=True)
    return row["v"]


@pytest.mark.parametrize(
    ("values", "ascending", "descending"),
    [
        ([2, None, 3, 1], 3, 1),
        ([1.0, float("-inf"), None], 1.0, float("-inf")),
        (["b", None, "a", "B"], "b", "B"),
        ([True, False, None], True, False),
        ([date(2013, 1, 1), date(2012, 1, 1), None], date(2013, 1, 1), date(2012, 1, 1)),
        ([None, None], None, None),
    ],
)
def test_the_last_is_the_greatest_or_the_least_and_null_only_if_there_is_nothing_else(
    values: list[Any], ascending: Any, descending: Any
) -> None:
    assert last(values, "Ascending") == ascending
    assert last(values, "Descending") == descending


def test_nan_is_greater_than_every_number() -> None:
    assert str(last([1.0, float("nan"), float("inf")], "Ascending")) == "nan"
    assert last([1.0, float("nan"), float("inf")], "Descending") == 1.0


def test_of_equals_the_last_to_arrive_wins_by_batch_then_file_then_row() -> None:
    frame = pl.LazyFrame(
        {"k": ["a"] * 4, "v": [1] * 4, BATCH: [1, 2, 2, 2], FILE: [9, 0, 1, 1], ROW: [9, 9, 0, 1]}
    )
    key = SortKey.model_validate({"column": "v", "order": "Descending"})
    for order_by in (None, key):
        made = flag_last(frame, ["k"], order_by, [BATCH, FILE, ROW]).collect()
        assert made[LAST].to_list() == [False, False, False, True]


def test_rows_stay_in_their_order() -> None:
    frame = pl.LazyFrame({"k": ["b", "a", "b"], "v": [3, 1, 2], ROW: [0, 1, 2]})
    made = flag_last(frame, ["k"], SortKey.model_validate({"column": "v"}), [ROW]).collect()
    assert made.rows() == [("b", 3, 0, True), ("a", 1, 1, True), ("b", 2, 2, False)]
