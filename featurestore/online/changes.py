"""What changed in a view's table since the versions that an online store may hold values of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.errors import StorageError
from featurestore.online.entity_keys import key_texts
from featurestore.online.feature_rows import FeatureRows, row_bytes
from featurestore.online.key_range import KeyRange
from featurestore.online.needed_rows import by_value, unique
from featurestore.storage.delta import DataFile
from featurestore.storage.row_groups import RowGroups
from featurestore.views.schema import SYSTEM_FIELDS

_ROWS_AT_HAND = 2_000_000
"""With more new rows than this, rebuilding their entities is faster than merging."""
_SHARE, _COPIES = 4, 8
"""Rows of one part take this part of the memory, being there so often: as they came, were stored, merged and packed."""
_SAMPLED = 256
_IDENTITY = pa.schema(SYSTEM_FIELDS)


class UnknownChanges(Exception):
    """It cannot be told any more what changed, because a base or a file of it is cleaned up."""


@dataclass(frozen=True, slots=True)
class Delta:
    """``rows``: new rows, columns of the view's table. ``stale``: entities whose values have to be rebuilt.

    ``stale``, ``table[<join keys>]``, sorted by value, are the entities that lost rows, or got too many; their rows are
    not in ``rows``.
    """

    rows: pa.Table
    stale: pa.Table


def deltas(offline: FeatureRows, bases: Sequence[int]) -> Iterator[Delta]:
    """What differs from the ``bases``: each entity's stored value is of one of them, or of this version.

    In parts that fit into the memory; no two have an entity in common.

    Raises:
        UnknownChanges: at any part. If storage does not answer, rebuilding everything will say so.
    """
    try:
        changes = _Changes.since(offline, bases)
        for part in changes.ranges():
            yield changes.within(part)
    except StorageError as error:
        raise UnknownChanges from error


@dataclass(frozen=True, slots=True)
class _Changes:
    """``came``: data files with rows that are all new. ``sides``: the files before, and those after, of rewritten ones."""

    offline: FeatureRows
    came: RowGroups
    sides: list[tuple[RowGroups, RowGroups]]

    @classmethod
    def since(cls, offline: FeatureRows, bases: Sequence[int]) -> _Changes:
        came: dict[str, DataFile] = {}
        sides = []
        for base in bases:
            changes = offline.table.changes(base)
            if changes.removed:
                sides.append(
                    (offline.groups_of(list(changes.removed)), offline.groups_of(list(changes.added)))
                )
            else:
                came |= {file.path: file for file in changes.added}
        return cls(offline, offline.groups_of(list(came.values())), sides)

    def ranges(self) -> list[KeyRange]:
        """Ranges of keys that fit into the memory by themselves."""
        whole, files = KeyRange(), [self.came, *(side for both in self.sides for side in both)]
        wide_bytes, narrow_bytes = row_bytes(self.offline.table.schema), row_bytes(self._compared)
        sizes = [self.came.rows * wide_bytes, *(groups.rows * narrow_bytes for groups in files[1:])]
        parts = 1 + sum(sizes) * _COPIES // (self.offline.free_bytes // _SHARE)
        if parts == 1:
            return [whole]
        samples = [self.offline.sample(whole, groups, parts * _SAMPLED) for groups in files if groups.rows]
        return whole.cut(by_value(pa.concat_tables(samples)), parts)

    def within(self, part: KeyRange) -> Delta:
        keys = self.offline.form.keys
        stale = [keys.empty_table()]
        for before, after in self.sides:
            rows = [self._rows(side, self._compared, part) for side in (before, after)]
            stale += _differing(rows[0], rows[1], keys)
        schema = self.offline.table.schema
        if self.came.rows > _ROWS_AT_HAND:
            stale.append(self._rows(self.came, keys, part))
            rows = schema.empty_table()
        else:
            rows = self._rows(self.came, schema, part)
        return _apart(rows, by_value(unique(pa.concat_tables(stale))))

    @property
    def _compared(self) -> pa.Schema:
        return pa.schema([*_IDENTITY, *self.offline.form.keys])

    def _rows(self, groups: RowGroups, columns: pa.Schema, part: KeyRange) -> pa.Table:
        keys = self.offline.form.keys
        groups = groups.within(part.bounds(keys))
        if part == KeyRange():
            return groups.fetch(columns, np.arange(groups.rows))

        def of_group(start: int, rows: pa.Table) -> pa.Table:
            return rows.filter(pa.array(part.mask(rows.select(keys.names)))).cast(columns)

        return pa.concat_tables([columns.empty_table(), *groups.scan(columns.names, (), of_group)])


def _differing(before: pa.Table, after: pa.Table, keys: pa.Schema) -> list[pa.Table]:
    """Entities of the rows that are on one side only: a rewritten file changes few of its rows."""
    return [
        one.join(other.select(_IDENTITY.names), keys=_IDENTITY.names, join_type="left anti")
        .select(keys.names)
        .cast(keys)
        for one, other in ((before, after), (after, before))
    ]


def _apart(rows: pa.Table, stale: pa.Table) -> Delta:
    if stale.num_rows and rows.num_rows:
        away = pc.is_in(key_texts(rows.select(stale.column_names)), value_set=key_texts(stale))
        rows = rows.filter(pc.invert(away))
    return Delta(rows, stale)
