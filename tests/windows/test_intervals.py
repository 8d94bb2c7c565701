"""Spans of sorted rows."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.windows.intervals import entity_spans, expand, first_not_before

ENTITIES = st.lists(st.integers(0, 5), max_size=30).map(sorted)


@settings(deadline=None)
@given(ENTITIES, st.lists(st.integers(-1, 6), max_size=10))
def test_the_span_of_an_entity_holds_all_of_its_rows_and_no_other(rows: list[int], wanted: list[int]) -> None:
    low, high = entity_spans(np.array(rows, np.int32), np.array(wanted, np.int32))
    for entity, first, end in zip(wanted, low, high, strict=True):
        assert rows[first:end] == [row for row in rows if row == entity]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-9, 9), max_size=9).map(sorted), max_size=5), st.integers(-10, 10))
def test_the_first_row_not_before_a_time_is_found_in_each_span(spans: list[list[int]], at: int) -> None:
    times = np.array([time for span in spans for time in span], np.int64)
    ends = np.cumsum([len(span) for span in spans], dtype=np.int64)
    starts = ends - np.array([len(span) for span in spans], np.int64)
    found = first_not_before(times, starts, ends, np.full(len(spans), at, np.int64))
    assert (found - starts).tolist() == [bisect_left(span, at) for span in spans]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=9))
def test_expanding_gives_every_row_of_every_span_in_order(spans: list[tuple[int, int]]) -> None:
    low = np.array([first for first, _ in spans], np.int64)
    high = low + np.array([length for _, length in spans], np.int64)
    which, row = expand(low, high)
    wanted = [(n, first + k) for n, (first, length) in enumerate(spans) for k in range(length)]
    assert list(zip(which.tolist(), row.tolist(), strict=True)) == wanted
