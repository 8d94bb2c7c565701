"""A schema of Avro, as far as its values are read: which columns a record has, and of which types.

Source of the names and rules: the specification of Avro 1.12, https://avro.apache.org/docs/1.12.0/specification/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from featurestore.resources.message_type import DEEPEST, MessageList, MessageStruct, MessageType, RegistryUrl
from featurestore.resources.model import Model

_SCALARS = {
    "boolean": "bool",
    "int": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "string",
    "bytes": "bytes",
}
_LOGICAL = {
    ("int", "date"): "date",
    ("long", "timestamp-millis"): "timestamp",
    ("long", "timestamp-micros"): "timestamp",
    ("string", "uuid"): "string",
}
_NOT_READ = ("decimal", "time-millis", "time-micros", "timestamp-nanos", "duration", "big-decimal")
"""Logical types whose values would be other ones as what they are made of."""


def avro_columns(schema: str) -> Mapping[str, MessageType]:
    """The fields of a record with their types, in its order.

    >>> fields = '[{"name": "user", "type": ["null", "string"]}, {"name": "n", "type": "int"}]'
    >>> dict(avro_columns('{"type": "record", "name": "Click", "fields": %s}' % fields))
    {'user': 'string', 'n': 'int32'}

    Raises:
        ValueError: it is not the schema of a record, or has a type that is not read.
    """
    try:
        declared = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(declared, dict) or declared.get("type") != "record":
        raise ValueError('it is not a record: wanted {"type": "record", …}')
    record = _Names().read(declared, "", "", 0)
    assert isinstance(record, MessageStruct)
    return record.fields


class _Names:
    """What has a name so far; None while it is being read."""

    def __init__(self) -> None:
        self._known: dict[str, MessageType | None] = {}

    def read(self, declared: Any, space: str, where: str, depth: int) -> MessageType:
        """The type that is told in a namespace. Raises ValueError, with ``where`` it is."""
        if depth > DEEPEST:
            raise ValueError(f"{where} is nested deeper than {DEEPEST} levels")
        match declared:
            case list():
                some = [branch for branch in declared if branch != "null"]
                if len(some) != 1:
                    raise ValueError(f"{where} is a union of several types, or of none: wanted one, and null")
                return self.read(some[0], space, where, depth + 1)
            case str() if declared in _SCALARS:
                return _SCALARS[declared]
            case str():
                name = declared if "." in declared or not space else f"{space}.{declared}"
                if (known := self._known.get(name)) is None:
                    inside = " inside of itself" if name in self._known else ""
                    raise ValueError(f"{where} has the type {declared!r}, which is not read{inside}")
                return known
            case dict():
                return self._complex(declared, space, where, depth)
        raise ValueError(f"{where} has no type")

    def _complex(self, declared: dict[str, Any], space: str, where: str, depth: int) -> MessageType:
        kind, logical = declared.get("type"), declared.get("logicalType")
        if logical in _NOT_READ:
            raise ValueError(f"{where} has the logical type {logical!r}, which is not read")
        match kind:
            case "record" | "enum" | "fixed":
                return self._named(declared, space, where, depth)
            case "array":
                return MessageList(self.read(declared.get("items"), space, f"{where}[]", depth + 1))
            case str() if kind in _SCALARS:
                return _LOGICAL.get((kind, str(logical)), _SCALARS[kind])
            case dict() | list():
                return self.read(kind, space, where, depth + 1)
        raise ValueError(f"{where} has the type {kind!r}, which is not read")

    def _named(self, declared: dict[str, Any], space: str, where: str, depth: int) -> MessageType:
        name = declared.get("name")
        if not isinstance(name, str) or not name:
            raise ValueError(f"the type of {where or 'the whole'} has no name")
        if "." not in name:
            space = str(declared.get("namespace") or space)
            name = f"{space}.{name}" if space else name
        self._known[name] = None
        avro_type: MessageType = "string" if declared["type"] == "enum" else "bytes"
        if declared["type"] == "record":
            avro_type = MessageStruct(
                self._fields(declared.get("fields"), name.rpartition(".")[0], where, depth)
            )
        self._known[name] = avro_type
        return avro_type

    def _fields(self, declared: Any, space: str, where: str, depth: int) -> dict[str, MessageType]:
        if not isinstance(declared, list) or not declared:
            raise ValueError(f"{where or 'the record'} has no fields")
        fields: dict[str, MessageType] = {}
        for field in declared:
            name = field.get("name") if isinstance(field, dict) else None
            if not isinstance(name, str) or not name:
                raise ValueError(f"a field of {where or 'the record'} has no name")
            if name.lower() in map(str.lower, fields):
                raise ValueError(f"there are two fields {name!r}, in upper or lower case")
            fields[name] = self.read(field.get("type"), space, f"{where}.{name}".lstrip("."), depth + 1)
        return fields


def _checked(schema: str) -> str:
    try:
        avro_columns(schema)
    except ValueError as error:
        raise ValueError(f"the schema of a record in Avro, of types that are read: {error}") from None
    return schema


class Avro(Model):
    """How values of messages are read that are written in Avro."""

    schema_: Annotated[str, StringConstraints(min_length=2, max_length=65_536), AfterValidator(_checked)] = (
        Field(
            alias="schema",
            description="Schema of the values as they are read, JSON: a record. Values that were written by another one are "
            "resolved to it by Avro's rules.",
        )
    )
    registry: RegistryUrl | None = Field(
        None,
        description="URL of the registry that has the schemas by which values were written, whose numbers values begin with. "
        "Without it, values are written by this schema and begin with nothing.",
    )
