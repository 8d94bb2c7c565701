"""Partial aggregates of one entity over one hop of time, and the events they are made of.

A tile is made whole from the events of its hop, in their order, and never patched: a sum of floats
depends on the order of its terms, and offline and online must agree to the last bit. When a late event
arrives, the tile of its hop is built again.

Nulls are left out, so a tile stands for at least one value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurestore.aggregates.aggregates import AGGREGATES, AggregateFunction, Grouped
from featurestore.arrays import Codes, Ints

TimeUs = TypeVar("TimeUs", int, Ints)


@dataclass(frozen=True, slots=True)
class Events:
    """Values of one column, sorted by ``(entity, time, created, batch, file, row)``; none is null.

    ``entity``: codes of entities, any integers. ``time_us``: event times.
    """

    entity: Codes
    time_us: Ints
    values: pa.Array

    @classmethod
    def of(cls, entity: Codes, time_us: Ints, values: pa.Array | pa.ChunkedArray) -> Events:
        """The events that have a value; the arrays are sorted already (see :func:`event_order`)."""
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        if values.null_count:
            valid = values.is_valid().to_numpy(zero_copy_only=False)
            entity, time_us, values = entity[valid], time_us[valid], values.drop_null()
        return cls(entity, time_us, values)

    def __len__(self) -> int:
        return len(self.entity)


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles of many entities, sorted by entity and start. ``state``: see :mod:`featurestore.aggregates.aggregates`."""

    entity: Codes
    start_us: Ints
    state: Mapping[str, pa.Array]

    def __len__(self) -> int:
        return len(self.entity)

    def to_arrow(self) -> pa.Table:
        """``table[entity: int32, start_us: int64, <state>]``: what the online stores keep."""
        return pa.table({"entity": self.entity, "start_us": self.start_us, **self.state})

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Tiles:
        """The tiles of a table as :meth:`to_arrow` gives it."""
        state = {
            name: table.column(name).combine_chunks()
            for name in table.column_names
            if name not in ("entity", "start_us")
        }
        return cls(table.column("entity").to_numpy(), table.column("start_us").to_numpy(), state)


def floor_to_hop(time_us: TimeUs, hop_us: int) -> TimeUs:
    """The start of the hop that a time, or each of an array, is in, also before 1970.

    >>> floor_to_hop(np.array([-1, 0, 7]), 5), floor_to_hop(-1, 5)
    (array([-5,  0,  5]), -5)
    """
    return time_us // hop_us * hop_us


def event_order(
    entity: Codes, time_us: Ints, created_us: Ints, batch: Ints, file: npt.NDArray[np.integer], row: Ints
) -> npt.NDArray[np.intp]:
    """The total order of events: entity, time, created time, then the row's identity."""
    return np.lexsort((row, file, batch, created_us, time_us, entity))


def state_schema(function: AggregateFunction, value_type: pa.DataType) -> pa.Schema:
    """Columns of the state of a tile; ``value_type`` is the type of the aggregated column."""
    return AGGREGATES[function].compute.schema(value_type)


def build_tiles(function: AggregateFunction, events: Events, hop_us: int) -> Tiles:
    """The tiles of events: one per entity and hop that has a value."""
    start_us = floor_to_hop(events.time_us, hop_us)
    fresh = np.ones(len(events), np.bool_)
    fresh[1:] = (events.entity[1:] != events.entity[:-1]) | (start_us[1:] != start_us[:-1])
    first = np.flatnonzero(fresh)
    tile = np.cumsum(fresh) - 1
    return Tiles(
        events.entity[first],
        start_us[first],
        AGGREGATES[function].compute.state(Grouped(events.values, first, tile)),
    )


def merge_tiles(parts: Sequence[Tiles]) -> Tiles:
    """The tiles of all parts, sorted. No two parts have a tile of the same entity and start."""
    if len(parts) == 1:
        return parts[0]
    entity = np.concatenate([part.entity for part in parts])
    start_us = np.concatenate([part.start_us for part in parts])
    order = np.lexsort((start_us, entity))
    state = {
        name: pa.concat_arrays([part.state[name] for part in parts]).take(pa.array(order))
        for name in parts[0].state
    }
    return Tiles(entity[order], start_us[order], state)
