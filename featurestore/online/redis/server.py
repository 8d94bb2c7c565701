"""A Redis server: its connections, its failures in our words, and the keys that are ours.

fs:<view>:<digest>                what is held: layout, version, entities, what its keys begin with; written last
<six characters>:<key>            the packed value of an entity; the characters are a hash of view and digest
fs-keys:<six characters>          the build whose keys these are: no other publishes under them
fs-publisher:<view>:<digest>      who publishes now, and up to which versions others have tried
"""

from __future__ import annotations

import asyncio
import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary
from zlib import crc32

from featurestore.errors import CodeError, SpecError, StorageError
from featurestore.online.redis.joint_reads import JointReads
from featurestore.online.versions import PACKED_LAYOUT, OnlineVersion
from featurestore.resources.feature_store import FeatureStoreSpec

USERNAME, PASSWORD = "REDIS_USERNAME", "REDIS_PASSWORD"
_TIMEOUT_S = 5.0
_SCANNED_AT_ONCE = 1000
_READ_BYTES = 1 << 18
_PREFIX_CHARACTERS = 6
"""36 bits: of 1,000 builds, two share a prefix once in 100,000 stores, and then the later one is not published."""


@dataclass(frozen=True, slots=True)
class BuildKeys:
    """Names of the keys of one build. What follows ``prefix`` is :func:`featurestore.online.entity_keys.key_texts`."""

    build: str
    prefix: bytes

    @classmethod
    def of(cls, view: str, digest: str) -> BuildKeys:
        build = f"{view}:{digest}"
        return cls(build, urlsafe_b64encode(sha256(build.encode()).digest())[:_PREFIX_CHARACTERS] + b":")

    @property
    def held(self) -> str:
        return f"fs:{self.build}"

    @property
    def publisher(self) -> str:
        return f"fs-publisher:{self.build}"

    @property
    def owner(self) -> str:
        """Names the key that says whose the prefix is."""
        return f"fs-keys:{self.prefix.decode().removesuffix(':')}"

    @property
    def checksum(self) -> int:
        """What the checksums of the build's values begin with."""
        return crc32(self.build.encode())


class RedisServer:
    """``url``: for messages, without credentials. ``environ``: has them; None for the process's own.

    Connections are made as they are needed, and in each process by itself. ``timeout_s``: for each answer.

    Raises:
        CodeError: redis-py is not installed.
    """

    def __init__(
        self, url: str, environ: Mapping[str, str] | None = None, timeout_s: float = _TIMEOUT_S
    ) -> None:
        self._url, self._environ, self._timeout_s = url, environ, timeout_s
        parts = urlsplit(url)
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self.client = self._open(_package("redis"))
        self._disconnected = _package("redis.exceptions").ConnectionError
        self._pack = _package("hiredis").pack_command
        self._pid, self._idle = os.getpid(), list[Any]()
        self._async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Any, JointReads]] = (
            WeakKeyDictionary()
        )

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
        return cls(redis.url, environ)

    def within(self, timeout_s: float | None) -> RedisServer:
        """The same server, with connections of its own that wait so long for each answer."""
        return self if timeout_s is None else RedisServer(self._url, self._environ, timeout_s)

    def get_many(self, names: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys, None for one that is not there."""
        with self._explained():
            return self._get_many(names)

    def _get_many(self, names: Sequence[bytes]) -> list[bytes | None]:
        # Connections are kept here, because the client's own pool takes as long as all that we do for one entity.
        if self._pid != os.getpid():
            self._pid, self._idle = os.getpid(), []
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self.client.connection_pool.make_connection()
        try:
            try:
                return _mget(connection, self._pack, names)
            except self._disconnected:
                # The server may have closed the connection that was kept, as when it was restarted: once more.
                connection.disconnect()
                return _mget(connection, self._pack, names)
        finally:
            # After an error or a timeout it is closed, and opened again when it is next used.
            self._idle.append(connection)

    async def get_many_async(self, names: Sequence[bytes]) -> list[bytes | None]:
        """The same, without blocking the loop that runs."""
        loop = asyncio.get_running_loop()
        opened = self._async_clients.get(loop)
        if opened is None:
            client = self._open(_package("redis.asyncio"))
            opened = self._async_clients[loop] = (
                client,
                JointReads(client.mget, _package("redis.exceptions").ResponseError),
            )
        with self._explained():
            return await opened[1].values(names)

    async def aclose(self) -> None:
        """Close what was opened for the loop that runs."""
        opened = self._async_clients.pop(asyncio.get_running_loop(), None)
        if opened is not None:
            await opened[0].aclose()

    def _open(self, package: Any) -> Any:
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as Disconnected

        known = os.environ if self._environ is None else self._environ
        retry = _package(f"{package.__name__}.retry").Retry
        return package.Redis.from_url(
            self._url,
            username=known.get(USERNAME),
            password=known.get(PASSWORD),
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            socket_read_size=_READ_BYTES,
            # Once more over a new connection if the server has closed the one that was kept; else the caller is told.
            retry=retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
        )

    @contextmanager
    def answering(self) -> Iterator[Any]:
        """The client; what it raises becomes a StorageError."""
        with self._explained():
            yield self.client

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from redis.exceptions import RedisError

        try:
            yield
        except (RedisError, OSError) as error:
            raise StorageError(
                "the online store did not answer", where=self.url, got=str(error) or type(error).__name__
            ) from error

    def entity_keys(self, keys: BuildKeys) -> Iterator[list[bytes]]:
        """The keys of all entities of a build, some at a time; one that comes or goes meanwhile may be missed."""
        cursor = 0
        while True:
            with self.answering() as client:
                cursor, page = client.scan(cursor, match=keys.prefix + b"*", count=_SCANNED_AT_ONCE)
            if page:
                yield page
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


def _mget(connection: Any, pack: Any, names: Sequence[bytes]) -> list[bytes | None]:
    # As the client packs a command, without asking of each name what it is.
    connection.send_packed_command([pack(("MGET", *names))])
    values: list[bytes | None] = connection.read_response()
    return values


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise CodeError(
            "the online store in Redis needs a package that is not installed",
            where="FeatureStore spec.online.redis",
            got=str(error),
            hint="pip install 'featurestore[redis]'",
        ) from error
