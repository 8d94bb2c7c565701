"""What changed in a view's table since the versions that an online store may hold values of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.errors import StorageError
from featurestore.online.entity_keys import key_texts
from featurestore.online.feature_rows import FeatureRows, unique
from featurestore.storage.delta import DataFile
from featurestore.storage.row_groups import RowGroups
from featurestore.views.schema import SYSTEM_FIELDS

_ROWS_AT_HAND = 2_000_000
"""With more new rows than this, rebuilding their entities is faster than merging."""
_IDENTITY = pa.schema(SYSTEM_FIELDS)


@dataclass(frozen=True, slots=True)
class Delta:
    """``rows``: new rows, columns of the view's table. ``stale``: entities whose values have to be rebuilt.

    ``stale``, ``table[<join keys>]``, are the entities that lost rows, or got too many; their rows are not in
    ``rows``.
    """

    rows: pa.Table
    stale: pa.Table


def delta(offline: FeatureRows, bases: Sequence[int]) -> Delta | None:
    """What differs from the ``bases``: each entity's stored value is of one of them, or of this version.

    None if it cannot be told any more, because a base or a file of it is cleaned up.
    """
    schema = offline.table.schema
    whole: dict[str, DataFile] = {}
    stale = [offline.form.keys.empty_table()]
    try:
        for base in bases:
            changes = offline.table.changes(base)
            if changes.removed:
                stale += _differing(offline, changes.added, changes.removed)
            else:
                whole |= {file.path: file for file in changes.added}
        files = list(whole.values())
        if sum(file.rows for file in files) > _ROWS_AT_HAND:
            stale.append(offline.entities(files))
            files = []
        rows = _rows(offline, files, schema)
    except StorageError:
        # The caller rebuilds everything then; if storage does not answer, that will say so.
        return None
    return _apart(rows, unique(pa.concat_tables(stale)))


def _differing(
    offline: FeatureRows, added: Sequence[DataFile], removed: Sequence[DataFile]
) -> list[pa.Table]:
    """Entities of the rows that are on one side only: a rewritten file changes few of its rows."""
    keys = offline.form.keys
    columns = pa.schema([*_IDENTITY, *keys])
    before, after = _rows(offline, removed, columns), _rows(offline, added, columns)
    sides = [(before, after), (after, before)]
    return [
        one.join(other.select(_IDENTITY.names), keys=_IDENTITY.names, join_type="left anti")
        .select(keys.names)
        .cast(keys)
        for one, other in sides
    ]


def _rows(offline: FeatureRows, files: Sequence[DataFile], columns: pa.Schema) -> pa.Table:
    groups = RowGroups.of(offline.table, {}, files)
    return groups.fetch(columns, np.arange(groups.rows))


def _apart(rows: pa.Table, stale: pa.Table) -> Delta:
    if stale.num_rows and rows.num_rows:
        away = pc.is_in(key_texts(rows.select(stale.column_names)), value_set=key_texts(stale))
        rows = rows.filter(pc.invert(away))
    return Delta(rows, stale)
