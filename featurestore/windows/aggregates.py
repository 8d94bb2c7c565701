"""The aggregates: what a tile keeps of each, and the value of a window made of tiles and of the events of its head.

========================  =====================================================  =========================
function                  state of a tile                                        value of a window
========================  =====================================================  =========================
Count                     ``n``                                                  exact
Sum of integers           ``high``, ``low``: 32-bit halves, summed apart          exact; null if it does not fit
Sum of floats             ``sum``                                                ((tile + tile) + event) + …
Mean                      ``n``, ``sum``                                         sum / n
Variance, StdDev          ``n``, ``sum``, ``m2`` (squared distances from mean)   of the sample, null for n = 1
Min, Max                  ``value``                                              NaN is above all numbers
First, Last               ``value``                                              by the order of events
ApproxDistinct            ``code`` (list)                                        :mod:`featurestore.windows.sketch`
ApproxQuantile            ``bucket``, ``count`` (lists)                          :mod:`featurestore.windows.sketch`
========================  =====================================================  =========================

A new one is a class here and a member with its types in ``featurestore/resources/aggregate_functions.py``. States are mergeable:
a window's value is the same however its events were cut into tiles. What is summed in floats is summed in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Floats, Ints, running_sums
from featurestore.resources.aggregate_functions import AggregateFunction
from featurestore.windows import sketch
from featurestore.windows.intervals import expand

if TYPE_CHECKING:
    from featurestore.windows.window import Window

_SKETCHES = 1 << 15


@dataclass(frozen=True, slots=True)
class Grouped:
    """Values in groups, one after the other: ``first``: where each begins; ``group``: which each value is in."""

    values: pa.Array
    first: npt.NDArray[np.intp]
    group: npt.NDArray[np.intp]

    @property
    def count(self) -> int:
        return len(self.first)

    @property
    def sizes(self) -> Ints:
        return np.diff(self.first, append=len(self.values)).astype(np.int64)


class WindowAggregate(Protocol):
    """One aggregate. ``value_type``: of what is kept of each value."""

    def schema(self, value_type: pa.DataType) -> pa.Schema:
        """Columns of the state of a tile."""

    def state(self, tiles: Grouped) -> dict[str, pa.Array]:
        """The state of each tile, of its values; each has one at least."""

    def value(self, window: Window) -> pa.Array:
        """The value of the window at each of its places; null where it has none."""


class Count:
    def schema(self, value_type: pa.DataType) -> pa.Schema:
        return pa.schema([("n", pa.int64())])

    def state(self, tiles: Grouped) -> dict[str, pa.Array]:
        return {"n": pa.array(tiles.sizes)}

    def value(self, window: Window) -> pa.Array:
        return pa.array(count(window))


class Sum:
    """Of integers exactly, in two halves; of floats in order."""

    def schema(self, value_type: pa.DataType) -> pa.Schema:
        if pa.types.is_integer(value_type):
            return pa.schema([("high", pa.int64()), ("low", pa.int64())])
        return pa.schema([("sum", pa.float64())])

    def state(self, tiles: Grouped) -> dict[str, pa.Array]:
        if pa.types.is_integer(tiles.values.type):
            high, low = halves(tiles.values)
            return {
                "high": pa.array(_exact_sums(high, tiles.first)),
                "low": pa.array(_exact_sums(low, tiles.first)),
            }
        return {"sum": pa.array(ordered_sums(tiles.group, floats(tiles.values), tiles.count))}

    def value(self, window: Window) -> pa.Array:
        if not pa.types.is_integer(window.events.values.type):
            return pa.array(fold(window), mask=~window.filled)
        # Differences of running sums are exact in integers, whatever the length of the window.
        sums = []
        for name, half in zip(("high", "low"), halves(window.events.values), strict=True):
            tiles, events = running_sums(window.integers(name)), running_sums(half)
            sums.append(
                tiles[window.tile_high]
                - tiles[window.tile_low]
                + events[window.event_high]
                - events[window.event_low]
            )
        high = sums[0] + (sums[1] >> np.int64(32))
        fits = (high >= -(1 << 31)) & (high < 1 << 31)
        total = (np.where(fits, high, 0) << np.int64(32)) | (sums[1] & np.int64(0xFFFF_FFFF))
        return pa.array(total, mask=~(window.filled & fits))


class Mean:
    def schema(self, value_type: pa.DataType) -> pa.Schema:
        return pa.schema([("n", pa.int64()), ("sum", pa.float64())])

    def state(self, tiles: Grouped) -> dict[str, pa.Array]:
        total = ordered_sums(tiles.group, floats(tiles.values), tiles.count)
        return {"n": pa.array(tiles.sizes), "sum": pa.array(total)}

    def value(self, window: Window) -> pa.Array:
        return pa.array(mean(window), mask=~window.filled)


@dataclass(frozen=True, slots=True)
class Variance:
    """Of the sample, or (``root``) its standard deviation."""

    root: bool

    def schema(self, value_type: pa.DataType) -> pa.Schema:
        return pa.schema([("n", pa.int64()), ("sum", pa.float64()), ("m2", pa.float64())])

    def state(self, tiles: Grouped) -> dict[str, pa.Array]:
        numbers, n = floats(tiles.values), tiles.sizes
        total = ordered_sums(tiles.group, numbers, tiles.count)
        with np.errstate(invalid="ignore", over="ignore"):
            m2 = ordered_sums(tiles.group, (numbers - (total / n)[tiles.group]) ** 2, tiles.count)
        return {"n": pa.array(n), "sum": pa.array(total), "m2": pa.array(m2)}

    def value(self, window: Window) -> pa.Array:
        # Squared distances from the window's mean: within each tile (m2), and of the tile's mean from it.
        number, center_of_all = count(window), mean(window)
        n = np.concatenate([window.integers("n"), np.ones(len(window.events), np.int64)])
        with np.errstate(invalid="ignore", over="ignore"):
            center = np.concatenate([window.numbers("sum"), floats(window.events.values)]) / n
        within = np.concatenate([window.numbers("m2"), np.zeros(len(window.events))])
        squares = np.zeros(window.places)
        for part in window.parts():
            row = part.row
            with np.errstate(invalid="ignore", over="ignore"):
                distance = center[row] - center_of_all[part.low : part.high][part.at]
                terms = within[row] + n[row] * distance**2
            squares[part.low : part.high] = ordered_sums(part.at, terms, part.high - part.low)
        variance = squares / np.maximum(number - 1, 1)
        return pa.array(np.sqrt(variance) if self.root else variance, mask=number < 2)


@dataclass(frozen=True, slots=True)
class Extreme:
    """The least or the greatest value."""

    least: bool

    def schema(self, value_type: pa.DataType) -> pa.Schema:
        return pa.schema([("value", value_type)])

    def state(self, tiles: Grouped) -> dict[str, pa.Array]:
        found = extreme(self.least, sortable(tiles.values), tiles.first)
        return {"value": tiles.values.take(pa.array(found))}

    def value(self, window: Window) -> pa.Array:
        values = window.both()
        keys = sortable(values)
        index = np.zeros(window.places, np.int64)
        for part in window.parts():
            order = np.argsort(part.at, kind="stable")
            at, row = part.at[order], part.row[order]
            first = np.flatnonzero(np.diff(at, prepend=np.int64(-1)))
            index[part.low + at[first]] = row[extreme(self.least, keys[row], first)]
        return values.take(pa.array(index, mask=~window.filled))


@dataclass(frozen=True, slots=True)
class End:
    """The first or the last value, in the order of events."""

    first: bool

    def schema(self, value_type: pa.DataType) -> pa.Schema:
        return pa.schema([("value", value_type)])

    def state(self, tiles: Grouped) -> dict[str, pa.Array]:
        at = tiles.first if self.first else tiles.first + tiles.sizes - 1
        return {"value": tiles.values.take(pa.array(at))}

    def value(self, window: Window) -> pa.Array:
        """An end of the tiles or, if there are none there, of the head's events."""
        tiles = len(window.tiles)
        if self.first:
            index = np.where(window.tile_high > window.tile_low, window.tile_low, tiles + window.event_low)
        else:
            newest = np.where(
                window.event_high > window.event_low, tiles + window.event_high, window.tile_high
            )
            index = newest - 1
        return window.both().take(pa.array(index, mask=~window.filled))


