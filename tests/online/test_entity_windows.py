"""The windows of one entity are to the last bit what arrays give for many, whatever the values and wherever times are cut."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from windowed_output import make_output

from featurestore.aggregates.aggregates import AGGREGATES, AggregateFunction
from featurestore.online.entity_windows import EntityWindows, stored_objects
from featurestore.online.layout import EVENT_US, EVENTS, START_US, TILES, Form, TileForm
from featurestore.resources.outputs import Output
from featurestore.resources.value import ColumnType
from featurestore.views.schema import arrow_type
from featurestore.windows.tile import Events, Tiles, build_tiles, floor_to_hop, merge_tiles, state_schema
from featurestore.windows.window import evaluate

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, -1e308, 0.1, 1e-320]) | st.floats()
VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.BOOL: st.booleans(),
    ColumnType.INT8: st.integers(-128, 127),
    ColumnType.INT64: st.integers(-3, 3) | INT64,
    ColumnType.FLOAT32: st.floats(width=32),
    ColumnType.FLOAT64: FLOATS,
    ColumnType.STRING: st.text(max_size=3),
    ColumnType.BYTES: st.binary(max_size=3),
    ColumnType.DATE: st.integers(-9, 9),
    ColumnType.TIMESTAMP: st.integers(-9, 9),
}
ANY_TYPE = [(kind, kind) for kind in VALUES]
FLOAT64 = [(ColumnType.FLOAT64, ColumnType.FLOAT64)]
KINDS = {
    AggregateFunction.COUNT: [(ColumnType.INT64, ColumnType.BOOL)],
    AggregateFunction.SUM: [(ColumnType.INT64, ColumnType.INT64), *FLOAT64],
    **dict.fromkeys((AggregateFunction.MEAN, AggregateFunction.VARIANCE, AggregateFunction.STDDEV), FLOAT64),
    **dict.fromkeys(
        (AggregateFunction.MIN, AggregateFunction.MAX, AggregateFunction.FIRST, AggregateFunction.LAST),
        ANY_TYPE,
    ),
    AggregateFunction.APPROX_DISTINCT: [(ColumnType.INT64, ColumnType.STRING)],
    AggregateFunction.APPROX_QUANTILE: FLOAT64,
}
"""Types of the feature and of what is kept for it."""


@dataclass(frozen=True)
class Kept:
    """What is kept of an entity, as lists."""

    published_us: int
    columns: dict[tuple[int, str], list[Any]]

    def column(self, section: int, name: str) -> Sequence[Any]:
        return self.columns[section, name]


def bits(value: Any) -> Any:
    """Equal only if the bits are, but for NaN, of which there is one."""
    if isinstance(value, float):
        return "NaN" if value != value else struct.pack(">d", value)
    return type(value), value


def events_of(rows: Sequence[tuple[int, Any]], kind: pa.DataType) -> Events:
    time_us = np.array([time_us for time_us, _ in rows], np.int64)
    return Events.of(np.zeros(len(rows), np.int32), time_us, pa.array([value for _, value in rows], kind))


def both(
    output: Output, stored: pa.DataType, rows: Sequence[tuple[int, Any]], published: int, at: int
) -> tuple[Any, Any]:
    """The window's value for one entity, and by arrays. ``stored``: type of what is kept of the rows' values."""
    assert output.hop_us is not None
    assert output.window_us is not None
    assert output.feature.aggregate is not None
    function, hop = output.feature.aggregate.function, output.hop_us
    form = TileForm(
        function,
        output.column,
        hop,
        output.window_us,
        pa.schema([(START_US, pa.int64()), *state_schema(function, stored)]),
    )
    cut = int(floor_to_hop(np.array([published]), hop)[0])
    tiles = build_tiles(function, events_of([row for row in rows if row[0] < cut], stored), hop)
    fresh = [row for row in rows if row[0] >= cut]
    newer = events_of(fresh, stored)

    every: Tiles = merge_tiles([tiles, build_tiles(function, newer, hop)])
    at_us = np.array([max(at, published)])
    [wanted] = stored_objects(evaluate(output, every, newer, np.zeros(1, np.int32), at_us))

    kept = Kept(
        published,
        {
            (EVENTS, EVENT_US): [time_us for time_us, _ in fresh],
            (EVENTS, output.column): [value for _, value in fresh],
            (TILES, START_US): tiles.start_us.tolist(),
            **{(TILES, name): stored_objects(column) for name, column in tiles.state.items()},
        },
    )
    sections = (pa.schema([]), pa.schema([(output.column, stored)]), form.schema)
    [got] = EntityWindows(Form(pa.schema([]), sections, (form,)), [output]).values(kept, at)
    return got, wanted


@pytest.mark.parametrize("function", AggregateFunction)
@settings(deadline=None, max_examples=examples(200))
@given(data=st.data())
def test_one_entity_has_the_bits_that_arrays_give(function: AggregateFunction, data: st.DataObject) -> None:
    kind, kept_kind = data.draw(st.sampled_from(KINDS[function]))
    row = st.tuples(st.integers(-25, 25), st.none() | VALUES[kept_kind])
    rows = sorted(data.draw(st.lists(row, max_size=25)), key=lambda row: row[0])
    hop, window = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 30))
    published, at = data.draw(st.integers(-30, 30)), data.draw(st.integers(-30, 60))
    got, wanted = both(
        make_output(function, kind, window, hop, 0.5), arrow_type(kept_kind), rows, published, at
    )
    assert bits(got) == bits(wanted)


@pytest.mark.parametrize("function", [AggregateFunction.MIN, AggregateFunction.MAX])
@pytest.mark.parametrize("values", [(0.0, -0.0), (-0.0, 0.0), (math.nan, 0.0, -0.0), (-0.0, math.nan, 0.0)])
@pytest.mark.parametrize("published", [0, 1, 2, 5])
def test_of_equal_values_the_first_one_is_the_least_and_the_greatest(
    function: AggregateFunction, values: Sequence[float], published: int
) -> None:
    output = make_output(function, ColumnType.FLOAT64, 10, 2)
    got, wanted = both(output, pa.float64(), list(enumerate(values)), published, 5)
    assert bits(got) == bits(wanted)


def test_only_sketches_are_computed_by_arrays() -> None:
    by_arrays = {function for function, it in AGGREGATES.items() if it.scalar is None}
    assert by_arrays == {AggregateFunction.APPROX_DISTINCT, AggregateFunction.APPROX_QUANTILE}
