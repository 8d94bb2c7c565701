"""Arrow types of the declared types, and the schemas of a view's and a quarantine's table."""

from __future__ import annotations

import re

import pyarrow as pa

from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import CREATED_TIME, EVENT_TIME, aggregate_input, aggregate_input_type
from featurestore.resources.value import ColumnType, KeyType
from featurestore.storage.delta import BATCH, FILE, ROW

TIMESTAMP = pa.timestamp("us", tz="UTC")

_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "bytes": pa.binary(),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "date": pa.date32(),
    "timestamp": TIMESTAMP,
    "list<string>": pa.list_(pa.string()),
    "list<int64>": pa.list_(pa.int64()),
    "list<float32>": pa.list_(pa.float32()),
    "list<float64>": pa.list_(pa.float64()),
}

SYSTEM_FIELDS = (pa.field(BATCH, pa.int64()), pa.field(FILE, pa.int32()), pa.field(ROW, pa.int64()))

QUARANTINE = pa.schema(
    [
        *SYSTEM_FIELDS,
        pa.field("rule", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("uri", pa.string()),
        pa.field("version", pa.string()),
        pa.field("record", pa.string()),
        pa.field("quarantined_at", TIMESTAMP),
    ]
)
"""``__row`` and ``record`` are null for a whole file; ``record`` is the source row as JSON."""


def arrow_type(declared: ColumnType | KeyType) -> pa.DataType:
    """The Arrow type of a declared type.

    >>> arrow_type(ColumnType.TIMESTAMP)
    TimestampType(timestamp[us, tz=UTC])
    """
    return _TYPES[declared.value]


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The plain form of a type: no dictionary, no view, no wider offsets than needed.

    >>> plain_type(pa.large_string()), plain_type(pa.timestamp("ns", "Europe/Paris"))
    (DataType(string), TimestampType(timestamp[us, tz=UTC]))
    """
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pa.types.is_float16(kind):
        return pa.float32()
    return kind


def named_type(text: str) -> pa.DataType:
    """The Arrow type that pyarrow writes as this text.

    >>> named_type("list<element: int64>"), named_type("decimal128(10, 2)"), named_type("timestamp[us, tz=UTC]")
    (ListType(list<item: int64>), Decimal128Type(decimal128(10, 2)), TimestampType(timestamp[us, tz=UTC]))
    """
    if match := re.fullmatch(r"list<\w+: (.*)>", text):
        return pa.list_(named_type(match[1]))
    if match := re.fullmatch(r"decimal128\((\d+), (\d+)\)", text):
        return pa.decimal128(int(match[1]), int(match[2]))
    if text == str(TIMESTAMP):
        return TIMESTAMP
    return pa.type_for_alias({"date32[day]": "date32"}.get(text, text))


def view_schema(spec: FeatureViewSpec) -> pa.Schema:
    """Schema of a view's table: keys, event and created time, features, inputs of aggregates, row identity.

    ``table[<keys>, event_timestamp, created_timestamp, <features>, __in_<aggregates>, __batch, __file, __row]``
    """
    fields = [pa.field(key.name, arrow_type(key.type)) for key in spec.entity.join_keys]
    fields += [pa.field(EVENT_TIME, TIMESTAMP), pa.field(CREATED_TIME, TIMESTAMP)]
    fields += [pa.field(f.name, arrow_type(f.type)) for f in spec.features if f.aggregate is None]
    fields += [
        pa.field(aggregate_input(f), arrow_type(aggregate_input_type(f)))
        for f in spec.features
        if f.aggregate is not None
    ]
    return pa.schema([*fields, *SYSTEM_FIELDS])
