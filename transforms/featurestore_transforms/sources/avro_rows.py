"""Values of messages in Avro as rows, by the schema that the spec gives."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import fastavro
import polars as pl

from featurestore.errors import SpecError
from featurestore.resources.avro import Avro, AvroList, AvroStruct, AvroType, avro_columns
from featurestore_transforms.sources.schema_registry import NoSchema, registry_schemas
from featurestore_transforms.sources.stream import LINE, MALFORMED
from featurestore_transforms.steps.column_names import ColumnNames

_HEAD_BYTES = 5
"""Of a value that begins with the number of its schema: a zero, and four bytes.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""
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


class AvroRows:
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
        self._convert = _converter(AvroStruct(columns))
        try:
            self._reader = fastavro.parse_schema(json.loads(avro.schema_))
        except Exception as error:
            raise SpecError(
                "the schema is not one of Avro", where="spec.source, avro.schema", got=str(error)
            ) from error
        self._writers: dict[int, Any] | None = None
        if avro.registry is not None:
            numbers = {number for some in values for value in some if (number := _number(value)) is not None}
            self._writers = registry_schemas(avro.registry, numbers, environ)
        self.names = ColumnNames.of(list(columns))
        self.schema: Mapping[str, pl.DataType] = {
            name: _dtype(columns[own]) for name, own in self.names.originals.items()
        }
        self._refused: Mapping[str, str] = {}

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        return {name: self.schema[name] for name in columns}

    def refuse(self, columns: Mapping[str, str]) -> None:
        """Take no value that has one of these fields, for the reasons given."""
        self._refused = columns

    def frame(self, records: list[bytes], wanted: Collection[str]) -> pl.DataFrame:
        """``frame[<wanted columns>, __malformed, __line]`` of these values, one row for each."""
        rows: list[Mapping[str, Any]] = []
        whys: list[str | None] = []
        for record in records:
            row = self._row(record)
            why = row if isinstance(row, str) else self._why_refused(row)
            rows.append({} if why is not None or isinstance(row, str) else row)
            whys.append(why)
        lines = [
            None if why is None else record.decode(errors="replace")
            for why, record in zip(whys, records, strict=True)
        ]
        series = [
            pl.Series(name, [row.get(own) for row in rows], self.schema[name], strict=True)
            for name, own in self.names.originals.items()
            if name in wanted
        ]
        return pl.DataFrame(
            [*series, pl.Series(MALFORMED, whys, pl.String), pl.Series(LINE, lines, pl.String)]
        )

    def _why_refused(self, row: Mapping[str, Any]) -> str | None:
        return next((why for own, why in self._refused.items() if row.get(own) is not None), None)

    def _row(self, record: bytes) -> dict[str, Any] | str:
        """The fields of a value, or why it has none."""
        data, writer = io.BytesIO(record), self._reader
        if self._writers is not None:
            number = _number(record)
            if number is None:
                return "not Avro of a registry: it does not begin with the number of a schema"
            writer = self._writers[number]
            if isinstance(writer, NoSchema):
                return writer.why
            data.seek(_HEAD_BYTES)
        try:
            row: dict[str, Any] = self._convert(fastavro.schemaless_reader(data, writer, self._reader))
        except RecursionError:
            return "not Avro by its schema: nested too deep"
        except Exception as error:  # noqa: BLE001 - of bytes that are something else, anything comes
            return f"not Avro by its schema: {type(error).__name__} {error}"
        if data.tell() != len(record):
            return f"not Avro by its schema: {len(record) - data.tell()} bytes are left over"
        return row


def _number(value: bytes) -> int | None:
    """Of the schema by which a value of a registry was written."""
    return int.from_bytes(value[1:_HEAD_BYTES]) if len(value) >= _HEAD_BYTES and value[0] == 0 else None


def _dtype(kind: AvroType) -> pl.DataType:
    match kind:
        case AvroList(items):
            return pl.List(_dtype(items))
        case AvroStruct(fields):
            return pl.Struct({name: _dtype(field) for name, field in fields.items()})
        case _:
            return _DTYPES[kind]


def _converter(kind: AvroType) -> Callable[[Any], Any]:
    """What makes of a value one that Polars has, and raises ValueError of a whole number that leaves its type."""
    match kind:
        case AvroList(items):
            convert = _converter(items)
            return lambda value: None if value is None else [convert(item) for item in value]
        case AvroStruct(fields):
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
