"""A topic of Kafka as a source: where it is, how its messages are read, and what of them becomes columns."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from featurestore.resources.avro import Avro, avro_columns
from featurestore.resources.metadata import SecretRef
from featurestore.resources.model import Model
from featurestore.resources.rule import SpecRule, repeated
from featurestore.resources.value import ColumnName

TOPIC_PATTERN = r"^[A-Za-z0-9._-]+$"
_BROKER = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):[0-9]{1,5}"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z"
EARLIEST, LATEST = "Earliest", "Latest"


class MessageFormat(StrEnum):
    """Formats of values of messages."""

    JSON = "JSON"
    AVRO = "Avro"


class OnTombstone(StrEnum):
    """What is done with a message that has no value."""

    QUARANTINE = "Quarantine"
    IGNORE = "Ignore"


HeaderName = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class MessageColumns(Model):
    """Columns beside those of the value, by the names that they are to have."""

    key: ColumnName | None = Field(None, description="Column for the key, as text.")
    timestamp: ColumnName | None = Field(None, description="Column for the time of the message.")
    partition: ColumnName | None = Field(None, description="Column for the partition, as int64.")
    offset: ColumnName | None = Field(None, description="Column for the offset in its partition, as int64.")
    headers: dict[HeaderName, ColumnName] = Field(
        {},
        max_length=32,
        description="Header to its column, as text. Of a header that comes twice, the last.",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that are named here."""
        own = (self.key, self.timestamp, self.partition, self.offset, *self.headers.values())
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


class Kafka(Model):
    bootstrap_servers: Annotated[
        str, StringConstraints(pattern=rf"^{_BROKER}(,{_BROKER})*$", min_length=1, max_length=1024)
    ] = Field(description="Brokers to ask first, as `host:port`, with `,` between.")
    topic: Annotated[str, StringConstraints(pattern=TOPIC_PATTERN, min_length=1, max_length=249)] = Field(
        description="Name of the topic."
    )
    format: MessageFormat = Field(description="What the value of a message is.")
    avro: Avro | None = Field(None, description="With format Avro: the schema.")
    start_at: Annotated[
        str, StringConstraints(pattern=rf"^({EARLIEST}|{LATEST}|{_TIME})$", max_length=32)
    ] = Field(
        EARLIEST,
        description="Where the first batch begins: `Earliest`, `Latest`, or the first message of a time or later, "
        "such as `2024-01-31T00:00:00Z`.",
    )
    include: MessageColumns = Field(
        MessageColumns(), description="Columns of a message beside those of its value."
    )
    on_tombstone: OnTombstone = Field(
        OnTombstone.QUARANTINE, description="What a message without a value does."
    )
    max_messages: int = Field(
        250_000,
        ge=1,
        le=10_000_000,
        description="Offsets that one batch takes at most, of all partitions together.",
    )
    consumer_group: Annotated[str, StringConstraints(min_length=1, max_length=249)] | None = Field(
        None,
        description="Group whose offsets are set after each commit, for other tools to see: the ledger goes by its own.",
    )
    secret_ref: SecretRef | None = Field(
        None, description="Secret with what it takes to log in to the brokers."
    )
    rules = (
        SpecRule(
            message="startAt must be Earliest, Latest, or a time that exists",
            holds=lambda kafka: kafka.start_at in (EARLIEST, LATEST) or _is_time(kafka.start_at),
            field="startAt",
        ),
        SpecRule(
            message="format Avro takes avro with a schema, and no other format does",
            holds=lambda kafka: (kafka.format is MessageFormat.AVRO) == (kafka.avro is not None),
            cel="(self.format == 'Avro') == has(self.avro)",
            field="avro",
        ),
        SpecRule(
            message="include gives no column the name of a field of the schema",
            holds=lambda kafka: (
                kafka.avro is None
                or not repeated(map(str.lower, (*avro_columns(kafka.avro.schema_), *kafka.include.names)))
            ),
            field="include",
        ),
    )

    @property
    def place(self) -> str:
        """Where it is, as people read it.

        >>> Kafka(bootstrapServers="a:9092,b:9092", topic="arrivals", format="JSON").place
        'kafka://a:9092,b:9092/arrivals'
        """
        return f"kafka://{self.bootstrap_servers}/{self.topic}"

    @property
    def opened(self) -> tuple[str, ...]:
        """URIs that are opened: of the brokers that are asked first, and of the registry of schemas.

        >>> Kafka(bootstrapServers="a:9092,b:9092", topic="arrivals", format="JSON").opened
        ('kafka://a:9092', 'kafka://b:9092')
        """
        brokers = (f"kafka://{broker}" for broker in self.bootstrap_servers.split(","))
        registry = self.avro.registry if self.avro is not None else None
        return (*brokers, *((registry,) if registry else ()))
