"""Partial aggregates of one entity over one hop of time, and the events they are made of.

A tile is made whole from the events of its hop, in their order, and never patched: a sum of floats
depends on the order of its terms, and offline and online must agree to the last bit. When a late event
arrives, the tile of its hop is built again.

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

Nulls are left out, so a tile stands for at least one value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Codes, Ints
from featurestore.resources.feature_view import AggregateFunction
from featurestore.windows import sketch


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
    """Tiles of many entities, sorted by entity and start. ``state``: see the table of this module."""

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


def floor_to_hop(time_us: Ints, hop_us: int) -> Ints:
    """The start of the hop that each time is in; right before 1970, too.

    >>> floor_to_hop(np.array([-1, 0, 7]), 5)
    array([-5,  0,  5])
    """
    return time_us // hop_us * hop_us


def event_order(
    entity: Codes, time_us: Ints, created_us: Ints, batch: Ints, file: npt.NDArray[np.integer], row: Ints
) -> npt.NDArray[np.intp]:
    """The order of events: who, when, known when, then the row's identity. It is total."""
    return np.lexsort((row, file, batch, created_us, time_us, entity))


def state_schema(function: AggregateFunction, value_type: pa.DataType) -> pa.Schema:
    """Columns of the state of a tile; ``value_type`` is the type of the aggregated column."""
    match function:
        case AggregateFunction.COUNT:
            return pa.schema([("n", pa.int64())])
        case AggregateFunction.SUM if pa.types.is_integer(value_type):
            return pa.schema([("high", pa.int64()), ("low", pa.int64())])
        case AggregateFunction.SUM:
            return pa.schema([("sum", pa.float64())])
        case AggregateFunction.MEAN:
            return pa.schema([("n", pa.int64()), ("sum", pa.float64())])
        case AggregateFunction.VARIANCE | AggregateFunction.STDDEV:
            return pa.schema([("n", pa.int64()), ("sum", pa.float64()), ("m2", pa.float64())])
        case AggregateFunction.MIN | AggregateFunction.MAX | AggregateFunction.FIRST | AggregateFunction.LAST:
            return pa.schema([("value", value_type)])
        case AggregateFunction.APPROX_DISTINCT:
            return pa.schema([("code", pa.list_(pa.uint32()))])
        case AggregateFunction.APPROX_QUANTILE:
            return pa.schema([("bucket", pa.list_(pa.int32())), ("count", pa.list_(pa.int64()))])


def build_tiles(function: AggregateFunction, events: Events, hop_us: int) -> Tiles:
    """The tiles of events: one per entity and hop that has a value."""
    start_us = floor_to_hop(events.time_us, hop_us)
    fresh = np.ones(len(events), np.bool_)
    fresh[1:] = (events.entity[1:] != events.entity[:-1]) | (start_us[1:] != start_us[:-1])
    first = np.flatnonzero(fresh)
    tile = np.cumsum(fresh) - 1
    return Tiles(events.entity[first], start_us[first], _state(function, events.values, first, tile))


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


def extreme(
    function: AggregateFunction, keys: npt.NDArray[np.generic], first: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Index of the least or greatest key of each run that starts at ``first``; the first one of equals."""
    if not len(first):
        return first
    # fmin passes over NaN and maximum passes it on: NaN is above all numbers, as in PostgreSQL and DuckDB.
    best = (np.fmin if function is AggregateFunction.MIN else np.maximum).reduceat(keys, first)
    run = np.repeat(np.arange(len(first)), np.diff(first, append=len(keys)))
    same = (keys == best[run]) | ((keys != keys) & (best != best)[run])
    hits = np.flatnonzero(same)
    return hits[np.unique(run[hits], return_index=True)[1]]


def _state(
    function: AggregateFunction, values: pa.Array, first: npt.NDArray[np.intp], tile: npt.NDArray[np.intp]
) -> dict[str, pa.Array]:
    count = len(first)
    n = np.diff(first, append=len(values)).astype(np.int64)
    match function:
        case AggregateFunction.COUNT:
            return {"n": pa.array(n)}
        case AggregateFunction.SUM if pa.types.is_integer(values.type):
            high, low = halves(values)
            return {"high": pa.array(_exact_sums(high, first)), "low": pa.array(_exact_sums(low, first))}
        case AggregateFunction.SUM:
            return {"sum": pa.array(ordered_sums(tile, floats(values), count))}
        case AggregateFunction.MEAN:
            return {"n": pa.array(n), "sum": pa.array(ordered_sums(tile, floats(values), count))}
        case AggregateFunction.VARIANCE | AggregateFunction.STDDEV:
            numbers = floats(values)
            total = ordered_sums(tile, numbers, count)
            with np.errstate(invalid="ignore", over="ignore"):
                m2 = ordered_sums(tile, (numbers - (total / n)[tile]) ** 2, count)
            return {"n": pa.array(n), "sum": pa.array(total), "m2": pa.array(m2)}
        case AggregateFunction.FIRST:
            return {"value": values.take(pa.array(first))}
        case AggregateFunction.LAST:
            return {"value": values.take(pa.array(first + n - 1))}
        case AggregateFunction.MIN | AggregateFunction.MAX:
            return {"value": values.take(pa.array(extreme(function, sortable(values), first)))}
        case AggregateFunction.APPROX_DISTINCT:
            whose, codes = sketch.merge_distinct(tile.astype(np.int64), sketch.distinct_codes(values))
            return {"code": _lists(whose, pa.array(codes), count)}
        case AggregateFunction.APPROX_QUANTILE:
            ones = np.ones(len(values), np.int64)
            every = sketch.quantile_buckets(floats(values))
            whose, buckets, counts = sketch.merge_quantile(tile.astype(np.int64), every, ones)
            return {
                "bucket": _lists(whose, pa.array(buckets), count),
                "count": _lists(whose, pa.array(counts), count),
            }


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
