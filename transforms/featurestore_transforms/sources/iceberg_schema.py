"""Columns of an Iceberg table as Arrow has them, and whether a file's column is one of them: names change, ids do not.

https://iceberg.apache.org/spec/#schemas-and-data-types
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore_transforms.casting.delta_types import whole
from featurestore_transforms.sources.arrow_types import is_list
from featurestore_transforms.sources.reader import UnreadableArrival

_ID = b"PARQUET:field_id"
_PLAIN = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "string": pa.large_string(),
    "uuid": pa.uuid(),
    "binary": pa.large_binary(),
}
_DECIMAL = re.compile(r"decimal\(\s*([0-9]+)\s*,\s*([0-9]+)\s*\)")
_FIXED = re.compile(r"fixed\[([0-9]+)\]")


def arrow_schema(schema: Mapping[str, Any]) -> pa.Schema:
    """The columns of a table's schema, each with its id.

    Raises:
        UnreadableArrival: a type is not known.
    """
    return pa.schema([_field(field["name"], field["id"], field["type"]) for field in schema["fields"]])


def field_id(field: pa.Field) -> int | None:
    """The id of a column; None if a file has none for it."""
    text = (field.metadata or {}).get(_ID)
    return None if text is None else int(text)


def is_same_column(own: pa.Field, other: pa.Field) -> bool:
    """Whether a column's parts, at whatever depth, have the same ids and names in both. Items of lists have ids alone."""
    parts, others = _parts(own.type), _parts(other.type)
    return len(parts) == len(others) and all(
        field_id(part) == field_id(another)
        and (part.name == another.name or not pa.types.is_struct(own.type))
        and is_same_column(part, another)
        for part, another in zip(parts, others, strict=True)
    )


def is_widened(dtype: pl.DataType, to: pl.DataType) -> bool:
    """Whether values of a type are of the other one as well, as the table's schema may have grown.

    >>> is_widened(pl.Int32(), pl.Int64()), is_widened(pl.Int64(), pl.Int32())
    (True, False)
    """
    if isinstance(dtype, pl.Decimal) and isinstance(to, pl.Decimal):
        return dtype.scale == to.scale and (dtype.precision or 0) <= (to.precision or 0)
    if isinstance(dtype, pl.List) and isinstance(to, pl.List):
        return is_widened(whole(dtype.inner), whole(to.inner))
    if isinstance(dtype, pl.Struct) and isinstance(to, pl.Struct):
        return len(dtype.fields) == len(to.fields) and all(
            part.name == another.name and is_widened(whole(part.dtype), whole(another.dtype))
            for part, another in zip(dtype.fields, to.fields, strict=True)
        )
    return (dtype, to) in ((to, dtype), (pl.Int32(), pl.Int64()), (pl.Float32(), pl.Float64()))


def _parts(dtype: pa.DataType) -> list[pa.Field]:
    if pa.types.is_struct(dtype):
        return list(dtype)
    if pa.types.is_map(dtype):
        return [dtype.key_field, dtype.item_field]
    return [dtype.value_field] if is_list(dtype) else []


def _field(name: str, own_id: int, dtype: Any) -> pa.Field:
    return pa.field(name, _type(name, dtype), metadata={_ID: str(own_id).encode()})


def _type(name: str, dtype: Any) -> pa.DataType:
    match dtype:
        case {"type": "struct", "fields": fields}:
            return pa.struct([_field(field["name"], field["id"], field["type"]) for field in fields])
        case {"type": "list", "element-id": own_id, "element": element}:
            return pa.large_list(_field("element", own_id, element))
        case {"type": "map", "key-id": key_id, "key": key, "value-id": value_id, "value": value}:
            key_field = _field("key", key_id, key).with_nullable(False)
            return pa.map_(key_field, _field("value", value_id, value))
        case str():
            if dtype in _PLAIN:
                return _PLAIN[dtype]
            if digits := _DECIMAL.fullmatch(dtype):
                return pa.decimal128(int(digits[1]), int(digits[2]))
            if length := _FIXED.fullmatch(dtype):
                return pa.binary(int(length[1]))
    raise UnreadableArrival(
        "iceberg:unsupported", f"column {name!r} is of type {str(dtype)[:100]}, which is not known here"
    )
