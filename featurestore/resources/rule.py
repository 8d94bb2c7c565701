"""What one object can say about itself beyond the shape of its fields: said once, checked in two places.

The API server evaluates the CEL text (``x-kubernetes-validations`` of the CRD), Python the predicate; both
answer with the same message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic.alias_generators import to_snake

from featurestore.resources.quantity import format_duration


@dataclass(frozen=True, slots=True)
class SpecRule:
    """``holds(value)`` is true of every valid value of the model, and ``cel`` is the same in CEL.

    ``field``: the field (by its YAML name) that the message is about; "" if it is about the whole.
    ``cel`` is empty where CEL cannot say it within its cost budget, or not at all (durations such as ``30d``);
    the operator then reports the message as a condition. Fields named by a word of CEL are written ``__word__``.
    """

    message: str
    holds: Callable[[Any], bool]
    cel: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """``holds(old, new)`` is true of every allowed change."""

    message: str
    holds: Callable[[Any, Any], bool]
    cel: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Unique:
    """Annotation of a list: its items, or their ``key`` fields, are distinct.

    In the CRD it is ``x-kubernetes-list-type: map`` (or ``set``), which costs the API server nothing.
    """

    key: str = ""


MOST_EXPRESSIONS = 1000
MOST_CHARACTERS = 100_000
"""Of all expressions of one resource together. Reading and planning take seconds then, and with ten times as many minutes."""


def bounded_text(texts: Callable[[Any], Iterable[str]], field: str) -> SpecRule:
    """All expressions of a resource together are not longer than what is read and planned in seconds."""
    return SpecRule(
        message=f"all expressions together must not have more than {MOST_CHARACTERS:,} characters",
        holds=lambda spec: sum(map(len, texts(spec))) <= MOST_CHARACTERS,
        field=field,
    )


def repeated(values: Iterable[Hashable]) -> list[str]:
    """The values that occur more than once, as text.

    >>> repeated(["a", "b", "a"])
    ['a']
    """
    return [_text(value) for value, count in Counter(values).items() if count > 1]


def _text(value: Hashable) -> str:
    return format_duration(value) if isinstance(value, timedelta) else str(value)


def at_most_one(*fields: str) -> SpecRule:
    """No two of the fields (by their YAML names) are set."""
    names = [to_snake(field) for field in fields]
    return SpecRule(
        message=f"at most one of {', '.join(fields[:-1])} and {fields[-1]} may be set",
        holds=lambda value: sum(getattr(value, name) is not None for name in names) <= 1,
        cel=f"[{', '.join(f'has(self.{field})' for field in fields)}].filter(x, x).size() <= 1",
    )


def exactly_one(*fields: str) -> SpecRule:
    """Exactly one of the fields (by their YAML names) is set."""
    names = [to_snake(field) for field in fields]
    return SpecRule(
        message=f"exactly one of {', '.join(fields[:-1])} and {fields[-1]} must be set",
        holds=lambda value: sum(getattr(value, name) is not None for name in names) == 1,
        cel=f"[{', '.join(f'has(self.{field})' for field in fields)}].filter(x, x).size() == 1",
    )
