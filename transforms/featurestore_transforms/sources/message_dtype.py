"""Types of messages' columns, as Polars has them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from featurestore.resources.message_type import MessageList, MessageStruct, MessageType

_DTYPES: Mapping[str, pl.DataType] = {
    "bool": pl.Boolean(),
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "float32": pl.Float32(),
    "float64": pl.Float64(),
    "string": pl.String(),
    "bytes": pl.Binary(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"),
}


def message_dtype(kind: MessageType) -> pl.DataType:
    match kind:
        case MessageList(items):
            return pl.List(message_dtype(items))
        case MessageStruct(fields):
            return pl.Struct({name: message_dtype(field) for name, field in fields.items()})
        case _:
            return _DTYPES[kind]
