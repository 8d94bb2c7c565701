"""A topic of Kafka as a source: where it is, and what of its messages becomes columns."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from featurestore.resources.message_stream import MessageColumns, Stream
from featurestore.resources.value import ColumnName

TOPIC_PATTERN = r"^[A-Za-z0-9._-]+$"
_BROKER = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):[0-9]{1,5}"
SERVERS_PATTERN = rf"^{_BROKER}(,{_BROKER})*$"
"""Addresses of several servers, as ``host:port``."""


class KafkaColumns(MessageColumns):
    key: ColumnName | None = Field(None, description="Column for the key, as text.")
    partition: ColumnName | None = Field(None, description="Column for the partition, as int64.")
    offset: ColumnName | None = Field(None, description="Column for the offset in its partition, as int64.")

    @property
    def of_key(self) -> str | None:
        return self.key

    @property
    def of_partition(self) -> str | None:
        return self.partition

    @property
    def of_offset(self) -> str | None:
        return self.offset


class Kafka(Stream):
    bootstrap_servers: Annotated[
        str, StringConstraints(pattern=SERVERS_PATTERN, min_length=1, max_length=1024)
    ] = Field(description="Brokers to ask first, as `host:port`, with `,` between.")
    topic: Annotated[str, StringConstraints(pattern=TOPIC_PATTERN, min_length=1, max_length=249)] = Field(
        description="Name of the topic."
    )
    include: KafkaColumns = Field(
        KafkaColumns(), description="Columns of a message beside those of its value."
    )
    consumer_group: Annotated[str, StringConstraints(min_length=1, max_length=249)] | None = Field(
        None,
        description="Group whose offsets are set after each commit, for other tools to see: the ledger goes by its own.",
    )

    @property
    def columns(self) -> MessageColumns:
        return self.include

    @property
    def place(self) -> str:
        """Where it is, as people read it.

        >>> Kafka(bootstrapServers="a:9092,b:9092", topic="arrivals", format="JSON").place
        'kafka://a:9092,b:9092/arrivals'
        """
        return f"kafka://{self.bootstrap_servers}/{self.topic}"

    @property
    def servers_opened(self) -> tuple[str, ...]:
        """URIs of the brokers that are asked first.

        >>> Kafka(bootstrapServers="a:9092,b:9092", topic="arrivals", format="JSON").opened
        ('kafka://a:9092', 'kafka://b:9092')
        """
        return tuple(f"kafka://{broker}" for broker in self.bootstrap_servers.split(","))
