"""A stream of NATS JetStream as a source: where it is, and what of its messages becomes columns."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from featurestore.resources.kafka import SERVERS_PATTERN
from featurestore.resources.message_stream import MessageColumns, Stream
from featurestore.resources.value import ColumnName

SUBJECT_PATTERN = r"^[^\s.*>]+(\.[^\s.*>]+|\.\*)*(\.>)?$|^\*(\.[^\s.*>]+|\.\*)*(\.>)?$"
"""A subject, with wildcards as NATS has them."""


class NatsColumns(MessageColumns):
    subject: ColumnName | None = Field(None, description="Column for the subject, as text.")
    sequence: ColumnName | None = Field(
        None, description="Column for the sequence number in the stream, as int64."
    )

    @property
    def of_key(self) -> str | None:
        return self.subject

    @property
    def of_offset(self) -> str | None:
        return self.sequence


class Nats(Stream):
    servers: Annotated[str, StringConstraints(pattern=SERVERS_PATTERN, min_length=1, max_length=1024)] = (
        Field(description="Servers to connect to, as `host:port`, with `,` between.")
    )
    stream: Annotated[str, StringConstraints(pattern=r"^[^\s.*>/\\]+$", min_length=1, max_length=255)] = (
        Field(description="Name of the stream of JetStream.")
    )
    subject: Annotated[str, StringConstraints(pattern=SUBJECT_PATTERN, max_length=255)] | None = Field(
        None, description="Take only messages of these subjects, such as `clicks.*`."
    )
    include: NatsColumns = Field(NatsColumns(), description="Columns of a message beside those of its value.")

    @property
    def columns(self) -> MessageColumns:
        return self.include

    @property
    def place(self) -> str:
        """Where it is, as people read it.

        >>> Nats(servers="a:4222", stream="clicks", format="JSON").place
        'nats://a:4222/clicks'
        """
        return f"nats://{self.servers}/{self.stream}"

    @property
    def servers_opened(self) -> tuple[str, ...]:
        return tuple(f"nats://{server}" for server in self.servers.split(","))
