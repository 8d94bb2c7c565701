"""The offline store as publishing reads it: keys and times of many rows, wide columns of those that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from featurestore.arrays import Codes, Ints
from featurestore.offline.entity_codes import EntityCodes
from featurestore.offline.timeline import Timeline
from featurestore.online.entities import Section, Stored
from featurestore.online.entity_keys import key_texts
from featurestore.online.layout import EVENT_US, EVENTS, ROWS, Form, section_rows, source_columns
from featurestore.online.retention import newest_and_later, raw_events, reached_and_whole, tiles_of
from featurestore.resources.outputs import EVENT_TIME
from featurestore.storage.delta import DataFile, Table
from featurestore.storage.row_groups import Bounds, RowGroups


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """One version of a view's table. All that reads raises StorageError if storage does not answer."""

    table: Table
    form: Form

    def entities(self, files: list[DataFile] | None = None) -> pa.Table:
        """``table[<join keys>]``: every entity that has a row in these data files (else in any), once."""
        keys = self.form.keys
        groups = RowGroups.of(self.table, {}, files)
        parts = groups.scan(keys.names, (), lambda _, rows: unique(rows.select(keys.names).cast(keys)))
        return unique(pa.concat_tables([keys.empty_table(), *parts]))

    def stored(self, entities: pa.Table, published_us: int, *, every: bool = False) -> Stored:
        """What an online store has to keep of these entities at a time. Those without a row are left out.

        ``entities``: ``table[<join keys>]``, each once. ``every``: they are all that the table has.
        """
        form = self.form
        if not entities.num_rows:
            return Stored.empty(form)
        codes = EntityCodes.of_asked(entities, np.ones(entities.num_rows, np.bool_))
        groups = RowGroups.of(self.table, {} if every else _bounds(form, codes))
        timeline = Timeline.read(groups, form.keys, codes)
        here, inverse = np.unique(timeline.entity, return_inverse=True)
        entity: Codes = inverse.astype(np.int32)
        keys = key_texts(entities.take(pa.array(np.argsort(codes.of_rows)[here])))
        published = np.full(len(here), published_us, np.int64)
        kept = newest_and_later(entity, timeline.time_us, published)
        rows = Section(entity[kept], _fetch(groups, form.sections[ROWS], timeline.position[kept]))
        reached = np.zeros(0, np.int64)
        if form.tiles:
            at_us = np.array([published_us])
            tail_us = min(int(tiles.tail_us(at_us)[0]) for tiles in form.tiles)
            reached = np.flatnonzero(timeline.time_us >= tail_us)
        events = Section(entity[reached], _fetch(groups, form.sections[EVENTS], timeline.position[reached]))
        made = []
        for tiles in form.tiles:
            chosen = reached_and_whole(tiles, events.entity, events.integers(EVENT_US), published)
            made.append(Section.of_tiles(tiles.schema, tiles_of(tiles, events, chosen)))
        return Stored(keys, published, (rows, raw_events(form, events, published), *made))

    def events(self, entities: pa.Table, since_us: int, until_us: int) -> Section:
        """Events of these entities with ``since ≤ time < until``; ``entity`` is the row in ``entities``."""
        form = self.form
        codes = EntityCodes.of_asked(entities, np.ones(entities.num_rows, np.bool_))
        bounds = {**_bounds(form, codes), EVENT_TIME: Bounds(since_us, until_us - 1)}
        groups = RowGroups.of(self.table, bounds)
        timeline = Timeline.read(groups, form.keys, codes, until_us - 1)
        row = np.argsort(codes.of_rows).astype(np.int32)[timeline.entity]
        chosen = np.flatnonzero(timeline.time_us >= since_us)
        chosen = chosen[np.argsort(row[chosen], kind="stable")]
        return Section(row[chosen], _fetch(groups, form.sections[EVENTS], timeline.position[chosen]))


def unique(rows: pa.Table) -> pa.Table:
    """The rows, each once."""
    plain = _numbered(rows)
    return (
        plain.group_by(plain.column_names, use_threads=False).aggregate([]).rename_columns(rows.column_names)
    )


def by_value(rows: pa.Table) -> pa.Table:
    """The rows, sorted by all their columns, the first one first."""
    plain = _numbered(rows)
    return plain.sort_by([(name, "ascending") for name in plain.column_names]).rename_columns(
        rows.column_names
    )


def _numbered(rows: pa.Table) -> pa.Table:
    """With names that Arrow does not read as paths, as it does ``.a`` and ``[0]``."""
    return rows.rename_columns([f"c{n}" for n in range(rows.num_columns)])


def _bounds(form: Form, codes: EntityCodes) -> dict[str, Bounds]:
    ends: list[tuple[Any, Any]] = codes.bounds()
    return {name: Bounds(*end) for name, end in zip(form.keys.names, ends, strict=True)}


def _fetch(groups: RowGroups, section: pa.Schema, position: Ints) -> pa.RecordBatch:
    """The rows at these positions, in this order."""
    order = np.argsort(position)
    rows = groups.fetch(source_columns(section), position[order])
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return section_rows(section, rows).take(pa.array(back))
