"""A server that is far away: a proxy before one that is near, which holds back each request for a while."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

from bench.http_proxy import HttpProxy, served


class Delay(HttpProxy):
    """``lines``: of the HTTP requests that went to ``target``, a port of this machine, each ``delay_s`` late."""

    def __init__(self, target: int, delay_s: float) -> None:
        super().__init__(target)
        self.delay_s = delay_s
        self.lines: list[str] = []

    @property
    def requests(self) -> int:
        """How many."""
        return len(self.lines)

    async def answer(self, line: bytes) -> bytes | None:
        self.lines.append(line.decode(errors="replace"))
        await asyncio.sleep(self.delay_s)
        return None


def delayed(target: int, delay_s: float) -> AbstractContextManager[Delay]:
    """The proxy, until the end of the block."""
    return served(Delay(target, delay_s))
