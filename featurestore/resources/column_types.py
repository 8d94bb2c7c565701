"""Types of columns between the steps of a pipeline, as far as its spec alone says them."""

from __future__ import annotations

from collections.abc import Mapping

from featurestore.errors import SpecError
from featurestore.expressions.check import checked
from featurestore.expressions.value_type import Kind, ValueType, declared, known_types
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.resources.transform import Cast, Derive, Drop, Lookup, Python, Rename, Select, Sql, Step

Types = Mapping[str, ValueType]
"""Columns whose types are known."""


def source_types(spec: DataPipelineSpec, learned: Mapping[str, str] | None = None) -> Types:
    """Before the first step. ``learned``: columns that files were seen to have, to the names of their types."""
    return {**known_types(learned or {}), **{one.name: declared(one.type) for one in spec.columns or ()}}


def dataset_types(spec: DataPipelineSpec, learned: Mapping[str, str] | None = None) -> Types:
    """After the last step. ``learned``: as in :func:`source_types`."""
    types = source_types(spec, learned)
    for transform in spec.transforms:
        types = types_after(transform.step, types)
    return types


def types_after(step: Step, types: Types) -> Types:
    """The types after a step.

    >>> from featurestore.expressions.value_type import INT
    >>> {name: str(kind) for name, kind in types_after(Derive(columns={"b": "a / 2"}), {"a": INT}).items()}
    {'a': 'int', 'b': 'float'}
    """
    match step:
        case Sql() | Python():
            return {}
        case Select():
            return {name: kind for name, kind in types.items() if name in step.columns}
        case Drop():
            return {name: kind for name, kind in types.items() if name not in step.columns}
        case Rename():
            kept = {name: kind for name, kind in types.items() if name not in step.columns.values()}
            return {step.columns.get(name, name): kind for name, kind in kept.items()}
        case Cast():
            return {**types, **{name: declared(kind) for name, kind in step.columns.items()}}
        case Lookup():
            return {name: kind for name, kind in types.items() if name not in step.columns.values()}
        case Derive():
            made = {name: _type(text, types) for name, text in step.columns.items()}
            kept = {name: kind for name, kind in types.items() if name not in made}
            return {**kept, **{name: kind for name, kind in made.items() if kind is not None}}
    return types


_NUMBERS = ("int8", "int16", "int32", "int64", "float32", "float64")
_BECOMES = {
    "string": frozenset((*_NUMBERS, "bool", "date", "timestamp", "bytes")),
    **dict.fromkeys((*_NUMBERS, "bool"), frozenset((*_NUMBERS, "bool", "string"))),
    "date": frozenset(("timestamp", "string")),
    "timestamp": frozenset(("date", "string")),
    "bytes": frozenset(),
}


def may_become(source: str, wanted: str) -> bool:
    """Whether values of one type can be had in another, as ``expressions/run/cast.py`` has it; True where that is not known.

    >>> may_become("string", "int64"), may_become("int64", "timestamp"), may_become("decimal(9, 2)", "date")
    (True, False, True)
    """
    if source.startswith("list<") and wanted.startswith("list<"):
        inner = source[5:-1]
        return inner == "" or may_become(inner, wanted[5:-1])
    if source.startswith("list<"):
        return False
    return source == wanted or source not in _BECOMES or wanted in _BECOMES[source]


_NAMES = {
    Kind.BOOL: "bool",
    Kind.INT: "int64",
    Kind.FLOAT: "float64",
    Kind.TEXT: "string",
    Kind.DATE: "date",
    Kind.TIMESTAMP: "timestamp",
}
"""A declared type that has the values of a kind."""


def type_name(value_type: ValueType) -> str:
    """A declared type that has the values of this one; "" if there is none, or it is not known.

    >>> from featurestore.expressions.value_type import INT, list_of
    >>> type_name(INT), type_name(list_of(INT)), type_name(ValueType(Kind.ANY))
    ('int64', 'list<int64>', '')
    """
    if value_type.kind is Kind.LIST:
        return f"list<{type_name(value_type.inner) if value_type.inner else ''}>"
    return _NAMES.get(value_type.kind, "")


def fits(value_type: ValueType, wanted: str) -> bool:
    """Whether values of a type can be had as a declared one; True where that is not known.

    >>> from featurestore.expressions.value_type import BOOL, INT
    >>> fits(INT, "float64"), fits(BOOL, "timestamp")
    (True, False)
    """
    if value_type.kind in (Kind.ANY, Kind.NULL):
        return True
    if value_type.kind is Kind.LIST:
        return wanted.startswith("list<") and (
            value_type.inner is None or fits(value_type.inner, wanted[5:-1])
        )
    return value_type.kind in _NAMES and may_become(_NAMES[value_type.kind], wanted)


def _type(text: str, types: Types) -> ValueType | None:
    try:
        value_type = checked(text, where="", types=types).tree.type
    except SpecError:
        return None  # It is reported where it stands.
    return None if value_type.kind in (Kind.ANY, Kind.NULL) else value_type
