"""What a version of a training set tells of its rows besides their values: what is missing, and what equals a label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.profiles.column_summary import ColumnSummary, array_of, summary
from featurestore.training.training_manifest import ColumnRole, TrainingColumn


def summaries(rows: pa.Table, columns: Iterable[TrainingColumn]) -> dict[str, ColumnSummary]:
    """Of each column of a row group."""
    return {
        column.name: summary(
            array_of(rows.column(column.name)), counts_values=column.role is ColumnRole.LABEL
        )
        for column in columns
    }


def rows_without(rows: pa.Table, names: Sequence[str]) -> int:
    """In how many rows none of these columns has a value."""
    if not names or not len(rows):
        return 0
    missing = np.ones(len(rows), np.bool_)
    for name in names:
        missing &= rows.column(name).is_null().to_numpy()
    return int(missing.sum())


def agreements(rows: pa.Table, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Pairs of columns that do not differ in any row where both have a value, and in how many rows they have one."""
    equal_rows = {}
    for one, other in pairs:
        left, right = rows.column(one), rows.column(other)
        if left.type != right.type:
            left, right = left.cast(pa.float64(), safe=False), right.cast(pa.float64(), safe=False)
        both = pc.and_(left.is_valid(), right.is_valid())
        same = pc.fill_null(pc.equal(left, right), True)
        if pc.all(same).as_py() in (True, None):
            equal_rows[one, other] = int(pc.sum(both).as_py() or 0)
    return equal_rows


def comparable(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether values of the two types may be equal."""
    numbers = all(
        pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or dtype == pa.bool_()
        for dtype in (one, other)
    )
    return numbers or (one == other and not pa.types.is_nested(one))
