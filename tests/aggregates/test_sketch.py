"""Sketches: near the truth, and the same whatever the order and the split."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.aggregates.sketch import (
    bucket_middle,
    distinct_codes,
    estimate_distinct,
    estimate_quantile,
    merge_distinct,
    merge_quantile,
    quantile_buckets,
)

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def distinct(texts: list[str]) -> int:
    codes = distinct_codes(pa.array(texts, pa.string()))
    return int(estimate_distinct(np.zeros(len(codes), np.int64), codes, 1)[0])


def quantile(values: list[float], q: float) -> float:
    buckets = quantile_buckets(np.array(values, np.float64))
    zeros, ones = np.zeros(len(values), np.int64), np.ones(len(values), np.int64)
    return float(estimate_quantile(zeros, buckets, ones, 1, q)[0])


def test_the_hash_of_a_text_is_the_same_on_every_machine_and_for_ever() -> None:
    assert distinct_codes(pa.array(["", "a", "é", "a"])).tolist() == [185027, 48387, 48193, 48387]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 50])
def test_a_few_texts_are_counted_exactly(n: int) -> None:
    assert distinct([f"text {i}" for i in range(n)] * 3) == n


@pytest.mark.parametrize("n", [500, 4_000, 10_000, 100_000])
def test_many_texts_are_counted_within_five_percent(n: int) -> None:
    assert distinct([f"text {i}" for i in range(n)]) == pytest.approx(n, rel=0.05)


@settings(deadline=None)
@given(st.lists(st.text(max_size=4), max_size=60), st.randoms(use_true_random=False), st.integers(0, 60))
def test_a_count_does_not_depend_on_order_repetition_or_split(
    texts: list[str], random: Any, cut: int
) -> None:
    shuffled = texts * 2
    random.shuffle(shuffled)
    assert distinct(shuffled) == distinct(texts)
    halves = [distinct_codes(pa.array(part, pa.string())) for part in (texts[:cut], texts[cut:])]
    merged = np.concatenate([merge_distinct(np.zeros(len(c), np.int64), c)[1] for c in halves])
    assert estimate_distinct(np.zeros(len(merged), np.int64), merged, 1)[0] == distinct(texts)


def test_groups_are_counted_apart_and_a_group_without_texts_is_zero() -> None:
    codes = distinct_codes(pa.array(["a", "b", "a", "c"]))
    assert estimate_distinct(np.array([2, 2, 0, 2]), codes, 4).tolist() == [1, 0, 3, 0]


@settings(deadline=None)
@given(FLOATS)
def test_the_middle_of_a_bucket_is_within_one_in_256_of_its_values(value: float) -> None:
    middle = float(bucket_middle(quantile_buckets(np.array([value])))[0])
    # Below the least normal number the bits are spaced evenly, so the error is absolute there.
    assert math.isclose(middle, value, rel_tol=1 / 256, abs_tol=2.3e-308)


@settings(deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=40), st.floats(0, 1))
def test_a_quantile_is_near_the_value_of_its_rank(values: list[float], q: float) -> None:
    exact = sorted(values)[math.floor(q * (len(values) - 1))]
    assert math.isclose(quantile(values, q), exact, rel_tol=1 / 256, abs_tol=2.3e-308)


@settings(deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=40), st.integers(0, 40), st.floats(0, 1))
def test_a_quantile_does_not_depend_on_order_or_split(values: list[float], cut: int, q: float) -> None:
    parts = [np.array(part, np.float64) for part in (values[cut:], values[:cut])]
    merged = [
        merge_quantile(np.zeros(len(p), np.int64), quantile_buckets(p), np.ones(len(p), np.int64))
        for p in parts
    ]
    group, buckets, counts = (np.concatenate([m[n] for m in merged]) for n in range(3))
    assert estimate_quantile(group, buckets, counts, 1, q)[0] == quantile(sorted(values), q)


def test_infinities_and_nan_have_their_places_at_the_ends() -> None:
    inf, nan = math.inf, math.nan
    values = [nan, 1.0, -inf, inf, -1.0]
    assert quantile(values, 0.0) == -inf
    assert quantile(values, 0.5) == pytest.approx(1.0, rel=1 / 256)
    assert quantile(values, 0.75) == inf
    assert math.isnan(quantile(values, 1.0))
    assert quantile([-0.0, 0.0], 0.5) == 0.0


def test_quantiles_of_groups_are_taken_apart() -> None:
    buckets = quantile_buckets(np.array([1.0, 100.0, 2.0, 300.0]))
    got = estimate_quantile(np.array([1, 0, 1, 0]), buckets, np.ones(4, np.int64), 2, 1.0)
    assert got == pytest.approx([300.0, 2.0], rel=1 / 256)
