"""Connections to servers of NATS, which threads share: its client runs in a loop of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

from featurestore.arrivals.nats.login import NatsLogin
from featurestore.errors import CodeError, StorageError

T = TypeVar("T")
_CONNECT_S = 5.0
ANSWER_S = 10.0
_STARTING = threading.Lock()


class NatsConnection:
    """A connection that is made when it is first used, and again when it was lost."""

    def __init__(self, servers: str, login: NatsLogin) -> None:
        self._servers, self._login = servers, login
        self._client: Any = None
        self._said = ""
        self._opening = asyncio.Lock()

    def run(self, asked: Any, where: str, timeout_s: float = ANSWER_S) -> Any:
        """What ``asked(client)`` gives, which is awaited in the loop of connections.

        Raises:
            CodeError: the client is not installed.
            StorageError: no server answered, or it refused.
        """
        require_client(where)
        from nats.errors import Error

        try:
            return _run(self._asking(asked, where), timeout_s + _CONNECT_S)
        except (Error, OSError, TimeoutError) as error:
            text = str(error) or self._said or "no answer"
            raise StorageError(
                "NATS does not answer", where=where, got=f"{type(error).__name__}: {text}"
            ) from error

    async def _asking(self, asked: Any, where: str) -> Any:
        async with self._opening:
            if self._client is None or self._client.is_closed:
                self._client = await self._open(where)
        return await asked(self._client)

    async def _open(self, where: str) -> Any:
        from nats.aio.client import Client
        from nats.errors import Error

        async def note(error: Exception) -> None:
            self._said = str(error) or type(error).__name__

        client = Client()
        options = self._login.options(where)
        scheme = "tls" if "tls" in options else "nats"
        servers = [f"{scheme}://{server}" for server in self._servers.split(",")]
        try:
            async with asyncio.timeout(_CONNECT_S):
                await client.connect(
                    servers,
                    error_cb=note,
                    name="featurestore",
                    connect_timeout=int(_CONNECT_S),
                    # A look that fails is tried again later, with a connection of its own.
                    allow_reconnect=False,
                    **options,
                )
        except TimeoutError:
            await _close(client)
            raise StorageError("NATS does not answer", where=where, got=self._said or "no answer") from None
        except (Error, OSError) as error:
            await _close(client)
            raise StorageError("NATS does not answer", where=where, got=str(error) or self._said) from error
        return client


async def _close(client: Any) -> None:
    # Old versions of the client fail where there never was a connection, and would hide why.
    with suppress(Exception):
        await client.close()


def connection(servers: str, login: NatsLogin) -> NatsConnection:
    """The connection of this process to these servers."""
    with _STARTING:
        return _kept(servers, login, os.getpid())


def require_client(where: str) -> None:
    """Raises CodeError if the client of NATS is not installed."""
    try:
        import nats  # noqa: F401
    except ImportError as error:
        hint = "pip install 'featurestore[nats]'"
        raise CodeError("NATS needs a package", where=where, got=str(error), hint=hint) from error


@lru_cache(maxsize=256)
def _kept(servers: str, login: NatsLogin, _pid: int) -> NatsConnection:
    return NatsConnection(servers, login)


@lru_cache(maxsize=1)
def _loop(_pid: int) -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="nats", daemon=True).start()
    return loop


def _run(asked: Coroutine[Any, Any, T], timeout_s: float) -> T:
    with _STARTING:
        loop = _loop(os.getpid())
    return asyncio.run_coroutine_threadsafe(asked, loop).result(timeout_s)
