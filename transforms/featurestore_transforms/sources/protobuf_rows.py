"""Values of messages in Protobuf as rows, by the schema that the spec gives."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from featurestore.errors import SpecError
from featurestore.resources.message_type import MessageList, MessageStruct, MessageType
from featurestore.resources.protobuf import Protobuf, protobuf_columns
from featurestore.timestamps import EPOCH
from featurestore_transforms.sources.schema_registry import (
    HEAD_BYTES,
    NoSchema,
    SchemaFormat,
    registry_schemas,
    schema_number,
)
from featurestore_transforms.sources.schema_rows import SchemaRows

Convert = Callable[[Any], Any]
"""Of a value as the library has it makes one that Polars has. Raises ValueError of one that no column keeps."""
_EARLIEST_S, _LATEST_S = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, to which timestamps are bound by their definition."""
_LONGEST_S = 315_576_000_000
_NANOS = 1_000_000_000
PROTOBUF = SchemaFormat(
    "PROTOBUF",
    "?format=serialized",
    lambda schema: descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(schema, validate=True)),
    refers=True,
)


class ProtobufRows(SchemaRows):
    """Which columns there are is known from the schema, whatever the values are.

    Raises:
        SpecError: the schema is not one of Protobuf.
        StorageError: the registry does not answer.
    """

    def __init__(
        self, protobuf: Protobuf, values: Iterable[list[bytes]], environ: Mapping[str, str] | None
    ) -> None:
        columns = protobuf_columns(protobuf.descriptor_set, protobuf.message)
        try:
            descriptor = _descriptor(protobuf)
            self._class: type[Message] = message_factory.GetMessageClass(descriptor)
        except Exception as error:
            raise SpecError(
                "the schema is not one of Protobuf", where="spec.source, protobuf", got=str(error)
            ) from error
        self._message = protobuf.message
        self._fields = {field.name: _field(field, columns[field.name]) for field in descriptor.fields}
        self._optional = {field.name for field in descriptor.fields if _may_be_absent(field)}
        self._require_known = _require_known(descriptor)
        self._writers: dict[int, Any] | None = None
        if protobuf.registry is not None:
            self._writers = registry_schemas(protobuf.registry, values, environ, PROTOBUF)
        self._names_written: dict[tuple[int, bytes], str] = {}
        super().__init__(columns)

    def frame(self, records: list[bytes], wanted: Collection[str]) -> pl.DataFrame:
        """``frame[<wanted columns>, __malformed, __line]`` of these values, one row for each."""
        whys: list[str | None] = [None] * len(records)
        messages: list[Message | None] = []
        for place, record in enumerate(records):
            try:
                messages.append(self._parsed(record))
            except (ValueError, DecodeError) as error:
                messages.append(None)
                whys[place] = f"not Protobuf by its schema: {error}"
        read = {own: self._column(own, messages, whys) for own in self._fields}
        bad = [place for place, why in enumerate(whys) if why is not None]
        for values in read.values():
            for place in bad:
                values[place] = None
        return self._frame(records, whys, read.__getitem__, wanted)

    def _column(self, own: str, messages: list[Message | None], whys: list[str | None]) -> list[Any]:
        """The field of each message, and why it has none."""
        read = self._fields[own]
        values: list[Any] = []
        for place, message in enumerate(messages):
            value = None
            if message is not None:
                try:
                    value = read(message)
                except (ValueError, OverflowError) as error:
                    whys[place] = whys[place] or f"not Protobuf by its schema: {own}: {error}"
            values.append(value)
        if (why := self._refused.get(own)) is not None:
            for place, value in enumerate(values):
                if value is not None and (own in self._optional or value):
                    whys[place] = whys[place] or why
        return values

    def _parsed(self, record: bytes) -> Message:
        message = self._class.FromString(self._body(record) if self._writers is not None else record)
        self._require_known(message)
        if not message.IsInitialized():
            raise ValueError(f"it lacks {', '.join(message.FindInitializationErrors())}")
        return message

    def _body(self, record: bytes) -> bytes:
        """The value after what a registry's serializer writes before it, if it is of the message that is wanted."""
        assert self._writers is not None
        number = schema_number(record)
        if number is None:
            raise ValueError("it does not begin with the number of a registry's schema")
        writer = self._writers[number]
        if isinstance(writer, NoSchema):
            raise ValueError(writer.why)
        path, start = _indexes(record)
        key = number, record[HEAD_BYTES:start]
        if (name := self._names_written.get(key)) is None:
            name = self._names_written[key] = _name(writer, path)
        if name != self._message:
            raise ValueError(f"it is of message {name!r}, wanted {self._message!r}")
        return record[start:]


def _descriptor(protobuf: Protobuf) -> Descriptor:
    files = descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(protobuf.descriptor_set))
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool.FindMessageTypeByName(protobuf.message)


