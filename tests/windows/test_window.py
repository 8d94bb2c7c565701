from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.aggregates.aggregates import AggregateFunction
from featurestore.resources.outputs import Output
from featurestore.resources.value import ColumnType
from featurestore.views.schema import arrow_type
from featurestore.windows.tile import Events, Tiles, build_tiles, floor_to_hop, merge_tiles
from featurestore.windows.window import evaluate

MakeOutput = Callable[..., Output]
Oracle = Callable[[Sequence[tuple[int, int, Any]], Output, int, int], Any]

INT64 = st.integers(-(2**63), 2**63 - 1)
FINITE = st.floats(-1e6, 1e6)
TEXT = st.sampled_from(["", "a", "b", "B", "é", "日本", "zz", "a\x00"])
KINDS: dict[AggregateFunction, list[tuple[ColumnType, ColumnType, st.SearchStrategy[Any]]]] = {
    AggregateFunction.COUNT: [(ColumnType.INT64, ColumnType.BOOL, st.just(True))],
    AggregateFunction.SUM: [
        (ColumnType.INT64, ColumnType.INT64, st.integers(-100, 100) | INT64),
        (ColumnType.FLOAT64, ColumnType.FLOAT64, FINITE),
    ],
    AggregateFunction.MEAN: [(ColumnType.FLOAT64, ColumnType.FLOAT64, FINITE)],
    AggregateFunction.VARIANCE: [(ColumnType.FLOAT64, ColumnType.FLOAT64, FINITE)],
    AggregateFunction.STDDEV: [(ColumnType.FLOAT64, ColumnType.FLOAT64, FINITE)],
    **{
        function: [
            (ColumnType.INT64, ColumnType.INT64, INT64),
            (ColumnType.INT8, ColumnType.INT8, st.integers(-128, 127)),
            (ColumnType.FLOAT64, ColumnType.FLOAT64, FINITE),
            (ColumnType.STRING, ColumnType.STRING, TEXT),
            (ColumnType.BOOL, ColumnType.BOOL, st.booleans()),
            (ColumnType.BYTES, ColumnType.BYTES, st.binary(max_size=3)),
        ]
        for function in (
            AggregateFunction.MIN,
            AggregateFunction.MAX,
            AggregateFunction.FIRST,
            AggregateFunction.LAST,
        )
    },
    AggregateFunction.APPROX_DISTINCT: [(ColumnType.INT64, ColumnType.STRING, TEXT)],
    AggregateFunction.APPROX_QUANTILE: [(ColumnType.FLOAT64, ColumnType.FLOAT64, FINITE)],
}


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Events of a few entities around 1970, and places that fall on, beside and between them."""
    function = draw(st.sampled_from(list(AggregateFunction)))
    kind, stored, values = draw(st.sampled_from(KINDS[function]))
    hop = draw(st.integers(1, 7))
    times = st.integers(-25, 25)
    events = draw(st.lists(st.tuples(st.integers(0, 2), times, st.none() | values), max_size=30))
    # A stable sort keeps the drawn order of equal times: it stands for created, batch, file and row.
    events.sort(key=lambda event: (event[0], event[1]))
    return {
        "function": function,
        "kind": kind,
        "stored": arrow_type(stored),
        "hop": hop,
        "window": draw(st.integers(1, 30)),
        "quantile": draw(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])),
        "events": events,
        "places": draw(st.lists(st.tuples(st.integers(-1, 3), st.integers(-40, 60)), max_size=12)),
        "published": draw(st.integers(-30, 30)),
    }


def events_of(rows: Sequence[tuple[int, int, Any]], kind: pa.DataType) -> Events:
    entity = np.array([row[0] for row in rows], np.int32)
    time_us = np.array([row[1] for row in rows], np.int64)
    return Events.of(entity, time_us, pa.array([row[2] for row in rows], kind))


def ask(output: Output, tiles: Tiles, events: Events, places: Sequence[tuple[int, int]]) -> pa.Array:
    entity = np.array([place[0] for place in places], np.int32)
    return evaluate(output, tiles, events, entity, np.array([place[1] for place in places], np.int64))


def agrees(function: AggregateFunction, got: Any, wanted: Any) -> bool:
    if wanted is None or got is None:
        return got is None and wanted is None
    if function in (AggregateFunction.VARIANCE, AggregateFunction.STDDEV):
        return math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-6)
    if function is AggregateFunction.APPROX_QUANTILE:
        return math.isclose(got, wanted, rel_tol=1 / 256, abs_tol=1e-300)
    return bool(got == wanted)


@settings(deadline=None)
@given(cases())
def test_a_window_is_what_plain_python_says_of_its_events(
    output: MakeOutput, oracle: Oracle, case: dict[str, Any]
) -> None:
    wanted = output(case["function"], case["kind"], case["window"], case["hop"], case["quantile"])
    events = events_of(case["events"], case["stored"])
    tiles = build_tiles(case["function"], events, case["hop"])
    got = ask(wanted, tiles, events, case["places"])
    assert got.type == arrow_type(case["kind"])
    for value, (entity, at) in zip(got.to_pylist(), case["places"], strict=True):
        assert agrees(case["function"], value, oracle(case["events"], wanted, entity, at))


@settings(deadline=None)
@given(cases())
def test_tiles_of_before_a_publish_and_events_after_it_give_the_same_bits_as_all_events(
    output: MakeOutput, case: dict[str, Any]
) -> None:
    function, hop, kind = case["function"], case["hop"], case["stored"]
    wanted = output(function, case["kind"], case["window"], hop, case["quantile"])
    every = events_of(case["events"], kind)
    cut = int(floor_to_hop(np.array([case["published"]]), hop)[0])
    stored = build_tiles(function, events_of([row for row in case["events"] if row[1] < cut], kind), hop)
    fresh = events_of([row for row in case["events"] if row[1] >= cut], kind)
    tiles = merge_tiles([Tiles.from_arrow(stored.to_arrow()), build_tiles(function, fresh, hop)])
    places = [place for place in case["places"] if place[1] >= case["published"]]
    online = ask(wanted, tiles, fresh, places)
    offline = ask(wanted, build_tiles(function, every, hop), every, places)
    assert online.equals(offline)
    if pa.types.is_floating(online.type):
        assert online.fill_null(0).to_numpy().tobytes() == offline.fill_null(0).to_numpy().tobytes()


@pytest.mark.parametrize(
    ("at", "wanted"),
    [
        (99, [None]),  # before the first event
        (100, [1]),  # the head's end is inclusive
        (104, [1]),
        (109, [3]),  # floor(109 − 10, 5) = 95
        (110, [3]),  # floor(110 − 10, 5) = 100: the tail's end is inclusive
        (114, [3]),  # floor(114 − 10, 5) = 100: the tail moves in hops
        (115, [2]),  # floor(115 − 10, 5) = 105
        (119, [2]),
        (120, [None]),  # floor(120 − 10, 5) = 110
    ],
)
def test_both_ends_of_a_window_are_inclusive_and_its_tail_moves_in_hops(
    output: MakeOutput, at: int, wanted: list[Any]
) -> None:
    events = events_of([(0, 100, 1), (0, 107, 2)], pa.int64())
    sum10 = output(AggregateFunction.SUM, ColumnType.INT64, 10, 5)
    assert ask(sum10, build_tiles(AggregateFunction.SUM, events, 5), events, [(0, at)]).to_pylist() == wanted


def test_hops_before_1970_are_floored_and_not_cut_towards_zero(output: MakeOutput) -> None:
    events = events_of([(0, -11, 1), (0, -10, 2), (0, -6, 4), (0, -1, 8)], pa.int64())
    tiles = build_tiles(AggregateFunction.SUM, events, 5)
    assert tiles.start_us.tolist() == [-15, -10, -5]
    sum5 = output(AggregateFunction.SUM, ColumnType.INT64, 5, 5)
    assert ask(sum5, tiles, events, [(0, -1), (0, -5), (0, 0), (0, 1)]).to_pylist() == [14, 6, 8, 8]


def test_a_sum_of_integers_is_exact_above_2_53_and_null_only_when_the_sum_itself_does_not_fit(
    output: MakeOutput,
) -> None:
    top = 2**63 - 1
    events = events_of([(0, 1, top), (0, 2, top), (0, 3, -top), (1, 1, 2**53), (1, 2, 1)], pa.int64())
    total = output(AggregateFunction.SUM, ColumnType.INT64, 100, 1)
    tiles = build_tiles(AggregateFunction.SUM, events, 1)
    places = [(0, 1), (0, 2), (0, 3), (1, 2)]
    assert ask(total, tiles, events, places).to_pylist() == [top, None, top, 2**53 + 1]


def test_a_sum_that_does_not_fit_a_narrow_declared_type_is_null_and_not_wrapped(output: MakeOutput) -> None:
    events = events_of([(0, 1, 100), (0, 2, 27), (0, 3, 1)], pa.int8())
    total = output(AggregateFunction.SUM, ColumnType.INT8, 100, 10)
    got = ask(total, build_tiles(AggregateFunction.SUM, events, 10), events, [(0, 2), (0, 3)])
    assert got.to_pylist() == [127, None]


def test_nan_stands_above_all_numbers(output: MakeOutput) -> None:
    nan = math.nan
    events = events_of([(0, 1, 1.0), (0, 2, nan), (1, 1, nan), (2, 1, 5.0), (2, 2, 3.0)], pa.float64())
    for function, wanted in [
        (AggregateFunction.MIN, [1.0, nan, 3.0]),
        (AggregateFunction.MAX, [nan, nan, 5.0]),
    ]:
        extreme = output(function, ColumnType.FLOAT64, 100, 10)
        got = ask(extreme, build_tiles(function, events, 10), events, [(0, 5), (1, 5), (2, 5)])
        assert np.array_equal(got.to_numpy(), wanted, equal_nan=True)


def test_a_variance_of_close_values_far_from_zero_does_not_cancel(output: MakeOutput) -> None:
    events = events_of([(0, t, 1e9 + t % 3) for t in range(30)], pa.float64())
    variance = output(AggregateFunction.VARIANCE, ColumnType.FLOAT64, 100, 7)
    got = ask(variance, build_tiles(AggregateFunction.VARIANCE, events, 7), events, [(0, 30)])
    assert got.to_pylist()[0] == pytest.approx(20 / 29, rel=1e-6)


def test_an_entity_with_nothing_in_the_window_has_count_0_and_null_for_the_rest(output: MakeOutput) -> None:
    for function, kinds in KINDS.items():
        kind, stored, _ = kinds[0]
        events = events_of([], arrow_type(stored))
        empty = output(function, kind, 10, 5, 0.5)
        got = ask(empty, build_tiles(function, events, 5), events, [(0, 0), (7, 3)])
        assert got.to_pylist() == ([0, 0] if function is AggregateFunction.COUNT else [None, None])


def test_first_and_last_keep_lists_and_follow_the_order_of_events_at_equal_times(output: MakeOutput) -> None:
    kind = pa.list_(pa.int64())
    events = events_of([(0, 5, [1]), (0, 5, [2, 2]), (0, 5, None), (0, 9, [3])], kind)
    for function, wanted in [(AggregateFunction.FIRST, [[1], [1]]), (AggregateFunction.LAST, [[2, 2], [3]])]:
        end = output(function, ColumnType.LIST_INT64, 10, 5)
        got = ask(end, build_tiles(function, events, 5), events, [(0, 5), (0, 12)])
        assert got.to_pylist() == wanted


def test_many_places_are_answered_in_parts_with_the_same_result(
    output: MakeOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = events_of([(e, t, float(t)) for e in range(5) for t in range(0, 60, 2)], pa.float64())
    places = [(e, t) for t in range(70) for e in range(6)]
    for function in (
        AggregateFunction.SUM,
        AggregateFunction.VARIANCE,
        AggregateFunction.MAX,
        AggregateFunction.APPROX_QUANTILE,
    ):
        wanted = output(function, ColumnType.FLOAT64, 20, 3, 0.5)
        tiles = build_tiles(function, events, 3)
        whole = ask(wanted, tiles, events, places)
        monkeypatch.setattr("featurestore.windows.window._TERMS", 7)
        assert ask(wanted, tiles, events, places).equals(whole)
        monkeypatch.undo()
