"""A stream of a real Redis that tests write to."""

from __future__ import annotations

import json
import uuid
from typing import Any

import redis


class RedisKey:
    """``url``: of the server, without a database."""

    kind = "redis"

    def __init__(self, url: str, name: str = "", password: str | None = None) -> None:
        self.url, self.name = url, name or f"events-{uuid.uuid4().hex[:8]}"
        self.client: Any = redis.Redis.from_url(url, password=password)
        self.ids: list[bytes] = []

    def send(self, *values: Any, id: str = "*", **more: Any) -> None:  # noqa: A002 - as Redis calls it
        """Messages in the order of the values; bytes as they are, None as no value, all else as JSON."""
        for value in values:
            data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
            fields = {**more, "other": "1", **({"data": data} if data is not None else {})}
            self.ids.append(self.client.xadd(self.name, fields, id=id))

    def delete(self) -> None:
        self.client.delete(self.name)

    def delete_first(self, count: int) -> None:
        """What retention does, at once: of all that ever were, the first so many are gone."""
        left = {"minid": self.ids[count]} if count < len(self.ids) else {"maxlen": 0}
        self.client.xtrim(self.name, approximate=False, **left)

    def delete_one(self, number: int) -> None:
        """The message with this number, from 1."""
        self.client.xdel(self.name, self.ids[number - 1])

    def source(self, **more: Any) -> dict[str, Any]:
        """``spec.source`` of a pipeline that reads it."""
        return {"redis": {"url": self.url, "stream": self.name, "field": "data", "format": "JSON", **more}}
