"""What is kept of an entity: sections, each a small table, with the columns that a view's definition gives.

=========  ==============================================================  =====================================
section    rows kept at publish time P                                      columns
=========  ==============================================================  =====================================
rows       the newest not after P, and all later ones                      order, features
events     from the start of the longest hop that P is in                  order, inputs of aggregates
tiles      per aggregate and hop: whole hops before P's that a window       ``start_us``, state of a tile
           ending at P or later can reach
=========  ==============================================================  =====================================

The order of events stands in every row (see :func:`featurestore.windows.tile.event_order`), so that a row that
arrives late or twice finds its place. From these sections the value at any time from P on can be computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from featurestore.aggregates.aggregates import AggregateFunction
from featurestore.arrays import Codes, Ints
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import (
    CREATED_TIME,
    EVENT_TIME,
    Output,
    aggregate_input,
    aggregate_input_type,
    outputs,
)
from featurestore.views.schema import SYSTEM_FIELDS, arrow_type, view_schema
from featurestore.windows.tile import Events, Tiles, build_tiles, floor_to_hop, merge_tiles, state_schema
from featurestore.windows.window import evaluate

ROWS, EVENTS, TILES = 0, 1, 2
"""Places of the sections; those of tiles go on from the last."""

EVENT_US, CREATED_US, START_US = "event_us", "created_us", "start_us"
_SOURCES = {EVENT_US: EVENT_TIME, CREATED_US: CREATED_TIME}
_ORDER = [
    pa.field(EVENT_US, pa.int64(), nullable=False),
    pa.field(CREATED_US, pa.int64(), nullable=False),
    *(field.with_nullable(False) for field in SYSTEM_FIELDS),
]


@dataclass(frozen=True, slots=True)
class TileForm:
    """Tiles of one aggregate and hop. ``window_us``: the longest window that is made of them."""

    function: AggregateFunction
    column: str
    hop_us: int
    window_us: int
    schema: pa.Schema

    def cut_us(self, published_us: Ints) -> Ints:
        """Hops that start before this were whole at publish time."""
        return floor_to_hop(published_us, self.hop_us)

    def tail_us(self, published_us: Ints) -> Ints:
        """No window that ends at publish time or later reaches a hop that starts before this."""
        return floor_to_hop(published_us - self.window_us, self.hop_us)

    def window_values(
        self, output: Output, tiles: Tiles, events: Events, published_us: Ints, at_entity: Codes, at_us: Ints
    ) -> pa.Array:
        """Values of a window for entities and times, of what is kept. ``published_us``: of each entity that is kept."""
        # Hops that became whole since publish time are in the events only.
        since = self.cut_us(published_us)[events.entity]
        fresh = np.flatnonzero(events.time_us >= since)
        if len(fresh):
            newer = Events(events.entity[fresh], events.time_us[fresh], events.values.take(pa.array(fresh)))
            tiles = merge_tiles([tiles, build_tiles(self.function, newer, self.hop_us)])
        return evaluate(output, tiles, events, at_entity, at_us)


@dataclass(frozen=True, slots=True)
class Form:
    """The sections of one definition. ``keys``: names and types of the join keys."""

    keys: pa.Schema
    sections: tuple[pa.Schema, ...]
    tiles: tuple[TileForm, ...]

    @classmethod
    def of(cls, spec: FeatureViewSpec) -> Form:
        stored = [feature for feature in spec.features if feature.aggregate is None]
        inputs = [feature for feature in spec.features if feature.aggregate is not None]
        rows = [pa.field(feature.name, arrow_type(feature.type)) for feature in stored]
        events = [
            pa.field(aggregate_input(feature), arrow_type(aggregate_input_type(feature)))
            for feature in inputs
        ]
        tiles = _tile_forms(outputs(spec), pa.schema(events))
        sections = [pa.schema([*_ORDER, *rows]), pa.schema([*_ORDER, *events])]
        sections += [form.schema for form in tiles]
        keys = pa.schema([view_schema(spec).field(key.name) for key in spec.entity.join_keys])
        return cls(keys, tuple(sections), tiles)

    def raw_from_us(self, published_us: Ints) -> Ints:
        """Events from this time on are kept as they are."""
        cuts = [form.cut_us(published_us) for form in self.tiles]
        oldest = cuts[0]
        for cut in cuts[1:]:
            oldest = oldest.clip(max=cut)
        return oldest

    def tile_section(self, output: Output) -> int:
        """Place of the section with the tiles of a windowed output."""
        for place, form in enumerate(self.tiles):
            if (form.column, form.hop_us) == (output.column, output.hop_us):
                return TILES + place
        raise KeyError(output.name)

    def needed(self, asked: Sequence[Output]) -> list[list[str]]:
        """Columns of each section that the asked outputs need; [] for a section that none needs."""
        columns: list[dict[str, None]] = [{} for _ in self.sections]
        columns[ROWS][EVENT_US] = None
        for output in asked:
            if output.window_us is None:
                columns[ROWS][output.column] = None
            else:
                columns[EVENTS] |= {EVENT_US: None, output.column: None}
                place = self.tile_section(output)
                columns[place] = dict.fromkeys(self.sections[place].names)
        return [list(names) for names in columns]


def source_columns(section: pa.Schema) -> pa.Schema:
    """The columns of a view's table that rows of a section are made of, in the section's order."""
    return pa.schema(
        [
            pa.field(_SOURCES[field.name], pa.timestamp("us", tz="UTC")) if field.name in _SOURCES else field
            for field in section
        ]
    )


def section_rows(section: pa.Schema, rows: pa.Table) -> pa.RecordBatch:
    """Rows of a view's table as rows of a section."""
    arrays = []
    for field in section:
        column = rows.column(_SOURCES.get(field.name, field.name)).combine_chunks()
        arrays.append(column.view(pa.int64()) if field.name in _SOURCES else column)
    return pa.RecordBatch.from_arrays(arrays, schema=section)


def _tile_forms(windows: Sequence[Output], events: pa.Schema) -> tuple[TileForm, ...]:
    longest: dict[tuple[str, int], Output] = {}
    for output in windows:
        if output.window_us is None or output.hop_us is None:
            continue
        key = output.column, output.hop_us
        known = longest.get(key)
        if known is None or known.window_us is None or known.window_us < output.window_us:
            longest[key] = output
    forms = []
    for (column, hop_us), output in longest.items():
        assert output.feature.aggregate is not None
        assert output.window_us is not None
        function = output.feature.aggregate.function
        state = state_schema(function, events.field(column).type)
        fields = [pa.field(START_US, pa.int64()), *state]
        schema = pa.schema([field.with_nullable(False) for field in fields])
        forms.append(TileForm(function, column, hop_us, output.window_us, schema))
    return tuple(forms)
