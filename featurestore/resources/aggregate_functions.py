"""The aggregates over windows, and what a spec needs to know of each: which types it gives, what it keeps of a value.

How each is computed stands in ``featurestore/windows/aggregates.py``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from featurestore.resources.rule import SpecRule
from featurestore.resources.value import ColumnType


class AggregateFunction(StrEnum):
    """Aggregations over windows; all are sums of mergeable tiles."""

    SUM = "Sum"
    COUNT = "Count"
    MEAN = "Mean"
    MIN = "Min"
    MAX = "Max"
    VARIANCE = "Variance"
    STDDEV = "StdDev"
    FIRST = "First"
    LAST = "Last"
    APPROX_DISTINCT = "ApproxDistinct"
    APPROX_QUANTILE = "ApproxQuantile"


class AggregateTypes(NamedTuple):
    """``gives``: types that a feature of it may have; None for all but lists.

    ``keeps``: type of what the view's table keeps of each value for it: all that it needs, and no more; None for the
    feature's own. ``counts``: it needs to know only whether there is a value.
    """

    gives: tuple[ColumnType, ...] | None = None
    keeps: ColumnType | None = None
    counts: bool = False


_NUMBER = AggregateTypes((ColumnType.FLOAT64,), ColumnType.FLOAT64)
TYPES = {
    AggregateFunction.SUM: AggregateTypes((ColumnType.INT64, ColumnType.FLOAT64)),
    AggregateFunction.COUNT: AggregateTypes((ColumnType.INT64,), ColumnType.BOOL, counts=True),
    AggregateFunction.MEAN: _NUMBER,
    AggregateFunction.MIN: AggregateTypes(),
    AggregateFunction.MAX: AggregateTypes(),
    AggregateFunction.VARIANCE: _NUMBER,
    AggregateFunction.STDDEV: _NUMBER,
    AggregateFunction.FIRST: AggregateTypes(),
    AggregateFunction.LAST: AggregateTypes(),
    AggregateFunction.APPROX_DISTINCT: AggregateTypes((ColumnType.INT64,), ColumnType.STRING),
    AggregateFunction.APPROX_QUANTILE: _NUMBER,
}


def gives(function: AggregateFunction, declared: ColumnType) -> bool:
    """Whether a feature of this aggregate may have this type.

    >>> gives(AggregateFunction.COUNT, ColumnType.FLOAT64)
    False
    """
    types = TYPES[function].gives
    return not declared.startswith("list") if types is None else declared in types


def type_rule() -> SpecRule:
    """That a feature has a type which its aggregate gives: in Python, in CEL and in words."""
    groups: dict[tuple[ColumnType, ...] | None, list[str]] = {}
    for function, types in TYPES.items():
        groups.setdefault(types.gives, []).append(function.value)
    any_type = groups.pop(None)
    words = [f"{_listed(names)} {' or '.join(given or ())}" for given, names in groups.items()]
    cel = "!self.type.startsWith('list')"
    for given, names in groups.items():
        cel = f"self.aggregate.__function__ in {names} ? self.type in {[it.value for it in given or ()]} : ({cel})"
    return SpecRule(
        message=f"aggregates give: {'; '.join(words)}; {_listed(any_type)} any type but lists",
        holds=lambda it: it.aggregate is None or gives(it.aggregate.function, it.type),
        cel=f"!has(self.aggregate) || ({cel})",
        field="type",
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
