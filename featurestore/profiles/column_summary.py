"""What is known of the values of a column: counts, extremes and exact sums, which can be put together in any order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import numbers
from featurestore.profiles.column_statistics import ColumnStatistics
from featurestore.profiles.exact_sum import SQUARES_BELOW, exact, exact_squares, exact_sum, parsed, text
from featurestore.resources.model import Model

_MOST_VALUES = 100
"""With more, how often each occurs tells nothing."""
_LONGEST = 100
"""Characters of a text that is counted."""
PIECE = 16_384
"""Values that are looked at at once. Larger arrays do not stay in the processor: each operation takes five times as long."""


class ColumnSummary(Model):
    """Of some rows of a column. ``numbers``: how many are finite. ``total`` and ``squares``: their exact sums.

    ``squares`` is None where one is too large for a float.
    """

    count: int = 0
    nulls: int = 0
    not_finite: int = 0
    minimum: Any = None
    maximum: Any = None
    numbers: int = 0
    total: str = "0"
    squares: str | None = "0"
    values: dict[str, int] | None = None

    def plus(self, other: ColumnSummary) -> ColumnSummary:
        """Of the rows of both."""
        values = None
        if self.values is not None and other.values is not None:
            values = {
                name: self.values.get(name, 0) + other.values.get(name, 0)
                for name in sorted({*self.values, *other.values})
            }
            values = values if len(values) <= _MOST_VALUES else None
        known = self.squares is not None and other.squares is not None
        return ColumnSummary(
            count=self.count + other.count,
            nulls=self.nulls + other.nulls,
            not_finite=self.not_finite + other.not_finite,
            minimum=_extreme(min, self.minimum, other.minimum),
            maximum=_extreme(max, self.maximum, other.maximum),
            numbers=self.numbers + other.numbers,
            total=text(parsed(self.total) + parsed(other.total)),
            squares=text(parsed(self.squares or "0") + parsed(other.squares or "0")) if known else None,
            values=values,
        )

    def statistics(self) -> ColumnStatistics:
        """As people read it."""
        mean = deviation = None
        if self.numbers:
            center = exact(parsed(self.total)) / self.numbers
            mean = float(center)
            if self.squares is not None:
                variance = exact(parsed(self.squares)) / self.numbers - center * center
                deviation = math.sqrt(float(max(variance, Fraction())))
        return ColumnStatistics(
            count=self.count,
            nulls=self.nulls,
            not_finite=self.not_finite,
            minimum=self.minimum,
            maximum=self.maximum,
            mean=mean,
            deviation=deviation,
            values=self.values,
        )


def _extreme(which: Any, one: Any, other: Any) -> Any:
    known = [value for value in (one, other) if value is not None]
    return which(known, key=_order) if known else None


def _order(value: Any) -> Any:
    """Texts of times do not sort as these do where a year has more digits than four, or a sign."""
    if not isinstance(value, str):
        return value
    if value == "NaT":  # what numpy calls the least number of microseconds
        return -(2**63), ""
    day, _, clock = value.partition("T")
    return int(np.datetime64(day, "D").astype(np.int64)), clock


def summary(column: pa.Array, *, counts_values: bool) -> ColumnSummary:
    """Of some rows. ``counts_values``: also how often each value occurs."""
    kind, nulls = column.type, column.null_count
    present = column.drop_null()
    values = _values(present) if counts_values else None
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        every = numbers(present.cast(pa.int8()) if pa.types.is_boolean(kind) else present)
        real = every[np.isfinite(every)] if pa.types.is_floating(kind) else every
        if not len(real):
            return ColumnSummary(count=len(column), nulls=nulls, not_finite=len(every), values=values)
        least, most = real.min().item() + 0, real.max().item() + 0  # -0.0 is 0.0
        parts = [real[at : at + PIECE].astype(np.float64) for at in range(0, len(real), PIECE)]
        known = max(-least, most) < SQUARES_BELOW
        return ColumnSummary(
            count=len(column),
            nulls=nulls,
            not_finite=len(every) - len(real),
            minimum=least,
            maximum=most,
            numbers=len(real),
            total=text(sum(exact_sum(part) for part in parts)),
            squares=text(sum(exact_squares(part) for part in parts)) if known else None,
            values=values,
        )
    low, high = None, None
    if (pa.types.is_temporal(kind)) and len(present):
        ends = pc.min_max(present)
        low, high = (time_text(ends[name]) for name in ("min", "max"))
    return ColumnSummary(count=len(column), nulls=nulls, minimum=low, maximum=high, values=values)


def time_text(value: pa.Scalar) -> str:
    """ISO 8601, of any year.

    >>> time_text(pa.scalar(4_000_000, pa.date32())), time_text(pa.scalar(1, pa.timestamp("us", "UTC")))
    ('12921-08-18T00:00:00.000000', '1970-01-01T00:00:00.000001')
    """
    if pa.types.is_date32(value.type):
        return f"{np.datetime64(value.value, 'D')}T00:00:00.000000"
    return str(np.datetime64(value.cast(pa.timestamp("us")).value, "us"))


def _values(values: pa.Array) -> dict[str, int] | None:
    kind = values.type
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_string(kind)):
        return None
    counts = values.value_counts()
    if len(counts) > _MOST_VALUES:
        return None
    texts = counts.field("values").cast(pa.string()).to_pylist()
    if any(len(text) > _LONGEST for text in texts):
        return None
    return dict(sorted(zip(texts, counts.field("counts").to_pylist(), strict=True)))


def put_together(many: Sequence[Mapping[str, ColumnSummary]]) -> dict[str, ColumnSummary]:
    """Of all rows."""
    if not many:
        return {}
    together = dict(many[0])
    for more in many[1:]:
        together = {name: summary.plus(more[name]) for name, summary in together.items()}
    return together


def array_of(column: pa.ChunkedArray) -> pa.Array:
    """All of it in one piece."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
