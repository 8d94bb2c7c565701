"""One Redis server, or the master that Sentinel names: its connections, and its failures in our words."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from featurestore.online.deadline import until_s
from featurestore.online.redis.build_keys import BuildKeys
from featurestore.online.redis.connection_options import (
    SENTINEL_PASSWORD,
    SENTINEL_USERNAME,
    login,
    package,
    retry_once,
    tls,
)
from featurestore.online.redis.deployment import SCANNED_AT_ONCE, TIMEOUT_S, RedisDeployment, ScriptCall
from featurestore.online.redis.joint_reads import JointReads
from featurestore.online.redis.timed_connection import timed

_SENTINEL_S = 1.0
"""How long one Sentinel may take: there are others."""


class RedisServer(RedisDeployment):
    """See :class:`featurestore.online.redis.deployment.RedisDeployment`.

    Raises:
        CodeError: redis-py is not installed.
    """

    def __init__(
        self, url: str, environ: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        super().__init__(url, environ, timeout_s)
        self.client = self._open("redis")
        self._pack = package("hiredis").pack_command
        self._asks_sentinel = self.address.kind == "sentinel"
        self._disconnected = package("redis.exceptions").ConnectionError
        self._pid, self._idle = os.getpid(), list[Any]()
        self._async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Any, JointReads]] = (
            WeakKeyDictionary()
        )

    def keys_of(self, view: str, digest: str) -> BuildKeys:
        return BuildKeys.whole(view, digest)

    def get_many(self, names: Sequence[bytes]) -> list[bytes | None]:
        with self.explained():
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
                return self._mget(connection, names)
            except self._disconnected:
                # The server may have closed the connection that was kept, as when it was restarted: once more.
                connection.disconnect()
                return self._mget(connection, names)
        finally:
            # After an error or a timeout it is closed, and opened again when it is next used.
            self._idle.append(connection)

    def _mget(self, connection: Any, names: Sequence[bytes]) -> list[bytes | None]:
        if self._asks_sentinel:
            # What sends a command connects by itself, and to no master.
            connection.connect()
        # As the client packs a command, without asking of each name what it is.
        connection.send_packed_command([self._pack(("MGET", *names))])
        values: list[bytes | None] = connection.read_response()
        return values

    async def get_many_async(self, names: Sequence[bytes]) -> list[bytes | None]:
        loop = asyncio.get_running_loop()
        opened = self._async_clients.get(loop)
        if opened is None:
            client = self._open("redis.asyncio")

            async def get(names: Sequence[bytes], until_s: float) -> list[bytes | None]:
                # The client's own timeouts are for connecting, sending and reading, each by itself.
                left_s = until_s - time.monotonic()
                async with asyncio.timeout(None if left_s == math.inf else left_s):
                    values: list[bytes | None] = await client.mget(names)
                    return values

            reads = JointReads(get, package("redis.exceptions").ResponseError)
            opened = self._async_clients[loop] = client, reads
        with self.explained():
            return await opened[1].values(names, until_s())

    async def aclose(self) -> None:
        opened = self._async_clients.pop(asyncio.get_running_loop(), None)
        if opened is None:
            return
        client, _ = opened
        await client.aclose()
        if self._asks_sentinel:
            for sentinel in client.connection_pool.sentinel_manager.sentinels:
                await sentinel.aclose()

    def evaluate(self, calls: Iterable[ScriptCall]) -> Iterator[Any]:
        for script, names, arguments in calls:
            with self.explained():
                answer = self.client.eval(script, len(names), *names, *arguments)
            yield answer

    def unlink(self, names: Sequence[bytes]) -> None:
        with self.explained():
            self.client.unlink(*names)

    def scan(self, pattern: bytes) -> Iterator[list[bytes]]:
        cursor = 0
        while True:
            with self.explained():
                cursor, page = self.client.scan(cursor, match=pattern, count=SCANNED_AT_ONCE)
            if page:
                yield page
            if cursor == 0:
                return

    def info(self, section: str) -> list[Mapping[str, Any]]:
        with self.explained():
            return [self.client.info(section)]

    def _open(self, name: str) -> Any:
        """A client of one of the packages of redis-py."""
        options = {**self.connection_options(), "retry": retry_once(name)}
        address = self.address
        is_sync = name == "redis"
        if address.kind == "server":
            client = package(name).Redis.from_url(self._url, **options)
            return timed(client) if is_sync else client
        # Those that hang leave time for the others, and for the read.
        wait_s = min(_SENTINEL_S, self.timeout_s / (len(address.nodes) + 1))
        secure = {"ssl": True, **tls(self.environ)} if address.has_tls else {}
        asking = {
            **login(self.environ, SENTINEL_USERNAME, SENTINEL_PASSWORD),
            "socket_timeout": wait_s,
            "socket_connect_timeout": wait_s,
            "retry": retry_once(name),
            **secure,
        }
        sentinel = package(f"{name}.sentinel").Sentinel(address.nodes, sentinel_kwargs=asking)
        client = sentinel.master_for(address.service, db=address.database, **options, **secure)
        if is_sync:
            for each in (client, *sentinel.sentinels):
                timed(each)
        return client
