"""Rows of the table of operators and functions, and the texts that their signatures are written as.

``text, int! -> text``: ``!`` marks an argument that must stand in the spec, ``?`` one that may be left out, ``*`` one
that may come again. ``T`` is any type, the same one throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from featurestore.expressions.value_type import (
    ANY,
    BOOL,
    DATE,
    FLOAT,
    INT,
    INTERVAL,
    NULL,
    OTHER,
    TEXT,
    TIMESTAMP,
    ValueType,
    list_of,
)

MANY = 64
"""The most arguments that a function takes."""
_UNBOUNDED = 10_000
MAX_PAD = 1024
"""The most characters that LPAD and RPAD pad to."""
MAX_DIGITS = 15
"""The most decimal places of ROUND and TRUNC: a float64 has no more."""

_NULLS = "Null if an argument is null."


class Group(StrEnum):
    OPERATORS = "Operators"
    CONDITIONS = "Conditions"
    NUMBERS = "Numbers"
    TEXT = "Text"
    LISTS = "Lists"
    TIMES = "Times"


@dataclass(frozen=True, slots=True)
class Parameter:
    """``variable``: of the signature's type ``T``, or a list of it (``type`` is then a list of nothing)."""

    type: ValueType
    variable: bool = False
    literal: bool = False
    optional: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    text: str
    parameters: tuple[Parameter, ...]
    result: Parameter

    @property
    def least(self) -> int:
        return sum(not one.optional for one in self.parameters)

    @property
    def most(self) -> int:
        return _UNBOUNDED if any(one.repeated for one in self.parameters) else len(self.parameters)

    def parameter(self, place: int) -> Parameter:
        return self.parameters[min(place, len(self.parameters) - 1)]


@dataclass(frozen=True, slots=True)
class SqlFunction:
    """A function or operator. ``example`` and ``result``: texts, as in the documentation; both are expressions."""

    name: str
    group: Group
    signatures: tuple[Signature, ...]
    meaning: str
    example: str
    result: str
    nulls: str = _NULLS
    aliases: tuple[str, ...] = ()

    @property
    def least(self) -> int:
        return min(one.least for one in self.signatures)

    @property
    def most(self) -> int:
        return min(MANY, max(one.most for one in self.signatures))


_TYPES = {
    "bool": BOOL, "int": INT, "float": FLOAT, "text": TEXT, "date": DATE, "timestamp": TIMESTAMP,
    "interval": INTERVAL, "any": ANY, "null": NULL, "other": OTHER,
}  # fmt: skip
_ANY_LIST = ValueType(list_of(ANY).kind)


def _parameter(text: str) -> Parameter:
    word = text.rstrip("!?*")
    marks = text[len(word) :]
    flags = {"literal": "!" in marks, "optional": "?" in marks, "repeated": "*" in marks}
    if word in ("T", "list of T"):
        return Parameter(ANY if word == "T" else _ANY_LIST, variable=True, **flags)
    if word.startswith("list"):
        inner = word.removeprefix("list").removeprefix(" of ")
        return Parameter(list_of(_TYPES[inner]) if inner else _ANY_LIST, **flags)
    return Parameter(_TYPES[word], **flags)


def signature(text: str) -> Signature:
    """A signature from its text.

    >>> signature("text, int! -> text").most
    2
    """
    taken, _, given = text.partition("->")
    parameters = tuple(_parameter(part.strip()) for part in taken.split(",") if part.strip())
    return Signature(text, parameters, _parameter(given.strip()))


def row(
    group: Group, names: str, signatures: str, meaning: str, example: str, result: str, nulls: str = _NULLS
) -> SqlFunction:
    name, *aliases = names.split()
    parsed = tuple(signature(text.strip()) for text in signatures.split("|"))
    return SqlFunction(name, group, parsed, meaning, example, result, nulls, tuple(aliases))
