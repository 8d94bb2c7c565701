"""A proxy before an HTTP server of this machine, which sees each request before it is passed on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

_VERBS = (b"GET ", b"PUT ", b"HEAD ", b"POST ", b"DELETE ")


class HttpProxy:
    """``target``: a port of this machine. ``port``: the proxy's own, once it is served."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, line: bytes) -> bytes | None:
        """What is answered in the server's place to a request with this first line; None passes it on."""
        raise NotImplementedError

    async def serve(self, ready: threading.Event, stopping: asyncio.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stopping.wait()
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The loop itself keeps no task from being collected.
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        answers = asyncio.create_task(_pass(to_reader, writer))
        await self._ask(reader, to_writer, writer)
        await answers

    async def _ask(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if data.startswith(_VERBS):
                    own = await self.answer(data[: data.find(b" HTTP/")])
                    if own is not None:
                        client.write(own)
                        await client.drain()
                        break
                server.write(data)
                await server.drain()
        with suppress(ConnectionError, RuntimeError):
            server.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with suppress(ConnectionError, RuntimeError):
        writer.close()


Proxy = TypeVar("Proxy", bound=HttpProxy)


@contextmanager
def served(proxy: Proxy) -> Iterator[Proxy]:
    """The proxy, until the end of the block."""
    ready, loop, stopping = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    def serve() -> None:
        loop.run_until_complete(proxy.serve(ready, stopping))

    thread = threading.Thread(target=serve, name="proxy", daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()
