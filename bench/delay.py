"""A server that is far away: a proxy before one that is near, which holds back each request for a while."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_VERBS = (b"GET ", b"PUT ", b"HEAD ", b"POST ", b"DELETE ")


@dataclass
class Delay:
    """``lines``: of the HTTP requests that went to ``target``, a port of this machine, each ``delay_s`` late."""

    target: int
    delay_s: float
    lines: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def requests(self) -> int:
        """How many."""
        return len(self.lines)

    async def serve(self, ready: threading.Event, stopping: asyncio.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stopping.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
        answers = asyncio.create_task(self._pass(to_reader, writer, to_server=False))
        await self._pass(reader, to_writer, to_server=True)
        await answers

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_server: bool
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if to_server and data.startswith(_VERBS):
                    self.lines.append(data[: data.find(b" HTTP/")].decode(errors="replace"))
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
        with suppress(ConnectionError, RuntimeError):
            writer.close()


@contextmanager
def delayed(target: int, delay_s: float) -> Iterator[Delay]:
    """The proxy, until the end of the block."""
    delay, ready = Delay(target, delay_s), threading.Event()
    loop, stopping = asyncio.new_event_loop(), asyncio.Event()

    def serve() -> None:
        loop.run_until_complete(delay.serve(ready, stopping))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield delay
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
