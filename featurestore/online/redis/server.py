"""A Redis server: its connections, its failures in our words, and the keys that are ours.

fs:<view>:<digest>                what is held: layout, version, entities; written last
fs:<view>:<digest>:<key>          the packed value of an entity
fs-publisher:<view>:<digest>      who publishes now, and up to which versions others have tried
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from featurestore.errors import CodeError, SpecError, StorageError
from featurestore.online.versions import PACKED_LAYOUT, OnlineVersion
from featurestore.resources.feature_store import FeatureStoreSpec

USERNAME, PASSWORD = "REDIS_USERNAME", "REDIS_PASSWORD"
_TIMEOUT_S = 5.0
_SCANNED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of the keys of one build. What follows ``prefix`` is :func:`featurestore.online.entity_keys.key_texts`."""

    held: str
    publisher: str
    prefix: bytes

    @classmethod
    def of(cls, view: str, digest: str) -> Keys:
        return cls(f"fs:{view}:{digest}", f"fs-publisher:{view}:{digest}", f"fs:{view}:{digest}:".encode())


class RedisServer:
    """``client``: redis-py's, a pool of connections. ``url``: for messages, without credentials."""

    def __init__(self, client: Any, url: str) -> None:
        self.client, self.url = client, url

    @classmethod
    def of(cls, store: FeatureStoreSpec, environ: Mapping[str, str] | None = None) -> RedisServer:
        """The Redis of a FeatureStore.

        Raises:
            SpecError: an operator keeps it, and this is the spec as its author wrote it: see the accepted one.
            CodeError: redis-py is not installed.
        """
        redis = store.online.redis
        if redis is None or redis.url is None:
            raise SpecError(
                "a managed Redis is reachable only inside its cluster",
                where="FeatureStore spec.online.redis.managed",
                wanted="a url",
                got="managed",
                hint="On a laptop, use {duckdb: {}} or the url of a Redis",
            )
        return cls.connect(redis.url, environ)

    @classmethod
    def connect(cls, url: str, environ: Mapping[str, str] | None = None) -> RedisServer:
        """Connections are made as they are needed. ``environ``: has the credentials; None for the process's own.

        Raises:
            CodeError: redis-py is not installed.
        """
        try:
            import redis
        except ImportError as error:
            raise CodeError(
                "the online store in Redis needs a package that is not installed",
                where="FeatureStore spec.online.redis",
                got=str(error),
                hint="pip install 'featurestore[redis]'",
            ) from error
        known = os.environ if environ is None else environ
        client = redis.Redis.from_url(
            url,
            username=known.get(USERNAME),
            password=known.get(PASSWORD),
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
        )
        parts = urlsplit(url)
        return cls(client, f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")

    @contextmanager
    def answering(self) -> Iterator[Any]:
        """The client; what it raises becomes a StorageError."""
        from redis.exceptions import RedisError

        try:
            yield self.client
        except (RedisError, OSError) as error:
            raise StorageError(
                "the online store did not answer", where=self.url, got=str(error) or type(error).__name__
            ) from error

    def entity_keys(self, keys: Keys) -> Iterator[list[bytes]]:
        """The keys of all entities of a build, some at a time; one that comes or goes meanwhile may be missed."""
        cursor = 0
        while True:
            with self.answering() as client:
                cursor, found = client.scan(cursor, match=keys.prefix + b"*", count=_SCANNED_AT_ONCE)
            if found:
                yield found
            if cursor == 0:
                return


def read_held(data: bytes | None) -> OnlineVersion | None:
    """What the key ``held`` says; None if it is not there or of another layout."""
    if data is None:
        return None
    try:
        value = json.loads(data)
        if value["layout"] != PACKED_LAYOUT:
            return None
        return OnlineVersion(int(value["version"]), int(value["entities"]))
    except (ValueError, KeyError, TypeError):
        return None  # not ours: as if nothing were held
