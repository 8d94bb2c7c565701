"""Types of values in expressions, and how one becomes another without loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a value is. ``ANY``: not known yet. ``OTHER``: it can only be passed on and asked for null."""

    ANY = "any"
    NULL = "null"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    TEXT = "text"
    DATE = "date"
    TIMESTAMP = "timestamp"
    INTERVAL = "interval"
    LIST = "list"
    STRUCT = "struct"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ValueType:
    """A kind with what lists and structs hold.

    >>> str(ValueType(Kind.LIST, INT)), ANY.known
    ('list of int', False)
    """

    kind: Kind
    inner: ValueType | None = None
    fields: tuple[tuple[str, ValueType], ...] = ()

    @property
    def known(self) -> bool:
        return self.kind is not Kind.ANY

    def __str__(self) -> str:
        return f"{self.kind} of {self.inner}" if self.inner else str(self.kind)


ANY, NULL, BOOL, INT, FLOAT, TEXT, DATE, TIMESTAMP, INTERVAL, OTHER = (
    ValueType(kind)
    for kind in (
        Kind.ANY, Kind.NULL, Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.TEXT, Kind.DATE, Kind.TIMESTAMP,
        Kind.INTERVAL, Kind.OTHER,
    )
)  # fmt: skip


def list_of(inner: ValueType) -> ValueType:
    return ValueType(Kind.LIST, inner)


_WIDER = {(Kind.INT, Kind.FLOAT), (Kind.DATE, Kind.TIMESTAMP)}


def takes(wanted: ValueType, got: ValueType) -> bool:
    """Whether a value of one type may stand where another is wanted: a whole number is a float, a date a time.

    >>> takes(FLOAT, INT), takes(INT, FLOAT), takes(TEXT, NULL)
    (True, False, True)
    """
    if Kind.ANY in (wanted.kind, got.kind) or got.kind is Kind.NULL:
        return True
    if wanted.kind is Kind.LIST and got.kind is Kind.LIST:
        return wanted.inner is None or got.inner is None or takes(wanted.inner, got.inner)
    return wanted.kind is got.kind or (got.kind, wanted.kind) in _WIDER


def common(first: ValueType, second: ValueType) -> ValueType | None:
    """The type that takes both; None if there is none.

    >>> common(INT, FLOAT) == FLOAT, common(INT, TEXT)
    (True, None)
    """
    for wanted, got in ((first, second), (second, first)):
        if got.kind is Kind.NULL or wanted == got:
            return wanted
    if not (first.known and second.known):
        return ANY
    for wanted, got in ((first, second), (second, first)):
        if takes(wanted, got):
            return wanted
    return None


_DECLARED = {
    "string": TEXT,
    "bytes": OTHER,
    "bool": BOOL,
    **dict.fromkeys(("int8", "int16", "int32", "int64"), INT),
    **dict.fromkeys(("float32", "float64"), FLOAT),
    "date": DATE,
    "timestamp": TIMESTAMP,
    "list<string>": list_of(TEXT),
    "list<int64>": list_of(INT),
    **dict.fromkeys(("list<float32>", "list<float64>"), list_of(FLOAT)),
}


def declared(column: str) -> ValueType:
    """The type of a column that resources declare by this name.

    >>> str(declared("int8"))
    'int'
    """
    return _DECLARED[column]


def known_types(columns: Mapping[str, str]) -> dict[str, ValueType]:
    """Column to type, where the name of its type is one that resources may declare.

    >>> {name: str(kind) for name, kind in known_types({"a": "int8", "b": "struct<x: int64>", "c": ""}).items()}
    {'a': 'int'}
    """
    return {name: _DECLARED[kind] for name, kind in columns.items() if kind in _DECLARED}
