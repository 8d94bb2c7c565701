"""Until when a read is to be answered. Whatever it waits for goes by that: connecting, each part of an answer, a second try."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar, Token

_until_s: ContextVar[float] = ContextVar("until_s", default=math.inf)


class Deadline:
    """``with Deadline(timeout_s):`` what is waited for in it has so many seconds in all; within another the earlier counts.

    It is that of the thread or task that enters it, and of threads of ``asyncio.to_thread``.

    >>> with Deadline(60), Deadline(3600):
    ...     left_s() <= 60
    True
    """

    __slots__ = ("_before", "_timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._before: Token[float]

    def __enter__(self) -> None:
        self._before = _until_s.set(min(time.monotonic() + self._timeout_s, _until_s.get()))

    def __exit__(self, *of: object) -> None:
        _until_s.reset(self._before)


def until_s() -> float:
    """The time of ``time.monotonic()`` by which all must be done; infinite if nothing says so."""
    return _until_s.get()


def left_s() -> float:
    """How much of it there is; negative if it has passed."""
    return _until_s.get() - time.monotonic()