def _indexes(record: bytes) -> tuple[list[int], int]:
    """Which message of the schema a value is, from outer to inner ones; and where the value itself begins.

    https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
    """
    count, at = _zigzag(record, HEAD_BYTES)
    if not 0 <= count <= len(record):
        raise ValueError("it has no message indexes after the number of its schema")
    path = []
    for _ in range(count):
        index, at = _zigzag(record, at)
        path.append(index)
    return path or [0], at


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return (value >> 1) ^ -(value & 1), at
    raise ValueError("it has no message indexes after the number of its schema")


def _name(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str:
    names = [file.package] if file.package else []
    messages = file.message_type
    for index in path:
        if not 0 <= index < len(messages):
            raise ValueError(f"its schema has no message {path}")
        names.append(messages[index].name)
        messages = messages[index].nested_type
    return ".".join(names)


def _may_be_absent(field: FieldDescriptor) -> bool:
    return field.has_presence and not field.has_default_value


def _field(field: FieldDescriptor, kind: MessageType) -> Convert:
    """What takes the field out of a message: None if it may be absent, and is."""
    name = field.name
    if isinstance(kind, MessageList):
        return _repeated(field, kind)
    convert = _converter(field, kind)
    if _may_be_absent(field):
        return lambda message: convert(getattr(message, name)) if message.HasField(name) else None
    return lambda message: convert(getattr(message, name))


def _repeated(field: FieldDescriptor, kind: MessageList) -> Convert:
    name = field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        assert isinstance(kind.items, MessageStruct)
        parts = field.message_type.fields_by_name
        key = _converter(parts["key"], kind.items.fields["key"])
        value = _converter(parts["value"], kind.items.fields["value"])
        return lambda message: [
            {"key": key(one), "value": value(held[one])}
            for held in (getattr(message, name),)
            for one in sorted(held)
        ]
    convert = _converter(field, kind.items)
    return lambda message: [convert(item) for item in getattr(message, name)]


def _converter(field: FieldDescriptor, kind: MessageType) -> Convert:
    """What makes of one value of the field one that Polars has."""
    if isinstance(kind, MessageStruct):
        return _struct(field.message_type, kind)
    if field.enum_type is not None:
        return _enum(field)
    if field.message_type is not None:
        return _well_known(field.message_type)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text
    return _bounded if field.cpp_type == FieldDescriptor.CPPTYPE_UINT64 else _same


def _struct(descriptor: Descriptor, kind: MessageStruct) -> Convert:
    fields = {field.name: _field(field, kind.fields[field.name]) for field in descriptor.fields}
    require_known = _require_known(descriptor)

    def struct(message: Message) -> dict[str, Any]:
        require_known(message)
        return {name: read(message) for name, read in fields.items()}

    return struct


def _require_known(descriptor: Descriptor) -> Callable[[Message], None]:
    """What raises ValueError of a field of the schema that the library put aside: of another type, or an unknown number."""
    numbers = descriptor.fields_by_number

    def require_known(message: Message) -> None:
        for unknown in UnknownFieldSet(message):
            if unknown.field_number in numbers:
                name = numbers[unknown.field_number].name
                raise ValueError(
                    f"{name} was written as another type, or is a number that its enum does not name"
                )

    return require_known


def _enum(field: FieldDescriptor) -> Convert:
    names = {number: value.name for number, value in field.enum_type.values_by_number.items()}

    def enum(number: int) -> Any:
        if number not in names:
            raise ValueError(f"{field.enum_type.full_name} has no name for {number}")
        return names[number]

    return enum


def _well_known(descriptor: Descriptor) -> Convert:
    match descriptor.full_name.rpartition(".")[2]:
        case "Timestamp":
            return _timestamp
        case "Duration":
            return _duration
        case "UInt64Value":
            return lambda message: _bounded(message.value)
    return lambda message: message.value


def _timestamp(message: Any) -> datetime:
    seconds, nanos = message.seconds, message.nanos
    if not (_EARLIEST_S <= seconds <= _LATEST_S and 0 <= nanos < _NANOS):
        raise ValueError(f"{seconds} s and {nanos} ns are not a timestamp")
    if nanos % 1000:
        raise ValueError(f"a time with {nanos} ns is finer than a microsecond")
    return EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def _duration(message: Any) -> int:
    """In microseconds."""
    seconds, nanos = message.seconds, message.nanos
    if not (abs(seconds) <= _LONGEST_S and abs(nanos) < _NANOS and seconds * nanos >= 0):
        raise ValueError(f"{seconds} s and {nanos} ns are not a duration")
    if nanos % 1000:
        raise ValueError(f"a duration with {nanos} ns is finer than a microsecond")
    return int(seconds * 1_000_000 + nanos // 1000)


def _bounded(value: int) -> int:
    if value >= 1 << 63:
        raise ValueError(f"{value} leaves int64")
    return value


def _text(value: str | bytes) -> str:
    if not isinstance(
        value, str
    ):  # The library gives bytes that are not UTF-8 as they are, where proto2 lets them pass.
        raise ValueError("it is not UTF-8")
    return value


def _same(value: Any) -> Any:
    return value
