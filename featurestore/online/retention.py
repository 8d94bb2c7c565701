"""What has to be kept of rows at publish time, so that any time from then on can be read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from featurestore.arrays import Codes, Flags, Ints
from featurestore.online.entities import Section
from featurestore.online.layout import EVENT_US, Form, TileForm
from featurestore.windows.intervals import entity_spans, first_not_before
from featurestore.windows.tile import Events, Tiles, build_tiles, floor_to_hop


def newest_and_later(entity: Codes, time_us: Ints, published_us: Ints) -> Ints:
    """Which rows to keep of each entity: the newest not after its publish time, and all later ones.

    The rows are in the order of events. ``published_us``: by entity.
    """
    each = np.arange(len(published_us), dtype=np.int32)
    low, high = entity_spans(entity, each)
    first = first_not_before(time_us, low, high, published_us + 1)
    first = np.maximum(first - 1, low)
    return np.flatnonzero(np.arange(len(entity)) >= first[entity])


def raw_events(form: Form, events: Section, published_us: Ints) -> Section:
    """The events to keep as they are. ``published_us``: by entity."""
    if not form.tiles:
        return Section.empty(events.rows.schema)
    since = form.raw_from_us(published_us)[events.entity]
    return events.take(np.flatnonzero(events.integers(EVENT_US) >= since))


def reached_and_whole(form: TileForm, entity: Codes, time_us: Ints, published_us: Ints) -> Flags:
    """Whether the hop of each time was whole at publish time, and a window may still reach it."""
    start_us = floor_to_hop(time_us, form.hop_us)
    reached = start_us >= form.tail_us(published_us)[entity]
    return reached & (start_us < form.cut_us(published_us)[entity])


def tiles_of(form: TileForm, events: Section, chosen: Flags) -> Tiles:
    """Tiles of the chosen events. They must be all that their hops have."""
    index = np.flatnonzero(chosen)
    values = events.rows.column(form.column).take(pa.array(index))
    return build_tiles(
        form.function,
        Events.of(events.entity[index], events.integers(EVENT_US)[index], values),
        form.hop_us,
    )
