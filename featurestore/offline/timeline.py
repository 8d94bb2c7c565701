"""Rows of entities in the order of events: by time, then created time, then the row's identity.

What the join at a time and a build of an online store begin with. Keys and times are read of all rows; what
breaks ties is read only of rows that need it, and the wide columns are for the caller to fetch by position.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurestore.arrays import Codes, Flags, Ints
from featurestore.offline.entity_codes import EntityCodes
from featurestore.resources.outputs import CREATED_TIME, EVENT_TIME
from featurestore.storage.delta import BATCH, FILE, ROW
from featurestore.storage.row_groups import RowsByPosition
from featurestore.views.schema import SYSTEM_FIELDS, TIMESTAMP

TIES = pa.schema([pa.field(CREATED_TIME, TIMESTAMP), *SYSTEM_FIELDS])
"""What decides between rows of one entity and time."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows of some entities in the order of events; ``position`` is where to fetch them."""

    entity: Codes
    time_us: Ints
    position: Ints

    @classmethod
    def empty(cls) -> Timeline:
        return cls(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))

    @classmethod
    def read(
        cls,
        groups: RowsByPosition,
        keys: pa.Schema,
        codes: EntityCodes,
        latest_us: int | None = None,
        as_of_us: int | None = None,
    ) -> Timeline:
        """The rows of entities that have a code, of all row groups, up to ``latest_us``, as known at ``as_of_us``.

        ``keys``: names and types of the join keys.

        Raises:
            StorageError: storage did not answer, or a data file is gone.
        """
        words = [field.name for field in keys if pa.types.is_string(field.type)]

        def of_group(start: int, rows: pa.Table) -> Timeline:
            entity, time_us = codes.of(rows.select(keys.names)), _microseconds(rows.column(EVENT_TIME))
            keep = entity >= 0
            if latest_us is not None:
                keep &= time_us <= latest_us
            if as_of_us is not None:
                keep &= _microseconds(rows.column(CREATED_TIME)) <= as_of_us
            kept = np.flatnonzero(keep)
            return cls(entity[kept], time_us[kept], start + kept)

        columns = [*keys.names, EVENT_TIME, *([] if as_of_us is None else [CREATED_TIME])]
        parts = [cls.empty(), *groups.scan(columns, words, of_group)]
        index = cls(
            np.concatenate([part.entity for part in parts]),
            np.concatenate([part.time_us for part in parts]),
            np.concatenate([part.position for part in parts]),
        )
        return index.in_order(groups)

    def in_order(self, groups: RowsByPosition) -> Timeline:
        """The same rows in the order of events. ``groups``: what they are positions of."""
        order = _entity_time_order(self.entity, self.time_us)
        index = Timeline(self.entity[order], self.time_us[order], self.position[order])
        equal = (index.entity[1:] == index.entity[:-1]) & (index.time_us[1:] == index.time_us[:-1])
        if equal.any():
            index._break_ties(groups, equal)
        return index

    def _break_ties(self, groups: RowsByPosition, equal: Flags) -> None:
        """Put rows of the same entity and time in order: by created time, then by the row's identity."""
        tied = np.flatnonzero(np.append(equal, False) | np.insert(equal, 0, False))
        run = np.cumsum(~np.insert(equal, 0, False))[tied]
        by_position = np.argsort(self.position[tied])
        fetched = groups.fetch(TIES, self.position[tied[by_position]])
        columns = [column.to_numpy() for column in (fetched.column(name) for name in (ROW, FILE, BATCH))]
        columns.append(_microseconds(fetched.column(CREATED_TIME)))
        order = np.lexsort((*columns, run[by_position]))
        self.position[tied] = self.position[tied[by_position]][order]


def _entity_time_order(entity: Codes, time_us: Ints) -> npt.NDArray[np.intp]:
    """A stable order by entity and time; one sort of one number where both fit into 64 bits."""
    if not len(entity):
        return np.zeros(0, np.intp)
    first, last = int(time_us.min()), int(time_us.max())
    span = last - first + 1
    if span * (int(entity.max()) + 1) < 1 << 63:
        return np.argsort(entity * np.int64(span) + (time_us - first), kind="stable")
    return np.lexsort((time_us, entity))


def _microseconds(column: pa.ChunkedArray) -> Ints:
    """Times as microseconds since 1970; none is null."""
    result: Ints = column.cast(pa.int64()).to_numpy()
    return result
