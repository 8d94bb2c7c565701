"""A schema of Protobuf, as far as its values are read: which columns a message has, and of which types.

It is a serialized ``FileDescriptorSet``, which is itself a message of Protobuf. The few fields of it that count are read here:
the controller has no library for them.

Source of the numbers: https://github.com/protocolbuffers/protobuf/blob/main/src/google/protobuf/descriptor.proto, and
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from featurestore.resources.message_type import DEEPEST, MessageList, MessageStruct, MessageType, RegistryUrl
from featurestore.resources.model import Model

_SCALARS = {
    1: "float64",
    2: "float32",
    3: "int64",
    4: "int64",
    5: "int32",
    6: "int64",
    7: "int64",
    8: "bool",
    9: "string",
    12: "bytes",
    13: "int64",
    14: "string",
    15: "int32",
    16: "int64",
    17: "int32",
    18: "int64",
}
"""Numbers of field types; 14 is an enum. What is unsigned may leave int64: such a value is a bad message."""
_MESSAGES = (10, 11)
_REPEATED = 3
_WELL_KNOWN = {
    ".google.protobuf.Timestamp": "timestamp",
    ".google.protobuf.Duration": "int64",
    ".google.protobuf.DoubleValue": "float64",
    ".google.protobuf.FloatValue": "float32",
    ".google.protobuf.Int64Value": "int64",
    ".google.protobuf.UInt64Value": "int64",
    ".google.protobuf.Int32Value": "int32",
    ".google.protobuf.UInt32Value": "int64",
    ".google.protobuf.BoolValue": "bool",
    ".google.protobuf.StringValue": "string",
    ".google.protobuf.BytesValue": "bytes",
}
_NOT_READ = tuple(f".google.protobuf.{name}" for name in ("Any", "Struct", "Value", "ListValue"))


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    label: int
    number: int
    type_name: str


def protobuf_columns(descriptor_set: str, message: str) -> Mapping[str, MessageType]:
    """The fields of a message with their types, in its order.

    Raises:
        ValueError: it is not a FileDescriptorSet in base64, lacks the message or a file that is imported, or a type is not read.
    """
    try:
        data = base64.b64decode("".join(descriptor_set.split()), validate=True)
    except ValueError as error:
        raise ValueError(f"it is not base64: {error}") from None
    messages: dict[str, tuple[_Field, ...]] = {}
    files: set[str] = set()
    imported: set[str] = set()
    for number, value in _parts(data):
        if number == 1:
            parts = list(_parts(_bytes(value)))
            files.update(_text(one) for field, one in parts if field == 1)
            imported.update(_text(one) for field, one in parts if field == 3)
            package = "".join(f".{_text(one)}" for field, one in parts if field == 2)
            for field, one in parts:
                if field == 4:
                    messages.update(_messages(_bytes(one), package, 0))
    if lacking := sorted(imported - files):
        raise ValueError(
            f"the set lacks {lacking[0]}, which is imported: make it with protoc --include_imports"
        )
    if f".{message}" not in messages:
        names = ", ".join(sorted(name[1:] for name in messages)[:20])
        raise ValueError(f"the set has no message {message!r}, but: {names or 'none'}")
    return _struct(messages, f".{message}", "", ()).fields


def _struct(
    messages: Mapping[str, tuple[_Field, ...]], name: str, where: str, outer: tuple[str, ...]
) -> MessageStruct:
    if name in outer:
        raise ValueError(f"{where} has the type {name[1:]!r} inside of itself, which is not read")
    if len(outer) > DEEPEST:
        raise ValueError(f"{where} is nested deeper than {DEEPEST} levels")
    if name in _NOT_READ:
        raise ValueError(f"{where} has the type {name[1:]!r}, which is not read")
    if not (declared := messages.get(name)):
        lack = "which the set does not have" if declared is None else "which has no fields"
        raise ValueError(f"{where or 'the whole'} has the type {name[1:]!r}, {lack}")
    fields: dict[str, MessageType] = {}
    for field in declared:
        if field.name.lower() in map(str.lower, fields):
            raise ValueError(f"there are two fields {field.name!r}, in upper or lower case")
        inside = f"{where}.{field.name}".lstrip(".")
        message_type: MessageType
        if field.number in _MESSAGES and field.type_name not in _WELL_KNOWN:
            message_type = _struct(messages, field.type_name, inside, (*outer, name))
        elif field.number in _MESSAGES:
            message_type = _WELL_KNOWN[field.type_name]
        elif field.number in _SCALARS:
            message_type = _SCALARS[field.number]
        else:
            raise ValueError(f"{inside} has no type")
        fields[field.name] = MessageList(message_type) if field.label == _REPEATED else message_type
    return MessageStruct(fields)


def _messages(data: bytes, outer: str, depth: int) -> Iterator[tuple[str, tuple[_Field, ...]]]:
    """A message and those inside of it, by their full names."""
    if depth > DEEPEST:
        raise ValueError(f"messages are declared inside of others deeper than {DEEPEST} levels")
    parts = list(_parts(data))
    name = f"{outer}.{next((_text(value) for number, value in parts if number == 1), '')}"
    yield name, tuple(_field(_bytes(value)) for number, value in parts if number == 2)
    for number, value in parts:
        if number == 3:
            yield from _messages(_bytes(value), name, depth + 1)


def _field(data: bytes) -> _Field:
    parts = dict(_parts(data))
    label, number = parts.get(4, 0), parts.get(5, 0)
    if isinstance(label, bytes) or isinstance(number, bytes):
        raise ValueError("it is not a FileDescriptorSet")
    return _Field(_text(parts.get(1, b"")), label, number, _text(parts.get(6, b"")))


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("it is not a FileDescriptorSet")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        raise ValueError("it is not a FileDescriptorSet: a name is not UTF-8") from None


def _parts(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message of any type, with their numbers."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value: int | bytes
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
            case 1 | 5 as width:
                length = 8 if width == 1 else 4
                value, at = data[at : at + length], at + length
            case 2:
                length, at = _varint(data, at)
                value, at = data[at : at + length], at + length
            case _:
                raise ValueError("it is not a FileDescriptorSet")
        if at > len(data):
            raise ValueError("it is not a FileDescriptorSet, or a part of one")
        yield tag >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at + place >= len(data):
            raise ValueError("it is not a FileDescriptorSet, or a part of one")
        value |= (data[at + place] & 0x7F) << 7 * place
        if data[at + place] < 0x80:
            return value, at + place + 1
    raise ValueError("it is not a FileDescriptorSet")


class Protobuf(Model):
    """How values of messages are read that are written in Protobuf."""

    descriptor_set: Annotated[
        str, StringConstraints(min_length=4, max_length=262_144, pattern=r"^[A-Za-z0-9+/=\s]+$")
    ] = Field(
        description="The schema as a FileDescriptorSet in base64: "
        "`protoc --include_imports --descriptor_set_out=/dev/stdout click.proto | base64`."
    )
    message: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$", max_length=512)
    ] = Field(description="Full name of the message that a value is, such as `shop.Click`.")
    registry: RegistryUrl | None = Field(
        None,
        description="URL of the registry that has the schemas by which values were written, whose numbers and messages "
        "values begin with. Without it, values begin with nothing.",
    )

    @field_validator("message")
    @classmethod
    def _is_read(cls, message: str, info: ValidationInfo) -> str:
        if "descriptor_set" in info.data:
            try:
                protobuf_columns(info.data["descriptor_set"], message)
            except ValueError as error:
                raise ValueError(f"a message of descriptorSet, of types that are read: {error}") from None
        return message
