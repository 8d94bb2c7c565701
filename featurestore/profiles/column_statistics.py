"""Statistics of a column, as people and programs read them."""

from __future__ import annotations

from typing import Any

from featurestore.resources.model import Model


class ColumnStatistics(Model):
    """Of the values of a column. ``mean`` and ``deviation`` (of the population) are of numbers and truth values.

    ``minimum`` and ``maximum``: numbers as they are, times as ISO 8601. ``not_finite``: NaN and infinities, which count in
    nothing else. None where nothing can be told.
    ``values``: how often each value occurs, of a column with few.
    """

    count: int
    nulls: int
    not_finite: int = 0
    minimum: Any = None
    maximum: Any = None
    mean: float | None = None
    deviation: float | None = None
    values: dict[str, int] | None = None


class CommonValue(Model):
    """A value, and in how many rows it was found."""

    value: Any
    rows: int


class ProfiledColumn(ColumnStatistics):
    """And what needs more than sums. ``sampled``: how many rows quantiles and common values are of.

    ``quantiles``: ``0.5`` to the median, of finite numbers and times. ``distinct``: how many values there are.
    ``common``: the most frequent values, and how many of the ``sampled`` rows have them.
    """

    sampled: int
    quantiles: dict[str, Any] | None = None
    distinct: int | None = None
    common: tuple[CommonValue, ...] = ()
