"""What all resource models share: camelCase in YAML, no unknown field, values that never change, rules."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from featurestore.resources.rule import SpecRule, Transition, Unique, repeated


class Model(BaseModel):
    """A part of a resource. Python names are snake_case, YAML and CRD names camelCase.

    ``rules``: what one object can say about itself. ``transitions``: what may not change.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_enum_values=False,
        validate_default=True,
    )

    rules: ClassVar[tuple[SpecRule, ...]] = ()
    transitions: ClassVar[tuple[Transition, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        broken = [(rule.field, rule.message) for rule in self.rules if not rule.holds(self)]
        broken += [(field, f"{', '.join(twice)} is repeated") for field, twice in self._repeated()]
        if broken:
            text = "; ".join(message for _, message in broken)
            raise PydanticCustomError("rules", "{text}", {"text": text, "broken": broken})
        return self

    def _repeated(self) -> list[tuple[str, list[str]]]:
        duplicates = []
        for name, field in type(self).model_fields.items():
            for unique in field.metadata:
                if isinstance(unique, Unique):
                    items = getattr(self, name) or ()
                    values = [getattr(item, unique.key) for item in items] if unique.key else items
                    duplicates.append((field.alias or name, repeated(values)))
        return [(field, twice) for field, twice in duplicates if twice]


M = TypeVar("M", bound=Model)


@lru_cache(maxsize=64)
def shared(value: M) -> M:
    """An equal value that was met before, or this one: what thousands of resources say alike is kept once."""
    return value
