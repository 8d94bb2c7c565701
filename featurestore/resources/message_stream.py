"""What all streams as sources have in common: how messages are read, where the first batch begins, what becomes columns."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from featurestore.resources.avro import Avro, avro_columns
from featurestore.resources.metadata import SecretRef
from featurestore.resources.model import Model
from featurestore.resources.protobuf import Protobuf, protobuf_columns
from featurestore.resources.rule import SpecRule, repeated
from featurestore.resources.value import ColumnName

_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z"
EARLIEST, LATEST = "Earliest", "Latest"


class MessageFormat(StrEnum):
    """Formats of values of messages."""

    JSON = "JSON"
    AVRO = "Avro"
    PROTOBUF = "Protobuf"


class OnTombstone(StrEnum):
    """What is done with a message that has no value."""

    QUARANTINE = "Quarantine"
    IGNORE = "Ignore"


HeaderName = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class MessageColumns(Model):
    """Columns beside those of the value, by the names that they are to have."""

    timestamp: ColumnName | None = Field(None, description="Column for the time of the message.")
    headers: dict[HeaderName, ColumnName] = Field(
        {},
        max_length=32,
        description="Header to its column, as text. Of a header that comes twice, the last.",
    )

    @property
    def of_key(self) -> str | None:
        """The column for what names a message, as text."""
        return None

    @property
    def of_partition(self) -> str | None:
        """The column for the partition, as int64."""
        return None

    @property
    def of_offset(self) -> str | None:
        """The column for the position of a message, as int64."""
        return None

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that are named here."""
        own = (self.of_key, self.timestamp, self.of_partition, self.of_offset, *self.headers.values())
        return tuple(name for name in own if name is not None)

    rules = (
        SpecRule(
            message="each part of a message has a column of its own",
            holds=lambda columns: not repeated(name.lower() for name in columns.names),
        ),
    )


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


class Stream(Model):
    """What the fields of each kind of stream are."""

    format: MessageFormat = Field(description="What the value of a message is.")
    avro: Avro | None = Field(None, description="With format Avro: the schema.")
    protobuf: Protobuf | None = Field(None, description="With format Protobuf: the schema.")
    start_at: Annotated[
        str, StringConstraints(pattern=rf"^({EARLIEST}|{LATEST}|{_TIME})$", max_length=32)
    ] = Field(
        EARLIEST,
        description="Where the first batch begins: `Earliest`, `Latest`, or the first message of a time or later, "
        "such as `2024-01-31T00:00:00Z`.",
    )
    on_tombstone: OnTombstone = Field(
        OnTombstone.QUARANTINE, description="What a message without a value does."
    )
    max_messages: int = Field(
        250_000,
        ge=1,
        le=10_000_000,
        description="Messages that one batch takes at most, of all partitions together. Holes count as well, where they are "
        "not told from messages.",
    )
    secret_ref: SecretRef | None = Field(None, description="Secret with what it takes to log in.")

    @property
    def columns(self) -> MessageColumns:
        """What becomes columns beside the value."""
        raise NotImplementedError

    @property
    def place(self) -> str:
        """Where it is, as people read it."""
        raise NotImplementedError

    @property
    def servers_opened(self) -> tuple[str, ...]:
        """URIs of the servers that are asked first."""
        raise NotImplementedError

    @property
    def opened(self) -> tuple[str, ...]:
        """URIs that are opened: of the servers that are asked first, and of the registry of schemas."""
        schemas = [schema for schema in (self.avro, self.protobuf) if schema is not None]
        return (*self.servers_opened, *(schema.registry for schema in schemas if schema.registry))

    @property
    def value_columns(self) -> tuple[str, ...]:
        """Columns of the value, as far as a schema says which there are."""
        if self.avro is not None:
            return tuple(avro_columns(self.avro.schema_))
        if self.protobuf is not None:
            return tuple(protobuf_columns(self.protobuf.descriptor_set, self.protobuf.message))
        return ()

    rules: ClassVar[tuple[SpecRule, ...]] = (
        SpecRule(
            message="startAt must be Earliest, Latest, or a time that exists",
            holds=lambda stream: stream.start_at in (EARLIEST, LATEST) or _is_time(stream.start_at),
            field="startAt",
        ),
        SpecRule(
            message="format Avro takes avro with a schema, and no other format does",
            holds=lambda stream: (stream.format is MessageFormat.AVRO) == (stream.avro is not None),
            cel="(self.format == 'Avro') == has(self.avro)",
            field="avro",
        ),
        SpecRule(
            message="format Protobuf takes protobuf with a schema, and no other format does",
            holds=lambda stream: (stream.format is MessageFormat.PROTOBUF) == (stream.protobuf is not None),
            cel="(self.format == 'Protobuf') == has(self.protobuf)",
            field="protobuf",
        ),
        SpecRule(
            message="include gives no column the name of a field of the schema",
            holds=lambda stream: (
                not stream.value_columns
                or not repeated(map(str.lower, (*stream.value_columns, *stream.columns.names)))
            ),
            field="include",
        ),
    )
