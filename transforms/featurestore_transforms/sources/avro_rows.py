"""Values of messages in Avro as rows, by the schema that the spec gives."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import fastavro
import polars as pl

from featurestore.errors import SpecError
from featurestore.resources.avro import Avro, avro_columns
from featurestore.resources.message_type import MessageList, MessageStruct, MessageType
from featurestore_transforms.sources.schema_registry import (
    HEAD_BYTES,
    NoSchema,
    SchemaFormat,
    registry_schemas,
    schema_number,
)
from featurestore_transforms.sources.schema_rows import SchemaRows

AVRO = SchemaFormat("AVRO", "", lambda schema: fastavro.parse_schema(json.loads(schema)), refers=False)


class AvroRows(SchemaRows):
    """Which columns there are is known from the schema, whatever the values are. By which other schemas they were written
    is asked before the first of them is read.

    Raises:
        SpecError: the schema is not one of Avro.
        StorageError: the registry does not answer.
    """

    def __init__(
        self,
        avro: Avro,
        values: Iterable[list[bytes]],
        environ: Mapping[str, str] | None,
    ) -> None:
        columns = avro_columns(avro.schema_)
        self._convert = _converter(MessageStruct(columns))
        try:
            self._reader = fastavro.parse_schema(json.loads(avro.schema_))
        except Exception as error:
            raise SpecError(
                "the schema is not one of Avro", where="spec.source, avro.schema", got=str(error)
            ) from error
        self._writers: dict[int, Any] | None = None
        if avro.registry is not None:
            self._writers = registry_schemas(avro.registry, values, environ, AVRO)
        super().__init__(columns)

    def frame(self, records: list[bytes], wanted: Collection[str]) -> pl.DataFrame:
        """``frame[<wanted columns>, __malformed, __line]`` of these values, one row for each."""
        rows: list[Mapping[str, Any]] = []
        whys: list[str | None] = []
        for record in records:
            row = self._row(record)
            why = row if isinstance(row, str) else self._why_refused(row)
            rows.append({} if why is not None or isinstance(row, str) else row)
            whys.append(why)
        return self._frame(records, whys, lambda own: [row.get(own) for row in rows], wanted)

    def _why_refused(self, row: Mapping[str, Any]) -> str | None:
        return next((why for own, why in self._refused.items() if row.get(own) is not None), None)

    def _row(self, record: bytes) -> dict[str, Any] | str:
        """The fields of a value, or why it has none."""
        data, writer = io.BytesIO(record), self._reader
        if self._writers is not None:
            number = schema_number(record)
            if number is None:
                return "not Avro of a registry: it does not begin with the number of a schema"
            writer = self._writers[number]
            if isinstance(writer, NoSchema):
                return writer.why
            data.seek(HEAD_BYTES)
        try:
            row: dict[str, Any] = self._convert(fastavro.schemaless_reader(data, writer, self._reader))
        except RecursionError:
            return "not Avro by its schema: nested too deep"
        except Exception as error:  # noqa: BLE001 - of bytes that are something else, anything comes
            return f"not Avro by its schema: {type(error).__name__} {error}"
        if data.tell() != len(record):
            return f"not Avro by its schema: {len(record) - data.tell()} bytes are left over"
        return row


def _converter(kind: MessageType) -> Callable[[Any], Any]:
    """What makes of a value one that Polars has, and raises ValueError of a whole number that leaves its type."""
    match kind:
        case MessageList(items):
            convert = _converter(items)
            return lambda value: None if value is None else [convert(item) for item in value]
        case MessageStruct(fields):
            converters = {name: _converter(field) for name, field in fields.items()}
            return lambda value: (
                None
                if value is None
                else {name: convert(value[name]) for name, convert in converters.items()}
            )
        case "int32" | "int64":
            return _bounded(1 << 31 if kind == "int32" else 1 << 63)
        case "string":
            return lambda value: None if value is None else str(value)  # Of an uuid, too.
        case _:
            return lambda value: value


def _bounded(most: int) -> Callable[[int | None], int | None]:
    def bounded(value: int | None) -> int | None:
        if value is not None and not -most <= value < most:
            raise ValueError(f"{value} leaves its type")
        return value

    return bounded
