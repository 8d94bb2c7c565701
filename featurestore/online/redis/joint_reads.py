"""Reads that are asked for in one turn of an event loop, as one ``MGET``: the client takes as long for one as for several."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

Values = list[bytes | None]
_Asked = tuple[Sequence[bytes], asyncio.Future[Values]]
_MOST = 1000
"""Keys of a read that is joined with others, and of all that are joined: the server does nothing else meanwhile."""


class JointReads:
    """Of one event loop. ``get``: the values of keys, in their order; raises ``refused`` if one may not be read."""

    def __init__(self, get: Callable[[Sequence[bytes]], Awaitable[Values]], refused: type[Exception]) -> None:
        self._get, self._refused = get, refused
        self._waiting: list[_Asked] = []
        self._keys = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def values(self, names: Sequence[bytes]) -> Values:
        """The values of these keys. Raises what ``get`` raises."""
        if len(names) > _MOST:
            return await self._get(names)
        loop = asyncio.get_running_loop()
        if self._keys + len(names) > _MOST:
            self._begin()
        if not self._waiting:
            loop.call_soon(self._begin)
        answer: asyncio.Future[Values] = loop.create_future()
        self._waiting.append((names, answer))
        self._keys += len(names)
        return await answer

    def _begin(self) -> None:
        """Ask for what waits."""
        waiting, self._waiting, self._keys = self._waiting, [], 0
        if waiting:
            task = asyncio.get_running_loop().create_task(self._answer(waiting))
            self._tasks.add(task)  # the loop itself holds no task
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, waiting: list[_Asked]) -> None:
        try:
            values = await self._get([name for names, _ in waiting for name in names])
        except self._refused as error:
            if len(waiting) == 1:
                _fail(waiting, error)
            else:  # one of them may be why: none is refused for what another has asked
                await asyncio.gather(*(self._answer([one]) for one in waiting))
            return
        except Exception as error:  # noqa: BLE001 - told to those who asked
            _fail(waiting, error)
            return
        except BaseException:
            for _, answer in waiting:
                answer.cancel()
            raise
        at = 0
        for names, answer in waiting:
            if not answer.done():  # else whoever asked went away
                answer.set_result(values[at : at + len(names)])
            at += len(names)


def _fail(waiting: list[_Asked], error: Exception) -> None:
    for _, answer in waiting:
        if not answer.done():
            answer.set_exception(error)
