"""The aggregates over windows: the types of each, what a tile keeps, and the value of a window.

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
ApproxDistinct            ``code`` (list)                                        ``sketch.py``
ApproxQuantile            ``bucket``, ``count`` (lists)                          ``sketch.py``
========================  =====================================================  =========================

The value of a window is made of the tiles in it and of the events of its head. States are mergeable: the value is the
same however its events were cut into tiles. What is summed in floats is summed in order.

A new aggregate is a member of :class:`AggregateFunction`, a class, and a row of :data:`AGGREGATES`, all of them here.
Specs are checked against this file where there is no data engine, so numpy and Arrow are loaded by the first use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from featurestore.aggregates import scalars
from featurestore.deferred import Deferred

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import pyarrow.compute as pc

    from featurestore import arrays
    from featurestore.aggregates import sketch
    from featurestore.arrays import Floats, Ints
else:
    np, pa, pc = Deferred("numpy"), Deferred("pyarrow"), Deferred("pyarrow.compute")
    arrays, sketch = Deferred("featurestore.arrays"), Deferred("featurestore.aggregates.sketch")

_SKETCHES = 1 << 15


class AggregateFunction(StrEnum):
    """Aggregations over windows; all are sums of mergeable tiles."""

    SUM = "Sum"
    COUNT = "Count"
    MEAN = "Mean"
    MIN = "Min"
    MAX = "Max"
    VARIANCE = "Variance"
    STDDEV = "StdDev"
    FIRST = "First"
    LAST = "Last"
    APPROX_DISTINCT = "ApproxDistinct"
    APPROX_QUANTILE = "ApproxQuantile"


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


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of the places ``low … high - 1``: ``at``: whose, counted from ``low``; ``row``: of tiles and events."""

    low: int
    high: int
    at: Ints
    row: Ints


class WindowTerms(Protocol):
    """What a value is computed from: for each place where a window ends, spans of tiles and of head events.

    ``quantile``: of the aggregate, if it has one. ``state``: of all tiles; ``values``: of all events. ``filled``:
    whether there is a value at a place.
    """

    quantile: float | None
    places: int
    tile_low: Ints
    tile_high: Ints
    event_low: Ints
    event_high: Ints
    filled: npt.NDArray[np.bool_]

    @property
    def state(self) -> Mapping[str, pa.Array]: ...

    @property
    def values(self) -> pa.Array: ...

    def parts(self, costs: Ints | None = None, places: int = ...) -> Iterator[Terms]:
        """All terms of all places, some millions at a time: whole tiles first, then the head's events."""

    def spread(self, rows: Ints, offsets: Ints) -> tuple[Ints, Ints]:
        """All items of the lists of these rows: which row each is of, and where it stands."""

    def both(self) -> pa.Array:
        """The state ``value`` of the tiles, then the values of the events."""

    def integers(self, name: str) -> Ints:
        """A state of the tiles."""

    def numbers(self, name: str) -> Floats:
        """A state of the tiles."""


class WindowAggregate(Protocol):
    """One aggregate. ``value_type``: of what is kept of each value."""

    def schema(self, value_type: pa.DataType) -> pa.Schema:
        """Columns of the state of a tile."""

    def state(self, tiles: Grouped) -> dict[str, pa.Array]:
        """The state of each tile, of its values; each has one at least."""

    def value(self, window: WindowTerms) -> pa.Array:
        """The value of the window at each of its places; null where it has none."""


