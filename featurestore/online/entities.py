"""Values of some entities as an online store keeps them: columns, all entities one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from featurestore.arrays import Codes, Ints
from featurestore.online.layout import CREATED_US, EVENT_US, START_US, Form
from featurestore.storage.delta import BATCH, FILE, ROW
from featurestore.windows.intervals import entity_spans, expand
from featurestore.windows.tile import Tiles, event_order


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of one section; ``entity`` rises, and says whose each row is. Rows of one entity are in their order."""

    entity: Codes
    rows: pa.RecordBatch

    @classmethod
    def empty(cls, schema: pa.Schema) -> Section:
        arrays = [pa.array([], field.type) for field in schema]
        return cls(np.zeros(0, np.int32), pa.RecordBatch.from_arrays(arrays, schema=schema))

    def integers(self, name: str) -> Ints:
        """A column of integers that are never null."""
        column: Ints = self.rows.column(name).to_numpy(zero_copy_only=False)
        return column

    def take(self, index: Ints) -> Section:
        return Section(self.entity[index], self.rows.take(pa.array(index)))

    def united(self, other: Section) -> tuple[Section, Ints]:
        """The rows of both in the order of events, each row once; and where each stood, this section's first."""
        rows = pa.concat_batches([self.rows, other.rows])
        entity = np.concatenate([self.entity, other.entity])
        both = Section(entity, rows)
        names = (EVENT_US, CREATED_US, BATCH, FILE, ROW)
        columns = [both.integers(name) for name in names]
        order = event_order(entity, *columns)
        same = np.zeros(len(order), np.bool_)
        if len(order):
            same[1:] = np.all([np.diff(column[order]) == 0 for column in (entity, *columns[2:])], axis=0)
        kept = order[~same]
        return both.take(kept), kept

    def tiles(self) -> Tiles:
        """The rows of a section of tiles, as such."""
        state = {name: self.rows.column(name) for name in self.rows.schema.names if name != START_US}
        return Tiles(self.entity, self.integers(START_US), state)

    @classmethod
    def of_tiles(cls, schema: pa.Schema, tiles: Tiles) -> Section:
        arrays = [pa.array(tiles.start_us), *(tiles.state[name] for name in schema.names[1:])]
        return cls(tiles.entity, pa.RecordBatch.from_arrays(arrays, schema=schema))


@dataclass(frozen=True, slots=True)
class Stored:
    """What is kept of some entities. ``entity`` in a section is a place in ``keys``.

    ``keys``: as :func:`featurestore.online.entity_keys.key_texts` gives them. ``published_us``: when the entity was
    last published; it can be read as of that time and later.
    """

    keys: pa.Array
    published_us: Ints
    sections: tuple[Section, ...]

    @classmethod
    def empty(cls, form: Form) -> Stored:
        sections = tuple(Section.empty(schema) for schema in form.sections)
        return cls(pa.array([], pa.binary()), np.zeros(0, np.int64), sections)

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, index: Ints, columns: Sequence[Sequence[str]] | None = None) -> Stored:
        """The entities at these places, in this order.

        ``columns``: of each section, the columns that are wanted; rows of a section without any are left out.
        """
        sections = []
        for place, section in enumerate(self.sections):
            rows = section.rows
            if columns is not None:
                rows = rows.select(list(columns[place]))
            if columns is not None and not columns[place]:
                sections.append(Section(section.entity[:0], rows.slice(0, 0)))
                continue
            low, high = entity_spans(section.entity, index.astype(np.int32))
            entity, row = expand(low, high)
            sections.append(Section(entity.astype(np.int32), rows.take(pa.array(row))))
        return Stored(self.keys.take(pa.array(index)), self.published_us[index], tuple(sections))

    @classmethod
    def joined(cls, parts: Sequence[Stored]) -> Stored:
        """The entities of all parts, one part after the other. No two parts have an entity in common."""
        starts = np.cumsum([0, *(len(part) for part in parts)])
        sections = []
        for place in range(len(parts[0].sections)):
            entity = [
                part.sections[place].entity + np.int32(start)
                for part, start in zip(parts, starts, strict=False)
            ]
            rows = pa.concat_batches([part.sections[place].rows for part in parts])
            sections.append(Section(np.concatenate(entity), rows))
        keys = pa.concat_arrays([part.keys for part in parts])
        return cls(keys, np.concatenate([part.published_us for part in parts]), tuple(sections))
