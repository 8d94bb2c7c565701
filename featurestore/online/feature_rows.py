"""The offline store as publishing reads it: keys and times of many rows, wide columns of those that are kept.

What takes more memory than there is comes in parts: entities whose keys are in a range, then in narrower ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from featurestore.arrays import Ints
from featurestore.offline.entity_codes import EntityCodes
from featurestore.offline.timeline import Timeline
from featurestore.online.entities import Section, Stored
from featurestore.online.entity_keys import key_texts
from featurestore.online.key_range import Chosen, KeyRange, KeySet
from featurestore.online.layout import (
    EVENT_US,
    EVENTS,
    ROWS,
    Form,
    section_rows,
    source_columns,
)
from featurestore.online.needed_rows import NeededRows, TooManyRows, by_value, spans
from featurestore.online.retention import newest_and_later, raw_events, reached_and_whole, tiles_of
from featurestore.resources.outputs import EVENT_TIME
from featurestore.storage.delta import DataFile, Table
from featurestore.storage.row_groups import Bounds, RowGroups

_ENGINES_BYTES = 256 << 20
"""What the libraries take, whatever is published."""
_INDEX_SHARE, _ROWS_SHARE, _DECODED_SHARE = 6, 8, 12
"""Parts of the memory that is left: for keys and times, for the rows of one part, and for row groups being decoded."""
_COPIES = 4
"""How often a kept row is in memory at once: as it was read, sorted, packed and sent."""
_TEXT_BYTES = 48
_SAMPLED = 256
"""Keys that are looked at for each range that is to be made."""


@dataclass(frozen=True)
class FeatureRows:
    """One version of a view's table. All that reads raises StorageError if storage does not answer.

    ``memory_bytes``: what it may take, with all that is done with what it gives.
    """

    table: Table
    form: Form
    memory_bytes: int = 2 << 30

    @property
    def free_bytes(self) -> int:
        """The memory without what the libraries take."""
        return max(self.memory_bytes // 2, self.memory_bytes - _ENGINES_BYTES)

    @cached_property
    def groups(self) -> RowGroups:
        return self.groups_of(None)

    def groups_of(self, files: list[DataFile] | None) -> RowGroups:
        """The row groups of these data files, else of all."""
        return RowGroups.of(self.table, {}, files, self.free_bytes // _DECODED_SHARE)

    def stored(self, chosen: KeyRange | KeySet, published_us: int) -> Iterator[Stored]:
        """What an online store has to keep of these entities at a time, part by part. Those without a row are left out."""
        parts = 1
        try:
            rows = self._rows(chosen, published_us, self.free_bytes // _INDEX_SHARE)
        except TooManyRows as too_many:
            # Not gone on with in here: as long as it is handled, the exception holds what was read.
            parts = too_many.parts
        if parts > 1:
            narrower = self._narrower(chosen, parts)
            if len(narrower) > 1:
                for part in narrower:
                    yield from self.stored(part, published_us)
                return
            # One entity is as large as it is.
            rows = self._rows(chosen, published_us, None)
        yield from self._kept(rows, published_us)

    def _rows(self, chosen: Chosen, published_us: int, most_bytes: int | None) -> NeededRows:
        keys = self.form.keys
        groups = self.groups.within(chosen.bounds(keys))
        return NeededRows.read(groups, keys, chosen, published_us, self._reached_us(published_us), most_bytes)

    def _reached_us(self, published_us: int) -> int | None:
        at_us = np.array([published_us])
        return min((int(tiles.tail_us(at_us)[0]) for tiles in self.form.tiles), default=None)

    def _narrower(self, chosen: KeyRange | KeySet, parts: int) -> list[KeyRange] | list[KeySet]:
        if chosen == KeyRange():
            # Where files are sorted and large, their footers say where to cut.
            starts = self.groups.starts(self.form.keys.names[0])
            if len(starts) > parts and sum(rows for _, rows in starts) * 2 > self.groups.rows:
                return KeyRange.at(starts, parts)
        if isinstance(chosen, KeyRange):
            return chosen.cut(self.sample(chosen, self.groups, parts * _SAMPLED), parts)
        return list(chosen.halves()) if chosen.entities.num_rows > 1 else [chosen]

    def sample(self, within: KeyRange, groups: RowGroups, count: int) -> pa.Table:
        """Keys of some rows in a range, sorted: about so many, evenly spread. None if there is no row."""
        keys = self.form.keys
        groups = groups.within(within.bounds(keys))
        step = max(1, groups.rows // count)

        def some(_: int, rows: pa.Table) -> pa.Table:
            at = np.flatnonzero(within.mask(rows))[::step]
            return rows.take(pa.array(at)).cast(keys)

        parts = groups.scan(keys.names, (), some)
        return by_value(pa.concat_tables([keys.empty_table(), *parts]))

    def _kept(self, needed: NeededRows, published_us: int) -> Iterator[Stored]:
        """The entities, some at a time, so that their wide columns take a part of the memory."""
        form, timeline = self.form, needed.timeline
        count = needed.entities.num_rows
        kept = newest_and_later(timeline.entity, timeline.time_us, np.full(count, published_us, np.int64))
        since_us = self._reached_us(published_us)
        reached = np.flatnonzero(timeline.time_us >= since_us) if since_us is not None else kept[:0]
        sizes = np.zeros(count, np.int64)
        for section, index in ((ROWS, kept), (EVENTS, reached)):
            held = np.bincount(timeline.entity[index], minlength=count)
            sizes += held * (row_bytes(form.sections[section]) * _COPIES)
        for first, stop in spans(sizes, self.free_bytes // _ROWS_SHARE):
            low, high = np.searchsorted(timeline.entity[kept], (first, stop))
            since, until = np.searchsorted(timeline.entity[reached], (first, stop))
            entities = needed.entities.slice(first, stop - first)
            yield self._stored(needed, entities, first, kept[low:high], reached[since:until], published_us)

    def _stored(
        self,
        needed: NeededRows,
        entities: pa.Table,
        first: int,
        kept: Ints,
        reached: Ints,
        published_us: int,
    ) -> Stored:
        form, groups, timeline = self.form, needed.groups, needed.timeline
        published = np.full(entities.num_rows, published_us, np.int64)
        entity = timeline.entity
        rows = Section(
            entity[kept] - np.int32(first), _fetch(groups, form.sections[ROWS], timeline.position[kept])
        )
        events = Section(
            entity[reached] - np.int32(first),
            _fetch(groups, form.sections[EVENTS], timeline.position[reached]),
        )
        made = []
        for tiles in form.tiles:
            chosen = reached_and_whole(tiles, events.entity, events.integers(EVENT_US), published)
            made.append(Section.of_tiles(tiles.schema, tiles_of(tiles, events, chosen)))
        return Stored(key_texts(entities), published, (rows, raw_events(form, events, published), *made))

    def events(self, entities: pa.Table, since_us: int, until_us: int) -> Section:
        """Events of these entities with ``since ≤ time < until``; ``entity`` is the row in ``entities``."""
        form = self.form
        codes = EntityCodes.of_asked(entities, np.ones(entities.num_rows, np.bool_))
        bounds = dict(zip(form.keys.names, (Bounds(*ends) for ends in codes.bounds()), strict=True))
        groups = self.groups.within({**bounds, EVENT_TIME: Bounds(since_us, until_us - 1)})
        timeline = Timeline.read(groups, form.keys, codes, until_us - 1)
        row = np.argsort(codes.of_rows).astype(np.int32)[timeline.entity]
        chosen = np.flatnonzero(timeline.time_us >= since_us)
        chosen = chosen[np.argsort(row[chosen], kind="stable")]
        return Section(row[chosen], _fetch(groups, form.sections[EVENTS], timeline.position[chosen]))


def row_bytes(schema: pa.Schema) -> int:
    """What a row takes in memory, more or less."""
    return sum(_bytes(field.type) for field in schema)


def _bytes(kind: pa.DataType) -> int:
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return _TEXT_BYTES


def _fetch(groups: RowGroups, section: pa.Schema, position: Ints) -> pa.RecordBatch:
    """The rows at these positions, in this order."""
    order = np.argsort(position)
    rows = groups.fetch(source_columns(section), position[order])
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return section_rows(section, rows).take(pa.array(back))
