"""Reads that are asked for in one turn of an event loop, as one ``MGET``: the client takes as long for one as for several."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

Values = list[bytes | None]
_Asked = tuple[Sequence[bytes], float, asyncio.Future[Values]]
_MOST = 1000
"""Keys of a read that is joined with others, and of all that are joined: the server does nothing else meanwhile."""


class JointReads:
    """Of one event loop. ``get``: the values of keys, in their order, by a time; raises ``refused`` if one may not be read."""

    def __init__(
        self, get: Callable[[Sequence[bytes], float], Awaitable[Values]], refused: type[Exception]
    ) -> None:
        self._get, self._refused = get, refused
        self._waiting: list[_Asked] = []
        self._keys = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def values(self, names: Sequence[bytes], until_s: float) -> Values:
        """The values of these keys. ``until_s``: of those that are joined the latest counts. Raises what ``get`` raises."""
        if len(names) > _MOST:
            return await self._get(names, until_s)
        loop = asyncio.get_running_loop()
        if self._keys + len(names) > _MOST:
            self._begin()
        if not self._waiting:
            loop.call_soon(self._begin)
        answer: asyncio.Future[Values] = loop.create_future()
        self._waiting.append((names, until_s, answer))
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
            all_names = [name for names, _, _ in waiting for name in names]
            values = await self._get(all_names, max(until_s for _, until_s, _ in waiting))
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
            for _, _, answer in waiting:
                answer.cancel()
            raise
        at = 0
        for names, _, answer in waiting:
            if not answer.done():  # else whoever asked went away
                answer.set_result(values[at : at + len(names)])
            at += len(names)


def _fail(waiting: list[_Asked], error: Exception) -> None:
    for _, _, answer in waiting:
        if not answer.done():
            answer.set_exception(error)
