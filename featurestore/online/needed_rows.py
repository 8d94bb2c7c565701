"""Which rows of a view's table have to be kept of some entities, found by keys and times alone.

Of each row group only those are held that can matter: a table has many rows of an entity, a store keeps few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Codes, Flags, Ints
from featurestore.offline.timeline import Timeline
from featurestore.online.key_range import Chosen
from featurestore.resources.outputs import EVENT_TIME
from featurestore.storage.row_groups import RowGroups

_ROW_BYTES, _KEY_BYTES = 96, 64
"""What it takes to put a row in its order, and to number a key; more or less."""
_TRIED, _TRIED_SHARE = 4, 16
"""After so many row groups, or this part of all, the others are taken to be like them."""


@dataclass(frozen=True, slots=True)
class TooManyRows(Exception):
    """They do not fit into the memory at hand. ``parts``: in how many they might."""

    parts: int


@dataclass(frozen=True, slots=True)
class NeededRows:
    """``entities``: ``table[<join keys>]``, each with a row. ``timeline``: their rows, ``entity`` being a place there."""

    groups: RowGroups
    entities: pa.Table
    timeline: Timeline

    @classmethod
    def read(
        cls,
        groups: RowGroups,
        keys: pa.Schema,
        chosen: Chosen,
        published_us: int,
        reached_us: int | None,
        most_bytes: int | None,
    ) -> NeededRows:
        """Of the chosen entities, the newest rows not after publish time, all later ones, and those reached by windows.

        ``keys``: names and types of the join keys. ``reached_us``: rows from then on are; None if there are no windows.
        ``most_bytes``: None to take what it takes.

        Raises:
            TooManyRows: they take more memory than that.
            StorageError: storage did not answer, or a data file is gone.
        """
        words = [field.name for field in keys if pa.types.is_string(field.type)]

        def of_group(start: int, rows: pa.Table) -> tuple[int, _Part]:
            mine = rows.select(keys.names)
            at = np.flatnonzero(chosen.mask(mine))
            entity, entities = numbered(mine if len(at) == len(mine) else mine.take(pa.array(at)), keys)
            time_us = rows.column(EVENT_TIME).cast(pa.int64()).to_numpy()[at]
            needed = _needed(entity, time_us, entities.num_rows, published_us, reached_us)
            entity, entities = _used(entity[needed], entities)
            return rows.num_rows, _Part(entities, Timeline(entity, time_us[needed], start + at[needed]))

        parts: list[_Part] = []
        tried = max(_TRIED, groups.count // _TRIED_SHARE)
        counted = held_bytes = 0
        for count, part in groups.scan([*keys.names, EVENT_TIME], words, of_group):
            parts.append(part)
            counted += count
            held_bytes += len(part.timeline.entity) * _ROW_BYTES + part.entities.num_rows * _KEY_BYTES
            if most_bytes is None:
                continue
            expected = held_bytes * groups.rows // max(1, counted)
            if held_bytes > most_bytes or (len(parts) == tried and expected > 2 * most_bytes):
                raise TooManyRows(2 + expected // most_bytes)
        entity, entities = numbered(
            pa.concat_tables([keys.empty_table(), *(part.entities for part in parts)]), keys
        )
        timeline = _joined(parts, entity)
        del parts
        return cls(groups, entities, timeline.in_order(groups))


@dataclass(frozen=True, slots=True)
class _Part:
    """Those of one row group."""

    entities: pa.Table
    timeline: Timeline


def _joined(parts: list[_Part], entity: Codes) -> Timeline:
    """``entity``: of each part's entities, one part after the other, its number among all."""
    empty = Timeline.empty()
    codes, at = [empty.entity], 0
    for part in parts:
        count = part.entities.num_rows
        codes.append(entity[at : at + count][part.timeline.entity])
        at += count
    return Timeline(
        np.concatenate(codes),
        np.concatenate([empty.time_us, *(part.timeline.time_us for part in parts)]),
        np.concatenate([empty.position, *(part.timeline.position for part in parts)]),
    )


def numbered(keys: pa.Table, schema: pa.Schema) -> tuple[Codes, pa.Table]:
    """A number for each row, the same for the same keys, and ``table[<join keys>]`` by number; none is null.

    >>> codes, entities = numbered(pa.table({"k": ["b", "a", "b"]}), pa.schema([("k", pa.string())]))
    >>> codes, entities.to_pydict()
    (array([0, 1, 0], dtype=int32), {'k': ['b', 'a']})
    """
    codes, first = np.zeros(keys.num_rows, np.int64), np.zeros(0, np.int64)
    for column, field in zip(keys.columns, schema, strict=True):
        words = _words(column)
        part = words.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        if keys.num_columns == 1:
            plain = words.dictionary.cast(field.type)
            return part.astype(np.int32), pa.table([plain], schema=pa.schema([field]))
        _, first, codes = np.unique(
            codes * max(len(words.dictionary), 1) + part, return_index=True, return_inverse=True
        )
    return codes.astype(np.int32), keys.take(pa.array(first)).cast(schema)


def _words(column: pa.ChunkedArray) -> pa.DictionaryArray:
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    words = column.combine_chunks()
    if isinstance(words, pa.ChunkedArray):
        words = pa.array([], column.type) if not words.num_chunks else words.chunk(0)
    return words if pa.types.is_dictionary(words.type) else words.dictionary_encode()


def _used(entity: Codes, entities: pa.Table) -> tuple[Codes, pa.Table]:
    """Without the entities of no row."""
    used = np.zeros(entities.num_rows, np.bool_)
    used[entity] = True
    if used.all():
        return entity, entities
    return (np.cumsum(used) - 1).astype(np.int32)[entity], entities.filter(pa.array(used))


def _needed(entity: Codes, time_us: Ints, count: int, published_us: int, reached_us: int | None) -> Ints:
    """Of one row group, the rows that may have to be kept: ties in time are told apart later."""
    past = time_us <= published_us
    newest = np.full(count, np.iinfo(np.int64).min)
    np.maximum.at(newest, entity[past], time_us[past])
    kept: Flags = ~past | (time_us == newest[entity])
    if reached_us is not None:
        kept |= time_us >= reached_us
    return np.flatnonzero(kept)


def unique(rows: pa.Table) -> pa.Table:
    """The rows, each once."""
    plain = _by_number(rows)
    return (
        plain.group_by(plain.column_names, use_threads=False).aggregate([]).rename_columns(rows.column_names)
    )


def by_value(rows: pa.Table) -> pa.Table:
    """The rows, sorted by all their columns, the first one first."""
    plain = _by_number(rows)
    order = pc.sort_indices(plain, [(name, "ascending") for name in plain.column_names])
    return rows.take(order)


def _by_number(rows: pa.Table) -> pa.Table:
    """With names that Arrow does not read as paths, as it does ``.a`` and ``[0]``."""
    return rows.rename_columns([f"c{n}" for n in range(rows.num_columns)])


def spans(sizes: Ints, most: int) -> Iterator[tuple[int, int]]:
    """Cuts a row of things where their sizes together would exceed ``most``; each span has at least one.

    >>> list(spans(np.array([3, 3, 9, 1]), 6))
    [(0, 2), (2, 3), (3, 4)]
    """
    ends = np.cumsum(sizes)
    low = 0
    while low < len(sizes):
        before = int(ends[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + most, "right")))
        yield low, high
        low = high
