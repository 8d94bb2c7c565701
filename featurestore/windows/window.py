"""The value of a window at a time: the one definition that offline and online share.

    value(t) = aggregate of the events with floor(t − window, hop) ≤ event time ≤ t

           tiles                                      events of the hop that t is in
    |──────┬──────┬──────┬──────┬──────┬──────|········|
    floor(t − window, hop)              floor(t, hop)   t

The head is exact, the tail moves in hops. The value is made of the whole tiles in order and then of the
head's events in order; with floats the order of additions is part of the definition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Codes, Ints, running_sums
from featurestore.resources.feature_view import AggregateFunction
from featurestore.resources.outputs import Output
from featurestore.views.schema import arrow_type
from featurestore.windows import sketch
from featurestore.windows.intervals import entity_spans, expand, first_not_before
from featurestore.windows.tile import (
    Events,
    Tiles,
    extreme,
    floats,
    floor_to_hop,
    halves,
    ordered_sums,
    sortable,
)

Floats = npt.NDArray[np.float64]

_TERMS = 1 << 22
_SKETCHES = 1 << 15
_EARLIEST = np.iinfo(np.int64).min


def evaluate(output: Output, tiles: Tiles, events: Events, at_entity: Codes, at_us: Ints) -> pa.Array:
    """The window's value for each entity and time, in the output's declared type.

    ``tiles``: all whole tiles that the windows may need. ``events``: at least the events of the hops that the
    times are in; more do no harm. Both are of the output's column. An entity without any event in the window
    has Count 0 and null for the rest; whether it is known at all is for the caller to say.
    """
    return _declared(_Window(output, tiles, events, at_entity, at_us).values(), arrow_type(output.type))


@dataclass(frozen=True, slots=True)
class _Part:
    """Terms of the places ``low … high - 1``: ``at``: whose, counted from ``low``; ``row``: of tiles and events."""

    low: int
    high: int
    at: Ints
    row: Ints


class _Window:
    """Spans of tiles and of head events for each place ``(entity, time)`` where a window ends."""

    def __init__(self, output: Output, tiles: Tiles, events: Events, at_entity: Codes, at_us: Ints) -> None:
        assert output.feature.aggregate is not None
        assert output.window_us is not None
        assert output.hop_us is not None
        self.aggregate = output.feature.aggregate
        self.tiles, self.events = tiles, events
        self.places = len(at_us)
        hop_us = output.hop_us
        at_us = np.maximum(at_us, _EARLIEST + output.window_us + hop_us)
        tail, head = floor_to_hop(at_us - output.window_us, hop_us), floor_to_hop(at_us, hop_us)
        low, high = entity_spans(tiles.entity, at_entity)
        self.tile_low = first_not_before(tiles.start_us, low, high, tail)
        self.tile_high = first_not_before(tiles.start_us, self.tile_low, high, head)
        low, high = entity_spans(events.entity, at_entity)
        self.event_low = first_not_before(events.time_us, low, high, head)
        self.event_high = first_not_before(events.time_us, self.event_low, high, at_us + 1)
        self.filled = (self.tile_high > self.tile_low) | (self.event_high > self.event_low)

    def values(self) -> pa.Array:
        function = self.aggregate.function
        match function:
            case AggregateFunction.COUNT:
                return pa.array(self.count())
            case AggregateFunction.SUM if pa.types.is_integer(self.events.values.type):
                return self._whole_sum()
            case AggregateFunction.FIRST | AggregateFunction.LAST:
                return self._end(function)
            case AggregateFunction.SUM:
                return pa.array(self._fold(), mask=~self.filled)
            case AggregateFunction.MEAN:
                return pa.array(self._mean(), mask=~self.filled)
            case AggregateFunction.VARIANCE | AggregateFunction.STDDEV:
                return self._variance(function)
            case AggregateFunction.MIN | AggregateFunction.MAX:
                return self._extreme(function)
            case AggregateFunction.APPROX_DISTINCT:
                return self._distinct()
            case AggregateFunction.APPROX_QUANTILE:
                assert self.aggregate.quantile is not None
                return self._quantile(self.aggregate.quantile)

    def count(self) -> Ints:
        upto = running_sums(self._integers("n"))
        return upto[self.tile_high] - upto[self.tile_low] + self.event_high - self.event_low

    def _whole_sum(self) -> pa.Array:
        # Differences of running sums are exact in integers, whatever the length of the window.
        sums = []
        for name, half in zip(("high", "low"), halves(self.events.values), strict=True):
            tiles, events = running_sums(self._integers(name)), running_sums(half)
            sums.append(
                tiles[self.tile_high]
                - tiles[self.tile_low]
                + events[self.event_high]
                - events[self.event_low]
            )
        high = sums[0] + (sums[1] >> np.int64(32))
        fits = (high >= -(1 << 31)) & (high < 1 << 31)
        total = (np.where(fits, high, 0) << np.int64(32)) | (sums[1] & np.int64(0xFFFF_FFFF))
        return pa.array(total, mask=~(self.filled & fits))

    def _mean(self) -> Floats:
        return self._fold() / np.maximum(self.count(), 1)

    def _variance(self, function: AggregateFunction) -> pa.Array:
        # Squared distances from the window's mean: within each tile (m2), and of the tile's mean from it.
        count, mean = self.count(), self._mean()
        n = np.concatenate([self._integers("n"), np.ones(len(self.events), np.int64)])
        with np.errstate(invalid="ignore", over="ignore"):
            center = np.concatenate([self._numbers("sum"), floats(self.events.values)]) / n
        within = np.concatenate([self._numbers("m2"), np.zeros(len(self.events))])
        squares = np.zeros(self.places)
        for part in self._parts():
            row = part.row
            with np.errstate(invalid="ignore", over="ignore"):
                terms = within[row] + n[row] * (center[row] - mean[part.low : part.high][part.at]) ** 2
            squares[part.low : part.high] = ordered_sums(part.at, terms, part.high - part.low)
        variance = squares / np.maximum(count - 1, 1)
        return pa.array(
            variance if function is AggregateFunction.VARIANCE else np.sqrt(variance), mask=count < 2
        )

    def _fold(self) -> Floats:
        terms = np.concatenate([self._numbers("sum"), floats(self.events.values)])
        total = np.zeros(self.places)
        for part in self._parts():
            total[part.low : part.high] = ordered_sums(part.at, terms[part.row], part.high - part.low)
        return total

    def _end(self, function: AggregateFunction) -> pa.Array:
        """First or last: an end of the tiles or, if there are none there, of the head's events."""
        tiles = len(self.tiles)
        if function is AggregateFunction.FIRST:
            index = np.where(self.tile_high > self.tile_low, self.tile_low, tiles + self.event_low)
        else:
            index = np.where(self.event_high > self.event_low, tiles + self.event_high, self.tile_high) - 1
        return self._both().take(pa.array(index, mask=~self.filled))

    def _extreme(self, function: AggregateFunction) -> pa.Array:
        values = self._both()
        keys = sortable(values)
        index = np.zeros(self.places, np.int64)
        for part in self._parts():
            order = np.argsort(part.at, kind="stable")
            at, row = part.at[order], part.row[order]
            first = np.flatnonzero(np.diff(at, prepend=np.int64(-1)))
            index[part.low + at[first]] = row[extreme(function, keys[row], first)]
        return values.take(pa.array(index, mask=~self.filled))

    def _distinct(self) -> pa.Array:
        tiled, fresh = self.tiles.state["code"], sketch.distinct_codes(self.events.values)
        offsets = np.concatenate([tiled.offsets.to_numpy(), len(tiled.values) + np.arange(1, len(fresh) + 1)])
        codes = np.concatenate([tiled.values.to_numpy(), fresh])
        estimate = np.zeros(self.places, np.int64)
        for part in self._parts(np.diff(offsets), places=_SKETCHES):
            span, item = expand(offsets[part.row], offsets[part.row + 1])
            found = sketch.estimate_distinct(part.at[span], codes[item], part.high - part.low)
            estimate[part.low : part.high] = found
        return pa.array(estimate, mask=~self.filled)

    def _quantile(self, quantile: float) -> pa.Array:
        tiled, fresh = self.tiles.state["bucket"], sketch.quantile_buckets(floats(self.events.values))
        offsets = np.concatenate([tiled.offsets.to_numpy(), len(tiled.values) + np.arange(1, len(fresh) + 1)])
        buckets = np.concatenate([tiled.values.to_numpy(), fresh])
        counts = np.concatenate([self.tiles.state["count"].values.to_numpy(), np.ones(len(fresh), np.int64)])
        value = np.zeros(self.places)
        for part in self._parts(np.diff(offsets), places=_SKETCHES):
            span, item = expand(offsets[part.row], offsets[part.row + 1])
            found = sketch.estimate_quantile(
                part.at[span], buckets[item], counts[item], part.high - part.low, quantile
            )
            value[part.low : part.high] = found
        return pa.array(value, mask=~self.filled)

    def _parts(self, costs: Ints | None = None, places: int = _TERMS) -> Iterator[_Part]:
        """All terms of all places, some millions at a time: whole tiles first, then the head's events.

        ``costs``: what a tile or an event takes (else 1). ``places``: how many places at most at a time.
        """
        tiles = len(self.tiles)
        upto = running_sums(np.ones(tiles + len(self.events), np.int64) if costs is None else costs)
        cost = upto[self.tile_high] - upto[self.tile_low]
        cost += upto[tiles + self.event_high] - upto[tiles + self.event_low]
        total = np.cumsum(cost)
        low = 0
        while low < self.places:
            before = total[low - 1] if low else 0
            high = int(np.searchsorted(total, before + _TERMS, "right"))
            high = min(max(high, low + 1), low + places, self.places)
            place, tile = expand(self.tile_low[low:high], self.tile_high[low:high])
            event_place, event = expand(self.event_low[low:high], self.event_high[low:high])
            yield _Part(
                low, high, np.concatenate([place, event_place]), np.concatenate([tile, tiles + event])
            )
            low = high

    def _both(self) -> pa.Array:
        return pa.concat_arrays([self.tiles.state["value"], self.events.values])

    def _integers(self, name: str) -> Ints:
        result: Ints = self.tiles.state[name].to_numpy(zero_copy_only=False)
        return result

    def _numbers(self, name: str) -> Floats:
        result: Floats = self.tiles.state[name].to_numpy(zero_copy_only=False)
        return result


def _declared(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    """The values in the declared type: floats rounded to the nearest integer; null where one does not fit."""
    if values.type == wanted:
        return values
    if pa.types.is_integer(wanted):
        if pa.types.is_floating(values.type):
            values = pc.round(values, round_mode="half_to_even")
        low, high = _bounds(wanted, values.type)
        fits = pc.and_(pc.greater_equal(values, low), pc.less(values, high))
        values = pc.if_else(fits, values, pa.scalar(None, values.type))
    return values.cast(wanted, safe=False)


def _bounds(wanted: pa.DataType, given: pa.DataType) -> tuple[pa.Scalar, pa.Scalar]:
    """The least integer of a type and the first that is too great, as the given type writes them."""
    info = np.iinfo(wanted.to_pandas_dtype())
    return pa.scalar(info.min, given), pa.scalar(info.max + 1, given)
