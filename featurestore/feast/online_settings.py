"""The online store of a Feast repository as one of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def online_store(settings: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """What stands in ``spec.online``, and what has to be said of it; "" if nothing.

    >>> online_store({"type": "redis", "connection_string": "cache:6379,db=2,ssl=true"})
    ({'redis': {'url': 'rediss://cache:6379/2'}}, '')
    >>> online_store({"type": "dynamodb"})
    ({'duckdb': {}}, 'is the embedded store here: name a Redis in store.yaml if several machines read')
    """
    embedded: dict[str, Any] = {"duckdb": {}}
    if settings.get("type", "sqlite") == "sqlite":
        return embedded, ""
    if settings.get("type") != "redis" or settings.get("redis_type", "redis") != "redis":
        return embedded, "is the embedded store here: name a Redis in store.yaml if several machines read"
    address, *options = settings.get("connection_string", "localhost:6379").split(",")
    given = dict(option.partition("=")[::2] for option in options)
    if not re.fullmatch(r"[\w.-]+(:\d+)?", address):
        return embedded, "has an address that is not host:port: name it in store.yaml"
    scheme = "rediss" if given.get("ssl", "").lower() == "true" else "redis"
    url = f"{scheme}://{address}/{given.get('db', '0')}"
    why = (
        "its password is in no file: set REDIS_PASSWORD, or name a Secret by secretRef"
        if "password" in given
        else ""
    )
    return {"redis": {"url": url}}, why
