"""What is kept of entities after new rows arrived: from what was kept before and the new rows alone.

Whatever the order of arrival: the newest event time wins, and tiles are made of all events of their hop.
Only where an event arrives late, for a hop whose tile is made already, that hop's events are read again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from featurestore.arrays import Codes, Flags, Ints
from featurestore.online.entities import Section, Stored
from featurestore.online.entity_keys import KeyIndex, key_texts
from featurestore.online.layout import (
    EVENT_US,
    EVENTS,
    ROWS,
    TILES,
    Form,
    TileForm,
    section_rows,
    source_columns,
)
from featurestore.online.needed_rows import unique
from featurestore.online.retention import newest_and_later, raw_events, reached_and_whole, tiles_of
from featurestore.windows.intervals import entity_spans, first_not_before
from featurestore.windows.tile import Tiles, floor_to_hop, merge_tiles

_NEVER = np.iinfo(np.int64).min
ReadBack = Callable[[pa.Table, int, int], Section]
"""Events of entities ``table[<join keys>]`` with since ≤ time < until; ``entity`` is the row in the table."""


@dataclass(frozen=True, slots=True)
class NewRows:
    """Rows that came, in any order. ``entities``: ``table[<join keys>]``, each once; ``keys``: their texts.

    ``entity``: of each row, its place among them. ``rows``: columns of the view's table.
    """

    entities: pa.Table
    keys: pa.Array
    entity: Codes
    rows: pa.Table

    @classmethod
    def of(cls, form: Form, rows: pa.Table) -> NewRows:
        entities = unique(rows.select(form.keys.names).cast(form.keys))
        keys = key_texts(entities)
        entity = KeyIndex.of(keys).find(key_texts(rows.select(form.keys.names)))
        return cls(entities, keys, entity.astype(np.int32), rows)

    def section(self, schema: pa.Schema) -> Section:
        columns = source_columns(schema)
        return Section(self.entity, section_rows(schema, self.rows.select(columns.names).cast(columns)))


def advance(form: Form, stored: Stored, new: NewRows, now_us: int, read_back: ReadBack) -> Stored:
    """What has to be kept of the entities of the new rows. ``stored``: what was kept of those that were known."""
    return _Advance(form, stored, new, now_us).stored(read_back)


class _Advance:
    """Places of entities are those in ``new.keys``."""

    def __init__(self, form: Form, stored: Stored, new: NewRows, now_us: int) -> None:
        self._form, self._new = form, new
        place = KeyIndex.of(stored.keys).find(new.keys)
        known = np.flatnonzero(place >= 0)
        self._old = stored.take(place[known])
        self._whose = known.astype(np.int32)
        before_us = np.full(len(new.keys), _NEVER, np.int64)
        before_us[known] = self._old.published_us
        # A clock that went back does not take back what has become whole since.
        self._published_us = np.maximum(before_us, now_us)
        # Events from here on are all at hand; of new entities every event is.
        self._raw_from_us = before_us
        if form.tiles:
            self._raw_from_us[known] = form.raw_from_us(self._old.published_us)
            old = self._before(EVENTS)
            self._events, place = old.united(new.section(form.sections[EVENTS]))
            self._came = place >= len(old.entity)

    def stored(self, read_back: ReadBack) -> Stored:
        form, new = self._form, self._new
        rows, _ = self._before(ROWS).united(new.section(form.sections[ROWS]))
        rows = rows.take(newest_and_later(rows.entity, rows.integers(EVENT_US), self._published_us))
        if not form.tiles:
            return Stored(new.keys, self._published_us, (rows, Section.empty(form.sections[EVENTS])))
        changes = [
            _TileChange(
                tiles,
                self._before(TILES + place).tiles(),
                self._events,
                self._came,
                self._raw_from_us,
                self._published_us,
            )
            for place, tiles in enumerate(form.tiles)
        ]
        back = _read_back(changes, new.entities, read_back) or Section.empty(form.sections[EVENTS])
        made = [Section.of_tiles(change.form.schema, change.tiles(back)) for change in changes]
        events = raw_events(form, self._events, self._published_us)
        return Stored(new.keys, self._published_us, (rows, events, *made))

    def _before(self, section: int) -> Section:
        old = self._old.sections[section]
        return Section(self._whose[old.entity], old.rows)


class _TileChange:
    """The tiles of one form before, and the events that change them.

    An event that came before ``raw_from_us`` is late. If its hop has no tile, the hop had no event: all it has
    now came together. Else its tile is broken, and made again of what is read back.
    """

    def __init__(
        self, form: TileForm, old: Tiles, events: Section, came: Flags, raw_from_us: Ints, published_us: Ints
    ) -> None:
        self.form, self._events = form, events
        time_us = events.integers(EVENT_US)
        start_us = floor_to_hop(time_us, form.hop_us)
        wanted = reached_and_whole(form, events.entity, time_us, published_us)
        at_hand = start_us >= raw_from_us[events.entity]
        valid = events.rows.column(form.column).is_valid().to_numpy(zero_copy_only=False)
        late = wanted & came & ~at_hand & valid
        place, has_tile = _places(old, events.entity, start_us)
        self._whole = wanted & (at_hand | (late & ~has_tile))
        kept = old.start_us >= form.tail_us(published_us)[old.entity]
        kept &= old.start_us < raw_from_us[old.entity]
        kept[place[late & has_tile]] = False
        self._kept = _chosen(old, np.flatnonzero(kept))
        self.broken = _chosen(old, np.unique(place[late & has_tile]))

    def tiles(self, back: Section) -> Tiles:
        """The tiles after. ``back``: at least all events of the hops whose tiles are broken."""
        parts = [self._kept, tiles_of(self.form, self._events, self._whole)]
        if len(self.broken):
            again = tiles_of(self.form, back, np.ones(len(back.entity), np.bool_))
            place, has_tile = _places(again, self.broken.entity, self.broken.start_us)
            parts.append(_chosen(again, place[has_tile]))
        return merge_tiles(parts)


def _read_back(changes: list[_TileChange], entities: pa.Table, read_back: ReadBack) -> Section | None:
    """Events of all hops whose tiles are broken, and more; None if no tile is."""
    broken = [(change.form.hop_us, change.broken) for change in changes if len(change.broken)]
    if not broken:
        return None
    whose = np.unique(np.concatenate([tiles.entity for _, tiles in broken]))
    since_us = min(int(tiles.start_us.min()) for _, tiles in broken)
    until_us = max(int(tiles.start_us.max()) + hop_us for hop_us, tiles in broken)
    back = read_back(entities.take(pa.array(whose)), since_us, until_us)
    return Section(whose[back.entity], back.rows)


def _places(tiles: Tiles, entity: Codes, start_us: Ints) -> tuple[Ints, Flags]:
    """The place of the tile of each entity and start, and whether there is one."""
    low, high = entity_spans(tiles.entity, entity)
    place = first_not_before(tiles.start_us, low, high, start_us)
    has_tile = place < high
    has_tile[has_tile] = tiles.start_us[place[has_tile]] == start_us[has_tile]
    return place, has_tile


def _chosen(tiles: Tiles, index: Ints) -> Tiles:
    state = {name: column.take(pa.array(index)) for name, column in tiles.state.items()}
    return Tiles(tiles.entity[index], tiles.start_us[index], state)
