"""The value of a window at a time: the one definition that offline and online share.

    value(t) = aggregate of the events with floor(t − window, hop) ≤ event time ≤ t

           tiles                                      events of the hop that t is in
    |──────┬──────┬──────┬──────┬──────┬──────|········|
    floor(t − window, hop)              floor(t, hop)   t

The head is exact, the tail moves in hops. The value is made of the whole tiles in order and then of the
head's events in order; with floats the order of additions is part of the definition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.aggregates.aggregates import AGGREGATES, Terms
from featurestore.arrays import Codes, Floats, Ints, running_sums
from featurestore.resources.outputs import Output
from featurestore.views.schema import arrow_type
from featurestore.windows.intervals import entity_spans, expand, first_not_before
from featurestore.windows.tile import Events, Tiles, floor_to_hop

_TERMS = 1 << 22
_EARLIEST = np.iinfo(np.int64).min


def evaluate(output: Output, tiles: Tiles, events: Events, at_entity: Codes, at_us: Ints) -> pa.Array:
    """The window's value for each entity and time, in the output's declared type.

    ``tiles``: all whole tiles that the windows may need. ``events``: at least the events of the hops that the
    times are in; more do no harm. Both are of the output's column. An entity without any event in the window
    has Count 0 and null for the rest; whether it is known at all is for the caller to say.
    """
    window = Window(output, tiles, events, at_entity, at_us)
    return _declared(AGGREGATES[window.function].compute.value(window), arrow_type(output.type))


class Window:
    """Spans of tiles and of head events for each place ``(entity, time)`` where a window ends.

    See :class:`featurestore.aggregates.aggregates.WindowTerms`.
    """

    def __init__(self, output: Output, tiles: Tiles, events: Events, at_entity: Codes, at_us: Ints) -> None:
        assert output.feature.aggregate is not None
        assert output.window_us is not None
        assert output.hop_us is not None
        self.function, self.quantile = output.feature.aggregate.function, output.feature.aggregate.quantile
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

    def parts(self, costs: Ints | None = None, places: int = _TERMS) -> Iterator[Terms]:
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
            yield Terms(
                low, high, np.concatenate([place, event_place]), np.concatenate([tile, tiles + event])
            )
            low = high

    @property
    def state(self) -> Mapping[str, pa.Array]:
        return self.tiles.state

    @property
    def values(self) -> pa.Array:
        return self.events.values

    def spread(self, rows: Ints, offsets: Ints) -> tuple[Ints, Ints]:
        """All items of the lists of these rows: which row each is of, and where it stands."""
        return expand(offsets[rows], offsets[rows + 1])

    def both(self) -> pa.Array:
        return pa.concat_arrays([self.tiles.state["value"], self.events.values])

    def integers(self, name: str) -> Ints:
        result: Ints = self.tiles.state[name].to_numpy(zero_copy_only=False)
        return result

    def numbers(self, name: str) -> Floats:
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
