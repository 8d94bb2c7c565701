"""What publishing and reading ask of a Redis, be it one server, the master that Sentinel names, or a cluster."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from featurestore.errors import StorageError
from featurestore.online.redis.build_keys import BuildKeys
from featurestore.online.redis.connection_options import login, tls
from featurestore.resources.redis_url import RedisUrl

TIMEOUT_S = 5.0
SCANNED_AT_ONCE = 1000
_READ_BYTES = 1 << 18


class ScriptCall(NamedTuple):
    """A script with the keys that it uses, all of one part of a build, and its arguments."""

    script: str
    names: Sequence[bytes]
    arguments: Sequence[bytes | str]


class RedisDeployment(ABC):
    """``url``: for messages, without credentials. ``environ``: has them; None for the process's own.

    Connections are made as they are needed, and in each process by itself. ``timeout_s``: how long nothing may come. Everything
    raises StorageError if no answer comes, or none by the deadline of who asks. Safe to use from several threads.
    """

    def __init__(
        self, url: str, environ: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._url, self._environ, self.timeout_s = url, environ, timeout_s
        parts = urlsplit(url)
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self.address = RedisUrl.parse(url)

    def within(self, timeout_s: float | None) -> Self:
        """The same, with connections of its own that wait so long."""
        return self if timeout_s is None else type(self)(self._url, self._environ, timeout_s)

    @abstractmethod
    def keys_of(self, view: str, digest: str) -> BuildKeys:
        """How a build's keys are named here."""

    @abstractmethod
    def get_many(self, names: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys, None for one that is not there; those of one part as of one time.

        Where that cannot be, the first of a part's is the oldest.
        """

    @abstractmethod
    async def get_many_async(self, names: Sequence[bytes]) -> list[bytes | None]:
        """The same, without blocking the loop that runs."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close what was opened for the loop that runs."""

    @abstractmethod
    def evaluate(self, calls: Iterable[ScriptCall]) -> Iterator[Any]:
        """What each script answers. One that is run twice must do no more than once."""

    @abstractmethod
    def unlink(self, names: Sequence[bytes]) -> None:
        """Delete these keys."""

    @abstractmethod
    def scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        """Keys, some at a time; one that comes or goes meanwhile may be missed, and no other."""

    @abstractmethod
    def info(self, section: str) -> list[Mapping[str, Any]]:
        """What each server that has keys says of itself."""

    @property
    def environ(self) -> Mapping[str, str]:
        return os.environ if self._environ is None else self._environ

    def connection_options(self) -> dict[str, Any]:
        """Options of redis-py for each connection."""
        return {
            **login(self.environ),
            "socket_timeout": self.timeout_s,
            "socket_connect_timeout": self.timeout_s,
            "socket_read_size": _READ_BYTES,
            **(tls(self.environ) if self.address.has_tls else {}),
        }

    def explained(self) -> _Explained:
        """``with redis.explained():`` what redis-py raises in it becomes a StorageError."""
        return _Explained(self.url)


class _Explained:
    # A generator would take as long as all else that is done for one entity besides waiting.
    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        from redis.exceptions import OutOfMemoryError, RedisError

        if isinstance(error, OutOfMemoryError):
            raise StorageError(
                "the memory of the Redis server is full",
                where=self._url,
                got=str(error),
                hint="What it holds is read as before. Give it more (`maxmemory`): publishing goes on by itself then",
            ) from error
        if isinstance(error, RedisError | OSError):
            raise StorageError(
                "the online store did not answer", where=self._url, got=str(error) or type(error).__name__
            ) from error
