"""The point-in-time join: for each entity and time, what a view knew at that time.

    label[entity, t]  →  row of the same entity with t − ttl ≤ event time ≤ t, the newest first

Three steps, each on whole columns. *Index*: keys and event times alone, of the row groups that can matter,
give the rows of the asked entities in the order of events. *Match*: a binary search per label. *Fetch*: the
wide columns, of the matched rows only; for windows, the aggregated columns of the rows they reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurestore.aggregates.aggregates import AggregateFunction
from featurestore.arrays import Codes, Flags, Ints, Statuses
from featurestore.offline.entity_codes import EntityCodes
from featurestore.offline.held_rows import HeldRows
from featurestore.offline.timeline import TIES, Timeline
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import CREATED_TIME, EVENT_TIME, Output
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.storage.row_groups import AT_ONCE_BYTES, Bounds, RowGroups, RowsByPosition
from featurestore.timestamps import duration_us
from featurestore.views.feature_query import FeatureQuery, FeatureValues
from featurestore.views.schema import TIMESTAMP, view_schema
from featurestore.views.value_status import Status, with_nulls
from featurestore.windows.intervals import entity_spans, first_not_before
from featurestore.windows.tile import Events, Tiles, build_tiles
from featurestore.windows.window import evaluate


@dataclass(frozen=True, slots=True)
class Times:
    """The times that a lookup is for.

    ``us``: one per entity. ``asked``: False where there is none. ``as_of_us``: if set, only rows that were
    known then count.
    """

    us: Ints
    asked: Flags
    as_of_us: int | None = None


def point_in_time(
    storage: Storage,
    lookup: FeatureQuery,
    times: Times,
    version: int | None = None,
    at_once_bytes: int = AT_ONCE_BYTES,
) -> FeatureValues:
    """Values and statuses of the asked outputs for each entity and time, in the order of the request.

    ``version``: of the view's table, else its newest. ``at_once_bytes``: so much of it may be decoded at once.

    Raises:
        StorageError: storage did not answer, or the version is gone.
    """
    codes = EntityCodes.of_asked(lookup.entities, times.asked)
    labels = _Labels.sorted(codes.of_rows, times.us)
    if not len(labels.place):
        return _Answer(lookup, labels, RowGroups(storage, []), Timeline.empty()).looked()
    table = Table.open(storage, paths.features(lookup.view, lookup.digest), version)
    as_of_us = times.as_of_us
    groups = RowGroups(storage, [])
    if table is not None:
        groups = RowGroups.of(table, _bounds(lookup, codes, labels, as_of_us), at_once_bytes=at_once_bytes)
    timeline = Timeline.read(groups, lookup.entities.schema, codes, int(labels.time_us.max()), as_of_us)
    return _Answer(lookup, labels, groups, timeline).looked(None if table is None else table.version)


def joined_schema(spec: FeatureViewSpec, outputs: Sequence[Output]) -> pa.Schema:
    """What the join reads of a view's rows: keys, event time, what breaks ties, and the columns of these outputs."""
    schema = view_schema(spec)
    keys = [key.name for key in spec.entity.join_keys]
    names = [*keys, EVENT_TIME, *TIES.names, *(output.column for output in outputs)]
    return pa.schema([schema.field(name) for name in dict.fromkeys(names)])


def joined_with(rows: HeldRows, lookup: FeatureQuery, times: Times) -> FeatureValues:
    """As :func:`point_in_time`, of rows that are in memory.

    ``rows``: at least all of the asked entities up to the latest time, of :func:`joined_schema`.
    """
    codes = EntityCodes.of_asked(lookup.entities, times.asked)
    labels = _Labels.sorted(codes.of_rows, times.us)
    timeline = Timeline.empty()
    if len(labels.place):
        timeline = Timeline.read(rows, lookup.entities.schema, codes, int(labels.time_us.max()))
    return _Answer(lookup, labels, rows, timeline).looked()


@dataclass(frozen=True, slots=True)
class _Labels:
    """The labels that can match, sorted by entity and time, so that neighbors find their rows nearby.

    ``place``: of the label in the request. ``count``: how many labels the request has in all.
    """

    entity: Codes
    time_us: Ints
    place: npt.NDArray[np.intp]
    count: int

    @classmethod
    def sorted(cls, entity: Codes, times_us: Ints) -> _Labels:
        order = np.lexsort((times_us, entity))
        order = order[np.searchsorted(entity[order], 0) :]
        return cls(entity[order], times_us[order], order, len(entity))


def _bounds(
    lookup: FeatureQuery, codes: EntityCodes, labels: _Labels, as_of_us: int | None
) -> dict[str, Bounds]:
    # There is no lower bound for event times: a row too old to be served makes the difference between
    # NOT_FOUND and OUTSIDE_MAX_AGE, and between Count 0 and null.
    bounds = {EVENT_TIME: Bounds(None, int(labels.time_us.max()))}
    if as_of_us is not None:
        bounds[CREATED_TIME] = Bounds(None, as_of_us)
    for name, (low, high) in zip(lookup.entities.column_names, codes.bounds(), strict=True):
        bounds[name] = Bounds(low, high)
    return bounds


