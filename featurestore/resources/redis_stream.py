"""A stream of Redis as a source: where it is, and what of its messages becomes columns."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from featurestore.resources.message_stream import MessageColumns, MessageFormat, Stream
from featurestore.resources.rule import SpecRule
from featurestore.resources.value import ColumnName

_HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)"
URL_PATTERN = rf"^rediss?://{_HOST}(:[0-9]{{1,5}})?(/[0-9]{{1,5}})?$"


class RedisColumns(MessageColumns):
    id: ColumnName | None = Field(None, description="Column for the id, as text such as `1704067200000-0`.")

    @property
    def of_key(self) -> str | None:
        return self.id


class RedisStream(Stream):
    url: Annotated[str, StringConstraints(pattern=URL_PATTERN, min_length=1, max_length=1024)] = Field(
        description="URL of the server, such as `redis://host:6379/0` or, with TLS, `rediss://host:6379`."
    )
    stream: Annotated[str, StringConstraints(pattern=r"^[^\s/]+$", min_length=1, max_length=512)] = Field(
        description="Key of the stream."
    )
    field: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        None,
        description="Field that has the value of a message. Default: each field of a message is a column.",
    )
    include: RedisColumns = Field(
        RedisColumns(),
        description="Columns of a message beside those of its value; `headers` are its other fields.",
    )

    @property
    def columns(self) -> MessageColumns:
        return self.include

    @property
    def place(self) -> str:
        """Where it is, as people read it.

        >>> RedisStream(url="redis://a:6379/0", stream="clicks", format="JSON").place
        'redis://a:6379/0/clicks'
        """
        return f"{self.url}/{self.stream}"

    @property
    def servers_opened(self) -> tuple[str, ...]:
        return (self.url,)

    rules = (
        *Stream.rules,
        SpecRule(
            message="without field, the fields of a message are columns: its format is JSON, and it has no headers",
            holds=lambda stream: (
                stream.field is not None
                or (stream.format is MessageFormat.JSON and not stream.include.headers)
            ),
            cel="has(self.field) || (self.format == 'JSON' && (!has(self.include) || !has(self.include.headers)"
            " || self.include.headers.size() == 0))",
            field="field",
        ),
    )
