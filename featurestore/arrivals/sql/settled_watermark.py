"""Up to which watermark no row can come any more: rows get theirs before they can be seen.

A transaction takes a watermark, from a clock or a sequence, and commits later, so a row may come to be seen below others
that were seen before. A watermark that was seen is settled once

- every transaction is over that had begun to write when it was seen
- and ``settle`` has passed since, in which those had to begin that had taken a watermark and had written nothing

So no writer that is slow loses a row, however long it takes, unless it waits between its watermark and its first write.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from featurestore.arrivals.sql.database import SqlLook
from featurestore.arrivals.sql.watermark import rank

_MOST = 100
"""Looks that are remembered. Those that come while so many wait settle later."""


@dataclass(frozen=True, slots=True)
class _Seen:
    watermark: str
    settles_us: int
    next_one: int


class SettledWatermark:
    """What was seen of one source, oldest first."""

    def __init__(self, settle_us: int) -> None:
        self._settle_us = settle_us
        self._seen: deque[_Seen] = deque()

    def until(self, look: SqlLook, seen_us: int, now_us: int) -> str:
        """The greatest watermark that is settled now; empty if none is. ``seen_us``: when the newest was first seen."""
        if (not self._seen or self._seen[-1].watermark != look.newest) and len(self._seen) < _MOST:
            self._seen.append(_Seen(look.newest, seen_us + self._settle_us, look.next_one))
        settled = [one for one in self._seen if one.settles_us <= now_us and one.next_one <= look.oldest_open]
        if not settled:
            return ""
        while self._seen[0] is not settled[-1]:
            self._seen.popleft()
        return max((one.watermark for one in settled), key=rank)

    def due_us(self, now_us: int) -> int | None:
        """When the next one may be settled; None if that is a matter of transactions, which nobody can tell."""
        return min((one.settles_us for one in self._seen if one.settles_us > now_us), default=None)
