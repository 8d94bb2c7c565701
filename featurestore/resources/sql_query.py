"""A table or query of a SQL database as a source: where it is, which column tells new rows, where the first batch begins."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from featurestore.resources.metadata import SecretRef
from featurestore.resources.model import Model
from featurestore.resources.quantity import Duration
from featurestore.resources.rule import SpecRule, exactly_one

EARLIEST, LATEST = "Earliest", "Latest"
_HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)"
_URI = rf"^postgresql://{_HOST}(:[0-9]{{1,5}})?/[A-Za-z0-9_][A-Za-z0-9_.-]*$"
_TABLE = r'^[^".\s]([^".]*[^".\s])?(\.[^".\s]([^".]*[^".\s])?)?$'
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z"
_NUMBER = r"-?[0-9]{1,18}"
_AUTHORITY = re.compile(r"^postgresql://(\[[^\]]+\]|[^:/]+)(?::([0-9]+))?/(.+)$")
_PORT = 5432
_MOST_QUERY = 16_384

DatabaseColumn = Annotated[str, StringConstraints(min_length=1, max_length=63)]
"""The name of a column as the database has it: upper and lower case are not the same."""


def _is_time_or_number(text: str) -> bool:
    if re.fullmatch(_NUMBER, text):
        return True
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


class SqlQuery(Model):
    """Rows of PostgreSQL. A row arrives when its ``watermark`` is greater than those that were read."""

    uri: Annotated[str, StringConstraints(pattern=_URI, min_length=1, max_length=1024)] = Field(
        description="Database, as `postgresql://host:5432/database`, without a login."
    )
    table: Annotated[str, StringConstraints(pattern=_TABLE, max_length=127)] | None = Field(
        None, description="Table or view to read, such as `orders` or `shop.orders`."
    )
    query: Annotated[str, StringConstraints(min_length=1, max_length=_MOST_QUERY)] | None = Field(
        None, description="SELECT whose rows are read, as a part of another one."
    )
    watermark: DatabaseColumn = Field(
        description="Column that grows with each row that comes, and where a row changes: of type timestamptz, timestamp, "
        "bigint, integer or smallint. It should have an index."
    )
    key: DatabaseColumn = Field(
        description="Column that has another value in each row, such as the primary key."
    )
    start_at: Annotated[
        str, StringConstraints(pattern=rf"^({EARLIEST}|{LATEST}|{_NUMBER}|{_TIME})$", max_length=32)
    ] = Field(
        EARLIEST,
        description="Where the first batch begins: `Earliest`, all rows; `Latest`, rows that come later; or rows whose "
        "watermark is a time such as `2024-01-31T00:00:00Z` or an integer such as `'1000'`, or greater.",
    )
    settle: Duration = Field(
        timedelta(seconds=5),
        description="A batch takes watermarks that were there for this long, and of which no transaction is open any more "
        "that was writing when they came.",
    )
    max_rows: int = Field(
        250_000,
        ge=1,
        le=100_000_000,
        description="Rows that one batch takes at most, and all that have the same watermark as the last of them.",
    )
    secret_ref: SecretRef | None = Field(None, description="Secret with what it takes to log in.")

    @property
    def place(self) -> str:
        """Where it is, as people read it."""
        return self.uri

    @property
    def host(self) -> str:
        return self._authority[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self._authority[1] or _PORT)

    @property
    def database(self) -> str:
        return self._authority[2]

    @property
    def _authority(self) -> tuple[str, str | None, str]:
        match = _AUTHORITY.match(self.uri)
        assert match is not None, "the pattern of uri says so"
        return match[1], match[2], match[3]

    @property
    def opened(self) -> tuple[str, ...]:
        """URIs that are opened, with the port.

        >>> SqlQuery(uri="postgresql://db/shop", table="orders", watermark="at", key="id").opened
        ('postgresql://db:5432/shop',)
        """
        host, port, database = self._authority
        return (f"postgresql://{host}:{port or _PORT}/{database}",)

    rules: ClassVar[tuple[SpecRule, ...]] = (
        exactly_one("table", "query"),
        SpecRule(
            message="startAt must be Earliest, Latest, an integer, or a time that exists",
            holds=lambda sql: sql.start_at in (EARLIEST, LATEST) or _is_time_or_number(sql.start_at),
            field="startAt",
        ),
    )
