"""One stream of Redis as its server tells of it: where it begins and ends, and how many messages there ever were.

https://redis.io/docs/latest/develop/data-types/streams/. A stream is one partition. An id such as ``1704067200000-3`` is
the number ``1704067200000 · 2^64 + 3``: ids are in the order of their numbers. Most numbers between two messages are of none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from featurestore.arrivals.position import Position
from featurestore.arrivals.streams.stream_client import Found, Look
from featurestore.errors import CodeError, StorageError
from featurestore.resources.redis_stream import RedisStream

USERNAME, PASSWORD = "REDIS_USERNAME", "REDIS_PASSWORD"
AUTHORITIES = "REDIS_TLS_CA"
NAMES = (USERNAME, PASSWORD, AUTHORITIES)
_TIMEOUT_S = 10.0
_AT_ONCE = 1000


class StreamKey:
    """``environ``: has what it takes to log in; None for the process's own environment."""

    def __init__(self, redis: RedisStream, environ: Mapping[str, str] | None) -> None:
        self._redis, self.where = redis, redis.place
        self._environ = environ

    def look(self) -> Look | None:
        """See :class:`featurestore.arrivals.streams.stream_client.StreamClient`.

        Raises:
            StorageError: the server does not answer, or the key is no stream.
        """
        with explained("the stream cannot be looked at", self.where):
            from redis.exceptions import ResponseError

            try:
                info = self._client().xinfo_stream(self._redis.stream)
            except ResponseError as error:
                if "no such key" in str(error):
                    return None
                raise
        first = number_of(info["first-entry"][0]) if info["first-entry"] else 0
        last = number_of(info["last-generated-id"])
        counts = {}
        if (added := info.get("entries-added")) is not None:
            counts = {0: Position(added - info["length"], added)}
        end = last + 1 if last else 0
        # Of one that has no message now, all that it ever had is gone.
        return Look(self.uri, {0: first if info["length"] else end}, {0: end}, counts)

    @property
    def uri(self) -> str:
        """A stream has no other name than its key, in a database. The server may have another address tomorrow."""
        database = self._redis.url.partition("://")[2].partition("/")[2] or "0"
        return f"redis://{quote(self._redis.stream, safe='')}/{database}"

    def grown(self) -> Mapping[str, Found]:
        look = self.look()
        return {f"{look.uri}/{partition}": end for partition, end in look.ends.items()} if look else {}

    def since(self, look: Look, partitions: Sequence[int], milliseconds: int) -> Mapping[int, Found]:
        """Ids begin with the time."""
        return {
            partition: milliseconds << 64 if look.known[partition].end > milliseconds << 64 else -1
            for partition in partitions
        }

    def count(self, first: int, end: int, most: int) -> tuple[int, int]:
        counted, last = 0, end - 1
        for messages in self.messages(first, end):
            taken = messages[: most - counted]
            counted += len(taken)
            if counted == most:
                last = number_of(taken[-1][0]) if taken else first - 1
                break
        return counted, end if last == end - 1 else last + 1

    def messages(self, first: int, end: int) -> Iterator[list[tuple[bytes, Mapping[bytes, bytes]]]]:
        """Ids and fields of what is there of these positions, some at a time."""
        while first < end:
            with explained("messages cannot be read", self.where):
                entries = self._client().xrange(
                    self._redis.stream, id_of(first), id_of(end - 1), count=_AT_ONCE
                )
            if entries:
                yield entries
                first = number_of(entries[-1][0]) + 1
            if len(entries) < _AT_ONCE:
                return

    def span(self, position: Position) -> str:
        return f"ids {id_of(position.first)} to {id_of(position.end - 1)}"

    def _client(self) -> Any:
        return redis_client(self._redis.url, self._environ)


@contextmanager
def explained(problem: str, where: str) -> Iterator[None]:
    """What the client raises becomes a StorageError.

    Raises:
        CodeError: the client is not installed.
    """
    try:
        from redis.exceptions import RedisError
    except ImportError as error:
        hint = "pip install 'featurestore[redis]'"
        raise CodeError("Redis needs a package", where=where, got=str(error), hint=hint) from error
    try:
        yield
    except RedisError as error:
        raise StorageError(problem, where=where, got=str(error)) from error


def redis_client(url: str, environ: Mapping[str, str] | None) -> Any:
    """The client of this process for a server. ``environ``: has what it takes to log in; None for the process's own."""
    known = os.environ if environ is None else environ
    return _kept_client(url, tuple((name, known[name]) for name in NAMES if known.get(name)), os.getpid())


def number_of(text: bytes | str) -> int:
    """The number of an id.

    >>> number_of("1-2") == (1 << 64) + 2
    True
    """
    milliseconds, _, sequence = (text.decode() if isinstance(text, bytes) else text).partition("-")
    return (int(milliseconds) << 64) + int(sequence)


def id_of(number: int) -> str:
    """The id that has this number.

    >>> id_of((1 << 64) + 2)
    '1-2'
    """
    return f"{number >> 64}-{number & (1 << 64) - 1}"


@lru_cache(maxsize=256)
def _kept_client(url: str, given: tuple[tuple[str, str], ...], _pid: int) -> Any:
    """A client that all streams of the same server share."""
    from redis import Redis

    login = dict(given)
    options: dict[str, Any] = {
        "username": login.get(USERNAME),
        "password": login.get(PASSWORD),
        "socket_timeout": _TIMEOUT_S,
        "socket_connect_timeout": _TIMEOUT_S,
    }
    if url.startswith("rediss://"):
        options["ssl_ca_data"] = login.get(AUTHORITIES)
    return Redis.from_url(url, **options)
