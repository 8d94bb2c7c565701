"""Statistics of a part, summed up row group by row group, so that they need no second look at the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.resources.model import Model
from featurestore.training.training_manifest import ColumnRole, ColumnStatistics, TrainingColumn

_MOST_VALUES = 100
"""Of a label: with more, how often each occurs tells nothing."""


class ColumnSummary(Model):
    """Of some rows of a column, and can be put together. ``squares``: sum of the squared differences from the mean.

    ``numbers``: how many are finite. ``mean`` and ``squares`` are None where they are too large for a float.
    """

    count: int = 0
    nulls: int = 0
    not_finite: int = 0
    minimum: Any = None
    maximum: Any = None
    mean: float | None = 0.0
    squares: float | None = 0.0
    numbers: int = 0
    values: dict[str, int] | None = None

    def plus(self, other: ColumnSummary) -> ColumnSummary:
        """Of the rows of both. The mean and the squares by Chan, Golub, LeVeque, "Updating formulae", 1979."""
        numbers = self.numbers + other.numbers
        mean, squares = self._moments(other, numbers)
        values = None
        if self.values is not None and other.values is not None:
            values = {
                name: self.values.get(name, 0) + other.values.get(name, 0)
                for name in sorted({*self.values, *other.values})
            }
            values = values if len(values) <= _MOST_VALUES else None
        return ColumnSummary(
            count=self.count + other.count,
            nulls=self.nulls + other.nulls,
            not_finite=self.not_finite + other.not_finite,
            minimum=_extreme(min, self.minimum, other.minimum),
            maximum=_extreme(max, self.maximum, other.maximum),
            mean=mean,
            squares=squares,
            numbers=numbers,
            values=values,
        )

    def _moments(self, other: ColumnSummary, numbers: int) -> tuple[float | None, float | None]:
        if not self.numbers or not other.numbers:
            found = other if other.numbers else self
            return found.mean, found.squares
        if None in (self.mean, self.squares, other.mean, other.squares):
            return None, None
        delta, share = other.mean - self.mean, other.numbers / numbers  # type: ignore[operator]
        mean = self.mean + delta * share  # type: ignore[operator]
        squares = self.squares + other.squares + delta * delta * self.numbers * share  # type: ignore[operator]
        return (mean, squares) if math.isfinite(mean) and math.isfinite(squares) else (None, None)

    def statistics(self) -> ColumnStatistics:
        """As the manifest has it."""
        known = self.numbers > 0 and self.squares is not None
        return ColumnStatistics(
            count=self.count,
            nulls=self.nulls,
            not_finite=self.not_finite,
            minimum=self.minimum,
            maximum=self.maximum,
            mean=self.mean if known else None,
            deviation=math.sqrt(self.squares / self.numbers) if known and self.squares is not None else None,
            values=self.values,
        )


def _extreme(which: Any, one: Any, other: Any) -> Any:
    known = [it for it in (one, other) if it is not None]
    return which(known) if known else None


def summary(column: pa.Array, *, is_label: bool) -> ColumnSummary:
    """Of the rows of one row group."""
    kind, nulls = column.type, column.null_count
    found = column.drop_null()
    values = _values(found) if is_label else None
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        numbers = found.cast(pa.int8() if pa.types.is_boolean(kind) else kind)
        numbers = numbers.to_numpy(zero_copy_only=False)
        real = numbers[np.isfinite(numbers)]
        if not len(real):
            return ColumnSummary(count=len(column), nulls=nulls, not_finite=len(numbers), values=values)
        with np.errstate(all="ignore"):
            mean = float(np.mean(real, dtype=np.float64))
            squares = float(np.sum((real - mean) ** 2, dtype=np.float64))
        known = math.isfinite(mean) and math.isfinite(squares)
        return ColumnSummary(
            count=len(column),
            nulls=nulls,
            not_finite=len(numbers) - len(real),
            minimum=real.min().item(),
            maximum=real.max().item(),
            mean=mean if known else None,
            squares=squares if known else None,
            numbers=len(real),
            values=values,
        )
    low, high = None, None
    if (pa.types.is_temporal(kind)) and len(found):
        ends = pc.min_max(found)
        low, high = (_time(ends[name]) for name in ("min", "max"))
    return ColumnSummary(count=len(column), nulls=nulls, minimum=low, maximum=high, values=values)


def _time(value: pa.Scalar) -> str:
    """ISO 8601, which sorts as the times do."""
    return str(value.cast(pa.timestamp("us")).cast(pa.string()).as_py()).replace(" ", "T")


def _values(found: pa.Array) -> dict[str, int] | None:
    kind = found.type
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_string(kind)):
        return None
    counts = found.value_counts()
    if len(counts) > _MOST_VALUES:
        return None
    texts = counts.field("values").cast(pa.string()).to_pylist()
    return dict(sorted(zip(texts, counts.field("counts").to_pylist(), strict=True)))


def summaries(rows: pa.Table, columns: Iterable[TrainingColumn]) -> dict[str, ColumnSummary]:
    """Of each column of a row group."""
    return {
        it.name: summary(_array(rows.column(it.name)), is_label=it.role is ColumnRole.LABEL) for it in columns
    }


def put_together(many: Sequence[Mapping[str, ColumnSummary]]) -> dict[str, ColumnSummary]:
    """Of all rows, in their order."""
    if not many:
        return {}
    found = dict(many[0])
    for more in many[1:]:
        found = {name: it.plus(more[name]) for name, it in found.items()}
    return found


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


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
    found = {}
    for one, other in pairs:
        left, right = rows.column(one), rows.column(other)
        if left.type != right.type:
            left, right = left.cast(pa.float64(), safe=False), right.cast(pa.float64(), safe=False)
        both = pc.and_(left.is_valid(), right.is_valid())
        same = pc.fill_null(pc.equal(left, right), True)
        if pc.all(same).as_py() in (True, None):
            found[one, other] = int(pc.sum(both).as_py() or 0)
    return found


def comparable(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether values of the two types may be equal."""
    numbers = all(
        pa.types.is_integer(it) or pa.types.is_floating(it) or it == pa.bool_() for it in (one, other)
    )
    return numbers or (one == other and not pa.types.is_nested(one))