class Count:
    def schema(self, value_type: pa.DataType) -> pa.Schema:
        return pa.schema([("n", pa.int64())])

    def state(self, tiles: Grouped) -> dict[str, pa.Array]:
        return {"n": pa.array(tiles.sizes)}

    def value(self, window: WindowTerms) -> pa.Array:
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

    def value(self, window: WindowTerms) -> pa.Array:
        if not pa.types.is_integer(window.values.type):
            return pa.array(fold(window), mask=~window.filled)
        # Differences of running sums are exact in integers, whatever the length of the window.
        sums = []
        for name, half in zip(("high", "low"), halves(window.values), strict=True):
            tiles, events = arrays.running_sums(window.integers(name)), arrays.running_sums(half)
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

    def value(self, window: WindowTerms) -> pa.Array:
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

    def value(self, window: WindowTerms) -> pa.Array:
        # Squared distances from the window's mean: within each tile (m2), and of the tile's mean from it.
        number, center_of_all = count(window), mean(window)
        n = np.concatenate([window.integers("n"), np.ones(len(window.values), np.int64)])
        with np.errstate(invalid="ignore", over="ignore"):
            center = np.concatenate([window.numbers("sum"), floats(window.values)]) / n
        within = np.concatenate([window.numbers("m2"), np.zeros(len(window.values))])
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
        position = extreme(self.least, sortable(tiles.values), tiles.first)
        return {"value": tiles.values.take(pa.array(position))}

    def value(self, window: WindowTerms) -> pa.Array:
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

    def value(self, window: WindowTerms) -> pa.Array:
        """An end of the tiles or, if there are none there, of the head's events."""
        tiles = len(window.state["value"])
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

    def value(self, window: WindowTerms) -> pa.Array:
        tiled, fresh = window.state["code"], sketch.distinct_codes(window.values)
        offsets = np.concatenate([tiled.offsets.to_numpy(), len(tiled.values) + np.arange(1, len(fresh) + 1)])
        codes = np.concatenate([tiled.values.to_numpy(), fresh])
        estimate = np.zeros(window.places, np.int64)
        for part in window.parts(np.diff(offsets), places=_SKETCHES):
            span, item = window.spread(part.row, offsets)
            distinct = sketch.estimate_distinct(part.at[span], codes[item], part.high - part.low)
            estimate[part.low : part.high] = distinct
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

    def value(self, window: WindowTerms) -> pa.Array:
        quantile = window.quantile
        assert quantile is not None
        tiled, fresh = window.state["bucket"], sketch.quantile_buckets(floats(window.values))
        offsets = np.concatenate([tiled.offsets.to_numpy(), len(tiled.values) + np.arange(1, len(fresh) + 1)])
        buckets = np.concatenate([tiled.values.to_numpy(), fresh])
        counts = np.concatenate([window.state["count"].values.to_numpy(), np.ones(len(fresh), np.int64)])
        value = np.zeros(window.places)
        for part in window.parts(np.diff(offsets), places=_SKETCHES):
            span, item = window.spread(part.row, offsets)
            quantiles = sketch.estimate_quantile(
                part.at[span], buckets[item], counts[item], part.high - part.low, quantile
            )
            value[part.low : part.high] = quantiles
        return pa.array(value, mask=~window.filled)


class AggregateDefinition(NamedTuple):
    """A row of the table.

    ``gives``: types that a feature of it may have, as a spec writes them; None for all but lists. ``keeps``: type of
    what the view's table keeps of each value for it: all that it needs, and no more; None for the feature's own.
    ``counts``: it needs to know only whether there is a value. ``scalar``: how it is computed for one entity; None for by
    arrays.
    """

    compute: WindowAggregate
    gives: tuple[str, ...] | None = None
    keeps: str | None = None
    counts: bool = False
    scalar: scalars.ScalarAggregate | None = None


AGGREGATES = {
    AggregateFunction.SUM: AggregateDefinition(Sum(), ("int64", "float64"), scalar=scalars.ScalarSum()),
    AggregateFunction.COUNT: AggregateDefinition(
        Count(), ("int64",), "bool", counts=True, scalar=scalars.ScalarCount()
    ),
    AggregateFunction.MEAN: AggregateDefinition(Mean(), ("float64",), "float64", scalar=scalars.ScalarMean()),
    AggregateFunction.MIN: AggregateDefinition(Extreme(least=True), scalar=scalars.ScalarExtreme(least=True)),
    AggregateFunction.MAX: AggregateDefinition(
        Extreme(least=False), scalar=scalars.ScalarExtreme(least=False)
    ),
    AggregateFunction.VARIANCE: AggregateDefinition(
        Variance(root=False), ("float64",), "float64", scalar=scalars.ScalarVariance(root=False)
    ),
    AggregateFunction.STDDEV: AggregateDefinition(
        Variance(root=True), ("float64",), "float64", scalar=scalars.ScalarVariance(root=True)
    ),
    AggregateFunction.FIRST: AggregateDefinition(End(first=True), scalar=scalars.ScalarFirst()),
    AggregateFunction.LAST: AggregateDefinition(End(first=False), scalar=scalars.ScalarLast()),
    AggregateFunction.APPROX_DISTINCT: AggregateDefinition(ApproxDistinct(), ("int64",), "string"),
    AggregateFunction.APPROX_QUANTILE: AggregateDefinition(ApproxQuantile(), ("float64",), "float64"),
}


def count(window: WindowTerms) -> Ints:
    """Number of values at each place."""
    upto = arrays.running_sums(window.integers("n"))
    return upto[window.tile_high] - upto[window.tile_low] + window.event_high - window.event_low


def fold(window: WindowTerms) -> Floats:
    """Sum of floats at each place: tiles in order, then events in order."""
    terms = np.concatenate([window.numbers("sum"), floats(window.values)])
    total = np.zeros(window.places)
    for part in window.parts():
        total[part.low : part.high] = ordered_sums(part.at, terms[part.row], part.high - part.low)
    return total


def mean(window: WindowTerms) -> Floats:
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
