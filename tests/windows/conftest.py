"""The value of a window in plain Python: slow, short, and with no tile in the exact functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from windowed_output import make_output

from featurestore.aggregates.aggregates import AggregateFunction
from featurestore.resources.outputs import Output, aggregate_input_type
from featurestore.resources.value import ColumnType

Event = tuple[int, int, Any]


def in_window(events: Sequence[Event], entity: int, at: int, window: int, hop: int) -> list[tuple[int, Any]]:
    tail = math.floor((at - window) / hop) * hop
    return [(t, x) for e, t, x in events if e == entity and tail <= t <= at and x is not None]


def window_value(events: Sequence[Event], output: Output, entity: int, at: int) -> Any:
    """``events`` are in the order of events. ApproxDistinct and ApproxQuantile are answered exactly."""
    assert output.feature.aggregate is not None
    assert output.window_us is not None
    assert output.hop_us is not None
    found = in_window(events, entity, at, output.window_us, output.hop_us)
    values = [x for _, x in found]
    function = output.feature.aggregate.function
    if function is AggregateFunction.COUNT:
        return len(values)
    if function is AggregateFunction.APPROX_DISTINCT and values:
        return len(set(values))
    if not values or (function in (AggregateFunction.VARIANCE, AggregateFunction.STDDEV) and len(values) < 2):
        return None
    match function:
        case AggregateFunction.SUM if isinstance(values[0], int):
            total = sum(values)
            return total if -(2**63) <= total < 2**63 else None
        case AggregateFunction.SUM:
            return _folded(found, output.hop_us, at)
        case AggregateFunction.MEAN:
            return _folded(found, output.hop_us, at) / len(values)
        case AggregateFunction.VARIANCE:
            return statistics.variance(values)
        case AggregateFunction.STDDEV:
            return statistics.stdev(values)
        case AggregateFunction.MIN:
            return min(values)
        case AggregateFunction.MAX:
            return max(values)
        case AggregateFunction.FIRST:
            return values[0]
        case AggregateFunction.LAST:
            return values[-1]
        case AggregateFunction.APPROX_QUANTILE:
            quantile = output.feature.aggregate.quantile
            assert quantile is not None
            return sorted(values)[math.floor(quantile * (len(values) - 1))]
    raise AssertionError(function)


def _folded(found: Sequence[tuple[int, float]], hop: int, at: int) -> float:
    """Tiles are summed by themselves, then one after the other, then the events of the hop of ``at``."""
    tiles: dict[int, float] = {}
    head = math.floor(at / hop)
    for t, x in found:
        if t // hop < head:
            tiles[t // hop] = tiles.get(t // hop, 0.0) + x
    total = 0.0
    for tile in sorted(tiles):
        total += tiles[tile]
    for t, x in found:
        if t // hop == head:
            total += x
    return total


@pytest.fixture(scope="session")
def output() -> Callable[..., Output]:
    return make_output


@pytest.fixture(scope="session")
def oracle() -> Callable[[Sequence[Event], Output, int, int], Any]:
    return window_value


@pytest.fixture(scope="session")
def input_type() -> Callable[[Output], ColumnType]:
    return lambda output: aggregate_input_type(output.feature)
