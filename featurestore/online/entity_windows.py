"""The windows of one entity, without arrays where its aggregates can do that: the values that
:mod:`featurestore.online.answer` gives for many.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from featurestore.aggregates.aggregates import AGGREGATES
from featurestore.aggregates.scalars import ScalarAggregate, State
from featurestore.online.layout import EVENT_US, EVENTS, START_US, TILES, Form, TileForm
from featurestore.resources.outputs import Output
from featurestore.windows.tile import Events, Tiles, floor_to_hop


class KeptEntity(Protocol):
    """What is kept of one entity."""

    @property
    def published_us(self) -> int:
        """When it was last published."""

    def column(self, section: int, name: str) -> Sequence[Any]:
        """A column of its rows in a section: Python's objects, times as numbers, None for null."""


class EntityWindows:
    """Computes the windows that are asked for, which are all of ``outputs``."""

    def __init__(self, form: Form, outputs: Sequence[Output]) -> None:
        self._windows = [_Window.of(form, output) for output in outputs]

    def values(self, kept: KeptEntity, now_us: int) -> list[Any]:
        """The value of each now, as the online stores hold values: times as numbers, None for null."""
        at_us = max(kept.published_us, now_us)
        columns = {window.output.column for window in self._windows}
        events = {column: _Events.of(kept, column) for column in columns}
        return [window.value(kept, events[window.output.column], at_us) for window in self._windows]


@dataclass(frozen=True, slots=True)
class _Events:
    """Times and values of the events that have a value of one column, in their order."""

    times_us: Sequence[int]
    values: Sequence[Any]

    @classmethod
    def of(cls, kept: KeptEntity, column: str) -> _Events:
        times_us, values = kept.column(EVENTS, EVENT_US), kept.column(EVENTS, column)
        if None in values:
            some = [
                (time_us, value) for time_us, value in zip(times_us, values, strict=True) if value is not None
            ]
            times_us, values = [time_us for time_us, _ in some], [value for _, value in some]
        return cls(times_us, values)


@dataclass(frozen=True, slots=True)
class _Window:
    """``section``: of its tiles, whose states are ``names``. ``scalar``: None where it is computed by arrays."""

    output: Output
    section: int
    form: TileForm
    names: Sequence[str]
    event_type: pa.DataType
    scalar: ScalarAggregate | None

    @classmethod
    def of(cls, kept: Form, output: Output) -> _Window:
        section = kept.tile_section(output)
        form = kept.tiles[section - TILES]
        event_type = kept.sections[EVENTS].field(output.column).type
        scalar = AGGREGATES[form.function].scalar
        return cls(output, section, form, form.schema.names[1:], event_type, scalar)

    def value(self, kept: KeptEntity, events: _Events, at_us: int) -> Any:
        if self.scalar is None:
            return self._by_arrays(kept, events, at_us)
        assert self.output.window_us is not None
        hop_us = self.form.hop_us
        head_us, tail_us = floor_to_hop(at_us, hop_us), floor_to_hop(at_us - self.output.window_us, hop_us)
        starts_us = kept.column(self.section, START_US)
        low = bisect_left(starts_us, tail_us)
        high = bisect_left(starts_us, head_us, low)
        tiles: list[State] = list(
            zip(*(kept.column(self.section, name)[low:high] for name in self.names), strict=True)
        )
        # Hops that became whole since publish time are in the events only.
        since_us = max(tail_us, floor_to_hop(kept.published_us, hop_us))
        first, head = bisect_left(events.times_us, since_us), bisect_left(events.times_us, head_us)
        tiles += [self.scalar.state(values) for values in _hops(events, first, head, hop_us)]
        return self.scalar.value(tiles, events.values[head : bisect_right(events.times_us, at_us, head)])

    def _by_arrays(self, kept: KeptEntity, events: _Events, at_us: int) -> Any:
        starts_us = kept.column(self.section, START_US)
        state = {
            name: pa.array(kept.column(self.section, name), self.form.schema.field(name).type)
            for name in self.names
        }
        tiles = Tiles(np.zeros(len(starts_us), np.int32), np.array(starts_us, np.int64), state)
        values = pa.array(events.values, self.event_type)
        arrays = Events(np.zeros(len(values), np.int32), np.array(events.times_us, np.int64), values)
        published_us = np.array([kept.published_us])
        value = self.form.window_values(
            self.output, tiles, arrays, published_us, np.zeros(1, np.int32), np.array([at_us])
        )
        return stored_objects(value)[0]


def _hops(events: _Events, first: int, stop: int, hop_us: int) -> Iterator[Sequence[Any]]:
    """The values of some events, by the hop that they are in."""
    for _, places in groupby(range(first, stop), lambda place: events.times_us[place] // hop_us):
        yield [events.values[place] for place in places]


def stored_objects(values: pa.Array) -> list[Any]:
    """Python's objects, as the online stores hold values: times as numbers, None for null."""
    if pa.types.is_temporal(values.type):
        values = values.view(pa.int64() if values.type.bit_width == 64 else pa.int32())
    objects: list[Any] = values.to_pylist()
    return objects
