"""What a view answers now, from what is kept of its entities: the same as the point-in-time join at that time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurestore.arrays import Ints, Statuses
from featurestore.online.entities import Section, Stored
from featurestore.online.layout import EVENT_US, EVENTS, ROWS, TILES
from featurestore.online.reading import OnlineQuery
from featurestore.resources.outputs import Output
from featurestore.views.feature_query import FeatureValues
from featurestore.views.schema import TIMESTAMP
from featurestore.views.value_status import Status, with_nulls
from featurestore.windows.intervals import entity_spans, first_not_before
from featurestore.windows.tile import Events

Answered = tuple[pa.Array, Statuses]


def answer(query: OnlineQuery, stored: Stored, place: Ints, now_us: int) -> FeatureValues:
    """Values and statuses of the asked outputs, one per requested entity and in the order of the request.

    ``place``: of each requested entity in ``stored``, −1 for one that is not kept. Of ``stored`` only what
    :meth:`featurestore.online.layout.Form.needed` names is looked at. A clock that is behind the publisher's reads
    as of publish time.
    """
    reading = _Reading(query, stored, place, np.maximum(stored.published_us, now_us))
    answered: dict[str, Answered] = {}
    for output in query.outputs:
        answered[output.name] = reading.newest(output) if output.window_us is None else reading.window(output)
    return FeatureValues(
        {name: value for name, (value, _) in answered.items()},
        {name: statuses for name, (_, statuses) in answered.items()},
        reading.event_times(),
    )


class _Reading:
    """``at_us``: the time to read each entity at."""

    def __init__(self, query: OnlineQuery, stored: Stored, place: Ints, at_us: Ints) -> None:
        self._form, self._stored, self._place, self._at_us = query.form, stored, place, at_us
        self._entity = np.arange(len(stored), dtype=np.int32)
        self._rows = stored.sections[ROWS]
        time_us = self._rows.integers(EVENT_US)
        low, high = entity_spans(self._rows.entity, self._entity)
        self._row = first_not_before(time_us, low, high, at_us + 1) - 1
        known = self._row >= low
        fresh = known.copy()
        if query.ttl_us is not None and len(time_us):
            age_us = at_us - time_us[np.where(known, self._row, 0)]
            fresh &= age_us <= query.ttl_us
        self._windowed = self._asked(known, known)
        self._newest = self._asked(known, fresh)
        self._time_us = time_us

    def event_times(self) -> pa.Array:
        """The event time of the newest row not after the time, however old it is."""
        known = self._windowed == Status.PRESENT
        time_us = np.zeros(len(self._place), np.int64)
        time_us[known] = self._time_us[self._row[self._place[known]]]
        return pa.array(time_us, mask=~known).view(TIMESTAMP)

    def newest(self, output: Output) -> Answered:
        """Value of the newest row not after the time, unless it is older than the ttl."""
        statuses = self._newest
        index = np.full(len(self._place), -1, np.int64)
        present = statuses == Status.PRESENT
        index[present] = self._row[self._place[present]]
        values = self._rows.rows.column(output.column).take(pa.array(index, mask=~present))
        return values, with_nulls(values, statuses)

    def window(self, output: Output) -> Answered:
        """Value of a window; of an entity that had no event yet, nothing is known."""
        section = self._form.tile_section(output)
        form = self._form.tiles[section - TILES]
        events = _events(self._stored.sections[EVENTS], output)
        tiles = self._stored.sections[section].tiles()
        values = form.window_values(
            output, tiles, events, self._stored.published_us, self._entity, self._at_us
        )
        statuses = self._windowed
        values = values.take(pa.array(self._place, mask=statuses == Status.NOT_FOUND))
        return values, with_nulls(values, statuses)

    def _asked(self, known: npt.NDArray[np.bool_], fresh: npt.NDArray[np.bool_]) -> Statuses:
        """The status of each requested entity; the last one here stands for those that are not kept."""
        statuses = np.full(len(known) + 1, Status.NOT_FOUND, np.uint8)
        statuses[:-1][known] = Status.OUTSIDE_MAX_AGE
        statuses[:-1][fresh] = Status.PRESENT
        result: Statuses = statuses[self._place]
        return result


def _events(section: Section, output: Output) -> Events:
    return Events.of(section.entity, section.integers(EVENT_US), section.rows.column(output.column))
