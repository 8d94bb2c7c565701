"""A proxy before an S3 server: counts listings of a bucket, and refuses everything with 503 for as long as it is told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_VERBS = (b"GET ", b"PUT ", b"HEAD ", b"POST ", b"DELETE ")
_SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: 73\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error> "
)


@dataclass
class ObjectProxy:
    """``target``: a port of this machine. ``listings``: of ``bucket``, that were let through; ``requests``: all of these."""

    target: int
    bucket: str
    port: int = 0
    requests: int = 0
    listings: int = 0
    refused: int = 0
    is_refusing: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

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
        answers = asyncio.create_task(self._pass(to_reader, writer))
        await self._ask(reader, to_writer, writer)
        await answers

    async def _ask(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if data.startswith(_VERBS):
                    if self.is_refusing:
                        self.refused += 1
                        client.write(_SLOW_DOWN)
                        await client.drain()
                        break
                    self._count(data)
                server.write(data)
                await server.drain()
        with suppress(ConnectionError, RuntimeError):
            server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        with suppress(ConnectionError, RuntimeError):
            writer.close()

    def _count(self, data: bytes) -> None:
        self.requests += 1
        line = data[: data.find(b" HTTP/")]
        if line.startswith((f"GET /{self.bucket}?".encode(), f"GET /{self.bucket}/?".encode())):
            self.listings += b"list-type" in line


@contextmanager
def object_proxy(target: int, bucket: str) -> Iterator[ObjectProxy]:
    """The proxy, until the end of the block."""
    proxy, ready = ObjectProxy(target, bucket), threading.Event()
    loop, stopping = asyncio.new_event_loop(), asyncio.Event()

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