class ApproxDistinct:
    def schema(self, value_type: pa.DataType) -> pa.Schema:
        return pa.schema([("code", pa.list_(pa.uint32()))])

    def state(self, tiles: Grouped) -> dict[str, pa.Array]:
        whose, codes = sketch.merge_distinct(
            tiles.group.astype(np.int64), sketch.distinct_codes(tiles.values)
        )
        return {"code": _lists(whose, pa.array(codes), tiles.count)}

    def value(self, window: Window) -> pa.Array:
        tiled, fresh = window.tiles.state["code"], sketch.distinct_codes(window.events.values)
        offsets = np.concatenate([tiled.offsets.to_numpy(), len(tiled.values) + np.arange(1, len(fresh) + 1)])
        codes = np.concatenate([tiled.values.to_numpy(), fresh])
        estimate = np.zeros(window.places, np.int64)
        for part in window.parts(np.diff(offsets), places=_SKETCHES):
            span, item = expand(offsets[part.row], offsets[part.row + 1])
            found = sketch.estimate_distinct(part.at[span], codes[item], part.high - part.low)
            estimate[part.low : part.high] = found
        return pa.array(estimate, mask=~window.filled)


class ApproxQuantile:
    def schema(self, value_type: pa.DataType) -> pa.Schema:
        return pa.schema([("bucket", pa.list_(pa.int32())), ("count", pa.list_(pa.int64()))])

    def state(self, tiles: Grouped) -> dict[str, pa.Array]:
        ones = np.ones(len(tiles.values), np.int64)
        every = sketch.quantile_buckets(floats(tiles.values))
        whose, buckets, counts = sketch.merge_quantile(tiles.group.astype(np.int64), every, ones)
        return {
            "bucket": _lists(whose, pa.array(buckets), tiles.count),
            "count": _lists(whose, pa.array(counts), tiles.count),
        }

    def value(self, window: Window) -> pa.Array:
        quantile = window.aggregate.quantile
        assert quantile is not None
        tiled, fresh = window.tiles.state["bucket"], sketch.quantile_buckets(floats(window.events.values))
        offsets = np.concatenate([tiled.offsets.to_numpy(), len(tiled.values) + np.arange(1, len(fresh) + 1)])
        buckets = np.concatenate([tiled.values.to_numpy(), fresh])
        counts = np.concatenate(
            [window.tiles.state["count"].values.to_numpy(), np.ones(len(fresh), np.int64)]
        )
        value = np.zeros(window.places)
        for part in window.parts(np.diff(offsets), places=_SKETCHES):
            span, item = expand(offsets[part.row], offsets[part.row + 1])
            found = sketch.estimate_quantile(
                part.at[span], buckets[item], counts[item], part.high - part.low, quantile
            )
            value[part.low : part.high] = found
        return pa.array(value, mask=~window.filled)


