"""The rule that a feature has a type which its aggregate gives, by the table of aggregates."""

from __future__ import annotations

from featurestore.aggregates.aggregates import AGGREGATES, AggregateFunction
from featurestore.resources.rule import SpecRule
from featurestore.resources.value import ColumnType


def gives(function: AggregateFunction, declared: ColumnType) -> bool:
    """Whether a feature of this aggregate may have this type.

    >>> gives(AggregateFunction.COUNT, ColumnType.FLOAT64)
    False
    """
    types = AGGREGATES[function].gives
    return not declared.startswith("list") if types is None else declared in types


def type_rule() -> SpecRule:
    """The rule in Python, in CEL and in words."""
    groups: dict[tuple[str, ...] | None, list[str]] = {}
    for function, definition in AGGREGATES.items():
        groups.setdefault(definition.gives, []).append(function.value)
    any_type = groups.pop(None)
    words = [f"{_listed(names)} {' or '.join(given or ())}" for given, names in groups.items()]
    cel = "!self.type.startsWith('list')"
    for given, names in groups.items():
        cel = f"self.aggregate.__function__ in {names} ? self.type in {list(given or ())} : ({cel})"
    return SpecRule(
        message=f"aggregates give: {'; '.join(words)}; {_listed(any_type)} any type but lists",
        holds=lambda feature: feature.aggregate is None or gives(feature.aggregate.function, feature.type),
        cel=f"!has(self.aggregate) || ({cel})",
        field="type",
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