class _Answer:
    """Matches labels with rows, and makes the columns of the answer."""

    def __init__(
        self, lookup: FeatureQuery, labels: _Labels, groups: RowsByPosition, index: Timeline
    ) -> None:
        self._lookup, self._labels, self._groups, self._index = lookup, labels, groups, index
        low, high = entity_spans(index.entity, labels.entity)
        row = first_not_before(index.time_us, low, high, labels.time_us + 1) - 1
        self._known = row >= low
        self._row = np.where(self._known, row, 0)
        self._schema = view_schema(lookup.spec)

    def looked(self, version: int | None = None) -> FeatureValues:
        stored = [output for output in self._lookup.outputs if output.window_us is None]
        windows = [output for output in self._lookup.outputs if output.window_us is not None]
        features = {**self._newest(stored), **self._windows(windows)}
        return FeatureValues(
            {output.name: features[output.name][0] for output in self._lookup.outputs},
            {output.name: features[output.name][1] for output in self._lookup.outputs},
            self._event_times(),
            version,
        )

    def _event_times(self) -> pa.Array:
        """The event time of the newest row not after the time, however old it is."""
        time_us, missing = np.zeros(self._labels.count, np.int64), np.ones(self._labels.count, np.bool_)
        place = self._labels.place[self._known]
        time_us[place] = self._index.time_us[self._row[self._known]]
        missing[place] = False
        return pa.array(time_us, mask=missing).view(TIMESTAMP)

    def _newest(self, outputs: Sequence[Output]) -> dict[str, tuple[pa.Array, Statuses]]:
        """Values of the newest row not after the time, unless it is older than the ttl."""
        fresh = self._known.copy()
        if self._lookup.spec.ttl is not None and len(self._index.time_us):
            age = self._labels.time_us - self._index.time_us[self._row]
            fresh &= age <= duration_us(self._lookup.spec.ttl)
        if not outputs:
            return {}
        positions, which = np.unique(self._index.position[self._row[fresh]], return_inverse=True)
        rows = self._groups.fetch(
            pa.schema([self._schema.field(output.column) for output in outputs]), positions
        )
        take = np.full(self._labels.count, -1, np.int64)
        take[self._labels.place[fresh]] = which
        index = pa.array(take, mask=take < 0)
        statuses = self._statuses(Status.NOT_FOUND)
        statuses[self._labels.place[self._known]] = Status.OUTSIDE_MAX_AGE
        statuses[self._labels.place[fresh]] = Status.PRESENT
        values = {output.name: _array(rows.column(output.column)).take(index) for output in outputs}
        return {name: (value, with_nulls(value, statuses)) for name, value in values.items()}

    def _windows(self, outputs: Sequence[Output]) -> dict[str, tuple[pa.Array, Statuses]]:
        """Values of windows; of an entity that had no event yet, nothing is known."""
        if not outputs:
            return {}
        reached, columns = self._reached(outputs)
        take = np.full(self._labels.count, -1, np.int64)
        take[self._labels.place[self._known]] = np.flatnonzero(self._known)
        index = pa.array(take, mask=take < 0)
        statuses = self._statuses(Status.NOT_FOUND)
        statuses[self._labels.place[self._known]] = Status.PRESENT
        events: dict[str, Events] = {}
        tiles: dict[tuple[str, int], Tiles] = {}
        computed = {}
        for output in outputs:
            assert output.hop_us is not None
            if output.column not in events:
                values = _array(columns.column(output.column))
                events[output.column] = Events.of(
                    self._index.entity[reached], self._index.time_us[reached], values
                )
            if (output.column, output.hop_us) not in tiles:
                tiles[output.column, output.hop_us] = build_tiles(
                    _function(output), events[output.column], output.hop_us
                )
            value = evaluate(
                output,
                tiles[output.column, output.hop_us],
                events[output.column],
                self._labels.entity,
                self._labels.time_us,
            ).take(index)
            computed[output.name] = (value, with_nulls(value, statuses))
        return computed

    def _reached(self, outputs: Sequence[Output]) -> tuple[npt.NDArray[np.intp], pa.Table]:
        """The rows that a window may reach, in the order of events, and their aggregated columns."""
        schema = pa.schema(
            [self._schema.field(name) for name in dict.fromkeys(output.column for output in outputs)]
        )
        if not len(self._labels.time_us):
            return np.zeros(0, np.intp), schema.empty_table()
        first = int(self._labels.time_us.min())
        tail = min(_tail(first, output) for output in outputs)
        reached = np.flatnonzero(self._index.time_us >= tail)
        position = self._index.position[reached]
        by_position = np.argsort(position)
        rows = self._groups.fetch(schema, position[by_position])
        back = np.empty(len(by_position), np.int64)
        back[by_position] = np.arange(len(by_position))
        return reached, rows.take(pa.array(back))

    def _statuses(self, status: Status) -> Statuses:
        return np.full(self._labels.count, status, np.uint8)


def _tail(time_us: int, output: Output) -> int:
    assert output.window_us is not None
    assert output.hop_us is not None
    return (time_us - output.window_us) // output.hop_us * output.hop_us


def _function(output: Output) -> AggregateFunction:
    assert output.feature.aggregate is not None
    return output.feature.aggregate.function


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
