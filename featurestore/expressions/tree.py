"""The checked tree of an expression: columns, constants, and calls of what ``functions.py`` lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from featurestore.expressions.value_type import ValueType


@dataclass(frozen=True, slots=True)
class Interval:
    """``months`` by the calendar, and microseconds."""

    months: int
    microseconds: int


Value = int | float | str | bool | date | datetime | Interval | tuple["Value", ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    name: str
    type: ValueType


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """Times are aware, in UTC."""

    value: Value
    type: ValueType


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """``name``: in ``functions.BY_NAME``. ``detail``: what is no value, such as the type that TRY_CAST names.

    A call of ``+`` may have many arguments, all whole numbers, and as many signs in ``detail``.
    """

    name: str
    arguments: tuple[Node, ...]
    type: ValueType
    detail: str = ""


Node = Column | Constant | Call


def postorder(root: Node) -> Iterator[Node]:
    """Each node once, after those that it is made of. Not recursive: a sum of many terms is a deep tree."""
    waiting: list[tuple[Node, bool]] = [(root, False)]
    visited: set[int] = set()
    while waiting:
        node, ready = waiting.pop()
        if ready:
            yield node
        elif id(node) not in visited:
            visited.add(id(node))
            waiting.append((node, True))
            if isinstance(node, Call):
                waiting.extend((argument, False) for argument in reversed(node.arguments))
