"""Types of Feast and of Arrow as types of columns here."""

from __future__ import annotations

import re

from featurestore.resources.value import ColumnType, KeyType

_OF_FEAST = {
    "String": ColumnType.STRING,
    "Uuid": ColumnType.STRING,
    "TimeUuid": ColumnType.STRING,
    "Json": ColumnType.STRING,
    "Bytes": ColumnType.BYTES,
    "PdfBytes": ColumnType.BYTES,
    "ImageBytes": ColumnType.BYTES,
    "Bool": ColumnType.BOOL,
    "Int32": ColumnType.INT32,
    "Int64": ColumnType.INT64,
    "Float32": ColumnType.FLOAT32,
    "Float64": ColumnType.FLOAT64,
    "UnixTimestamp": ColumnType.TIMESTAMP,
    "Array(String)": ColumnType.LIST_STRING,
    "Array(Uuid)": ColumnType.LIST_STRING,
    "Array(TimeUuid)": ColumnType.LIST_STRING,
    "Array(Int32)": ColumnType.LIST_INT64,
    "Array(Int64)": ColumnType.LIST_INT64,
    "Array(Float32)": ColumnType.LIST_FLOAT32,
    "Array(Float64)": ColumnType.LIST_FLOAT64,
}
_OF_ARROW = {
    "string": ColumnType.STRING,
    "large_string": ColumnType.STRING,
    "string_view": ColumnType.STRING,
    "binary": ColumnType.BYTES,
    "large_binary": ColumnType.BYTES,
    "bool": ColumnType.BOOL,
    "int8": ColumnType.INT8,
    "int16": ColumnType.INT16,
    "int32": ColumnType.INT32,
    "int64": ColumnType.INT64,
    "uint8": ColumnType.INT16,
    "uint16": ColumnType.INT32,
    "uint32": ColumnType.INT64,
    "uint64": ColumnType.INT64,
    "halffloat": ColumnType.FLOAT32,
    "float": ColumnType.FLOAT32,
    "double": ColumnType.FLOAT64,
    "date32[day]": ColumnType.DATE,
}
_OF_VALUE_TYPES = {
    "STRING": ColumnType.STRING,
    "UUID": ColumnType.STRING,
    "TIME_UUID": ColumnType.STRING,
    "INT32": ColumnType.INT32,
    "INT64": ColumnType.INT64,
}
_LISTS = {
    ColumnType.STRING: ColumnType.LIST_STRING,
    ColumnType.FLOAT32: ColumnType.LIST_FLOAT32,
    ColumnType.FLOAT64: ColumnType.LIST_FLOAT64,
}
_INTEGERS = (ColumnType.INT8, ColumnType.INT16, ColumnType.INT32, ColumnType.INT64)
_WIDER = {
    ColumnType.INT32: (ColumnType.INT64,),
    ColumnType.FLOAT32: (ColumnType.FLOAT64,),
    ColumnType.LIST_FLOAT32: (ColumnType.LIST_FLOAT64,),
}
_KEYS = {
    ColumnType.STRING: KeyType.STRING,
    ColumnType.INT64: KeyType.INT64,
    **dict.fromkeys((ColumnType.INT8, ColumnType.INT16, ColumnType.INT32), KeyType.INT32),
}


def of_feast(text: str) -> ColumnType | None:
    """The type that holds each value of a type of Feast, as it prints it; None if there is none.

    >>> of_feast("Array(Int32)").value, of_feast("Map")
    ('list<int64>', None)
    """
    return _OF_FEAST.get(text)


def of_value_type(name: str) -> ColumnType | None:
    """The type of an entity's keys by the name of its ``ValueType``; None if it is unknown or no key has it.

    >>> of_value_type("INT64").value, of_value_type("UNKNOWN")
    ('int64', None)
    """
    return _OF_VALUE_TYPES.get(name)


def of_arrow(text: str) -> ColumnType | None:
    """The type that holds each value of a type of Arrow, as it prints it; None if there is none.

    >>> of_arrow("timestamp[ns, tz=UTC]").value, of_arrow("list<element: double>").value, of_arrow("struct<a: int64>")
    ('timestamp', 'list<float64>', None)
    """
    if text.startswith("timestamp["):
        return ColumnType.TIMESTAMP
    if encoded := re.fullmatch(r"dictionary<values=([^,]+), .*", text):
        return of_arrow(encoded[1])
    if nested := re.fullmatch(r"(?:large_|fixed_size_)?list<\w+: ([^<>]+?)(?: not null)?>(?:\[\d+\])?", text):
        item = of_arrow(nested[1])
        return ColumnType.LIST_INT64 if item in _INTEGERS else _LISTS.get(item) if item else None
    return _OF_ARROW.get(text)


def of_feature(feast: ColumnType, arrow: ColumnType | None) -> ColumnType:
    """The type that Feast's users see in training: the one that files have, where it is the wider one.

    Feast returns what files hold, whatever a field says, and rounds only online.

    >>> of_feature(ColumnType.FLOAT32, ColumnType.FLOAT64).value, of_feature(ColumnType.INT64, ColumnType.INT32).value
    ('float64', 'int64')
    """
    return arrow if arrow is not None and arrow in _WIDER.get(feast, ()) else feast


def of_key(feature_type: ColumnType | None) -> KeyType | None:
    """The type of a join key with such values; None if no join key can have it."""
    return None if feature_type is None else _KEYS.get(feature_type)