AGGREGATES: dict[AggregateFunction, WindowAggregate] = {
    AggregateFunction.SUM: Sum(),
    AggregateFunction.COUNT: Count(),
    AggregateFunction.MEAN: Mean(),
    AggregateFunction.MIN: Extreme(least=True),
    AggregateFunction.MAX: Extreme(least=False),
    AggregateFunction.VARIANCE: Variance(root=False),
    AggregateFunction.STDDEV: Variance(root=True),
    AggregateFunction.FIRST: End(first=True),
    AggregateFunction.LAST: End(first=False),
    AggregateFunction.APPROX_DISTINCT: ApproxDistinct(),
    AggregateFunction.APPROX_QUANTILE: ApproxQuantile(),
}


def count(window: Window) -> Ints:
    """Number of values at each place."""
    upto = running_sums(window.integers("n"))
    return upto[window.tile_high] - upto[window.tile_low] + window.event_high - window.event_low


def fold(window: Window) -> Floats:
    """Sum of floats at each place: tiles in order, then events in order."""
    terms = np.concatenate([window.numbers("sum"), floats(window.events.values)])
    total = np.zeros(window.places)
    for part in window.parts():
        total[part.low : part.high] = ordered_sums(part.at, terms[part.row], part.high - part.low)
    return total


def mean(window: Window) -> Floats:
    """Mean at each place; 0 where there is no value."""
    return fold(window) / np.maximum(count(window), 1)


def halves(values: pa.Array) -> tuple[Ints, Ints]:
    """``value = high·2^32 + low`` with ``0 ≤ low < 2^32``: sums of each cannot overflow."""
    whole = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return whole >> np.int64(32), whole & np.int64(0xFFFF_FFFF)


def floats(values: pa.Array) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return result


def sortable(values: pa.Array) -> npt.NDArray[np.generic]:
    """Numbers in the order of the values: themselves if they are numbers, else their ranks."""
    kind = values.type
    if pa.types.is_timestamp(kind):
        values = values.view(pa.int64())
    elif pa.types.is_date32(kind):
        values = values.view(pa.int32())
    elif not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        values = pc.rank(values, sort_keys="ascending", tiebreaker="dense")
    keys: npt.NDArray[np.generic] = values.to_numpy(zero_copy_only=False)
    return keys


def extreme(least: bool, keys: npt.NDArray[np.generic], first: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Index of the least or greatest key of each run that starts at ``first``; the first one of equals."""
    if not len(first):
        return first
    # fmin passes over NaN and maximum passes it on: NaN is above all numbers, as in PostgreSQL and DuckDB.
    best = (np.fmin if least else np.maximum).reduceat(keys, first)
    run = np.repeat(np.arange(len(first)), np.diff(first, append=len(keys)))
    same = (keys == best[run]) | ((keys != keys) & (best != best)[run])
    hits = np.flatnonzero(same)
    return hits[np.unique(run[hits], return_index=True)[1]]


def ordered_sums(
    group: npt.NDArray[np.integer], terms: npt.NDArray[np.float64], groups: int
) -> npt.NDArray[np.float64]:
    """The sum of each group's terms, added one by one in their order, beginning with 0.0.

    ``numpy.bincount`` adds in that order by its definition as a histogram; ``numpy.sum`` adds in pairs,
    and how it pairs them depends on what else is in the array.
    """
    return np.bincount(group, weights=terms, minlength=groups).astype(np.float64, copy=False)


def _exact_sums(terms: Ints, first: npt.NDArray[np.intp]) -> Ints:
    return np.add.reduceat(terms, first) if len(first) else terms[:0]


def _lists(group: Ints, values: pa.Array, groups: int) -> pa.Array:
    offsets = np.searchsorted(group, np.arange(groups + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
