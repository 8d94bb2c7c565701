"""Rows that were sent, and what a reader may find of them at any moment: the oracle of a soak."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from threading import Lock

from featurestore.timestamps import SECOND_US

KEYS = tuple(f"k{number}" for number in range(20))
SOURCES = {"orders": False, "clicks": True}
"""Of files and of messages; whether the rows of a key are taken in the order in which they were sent."""
WINDOW_S, HOP_S = 120, 10
"""Of the feature ``recent_2m``."""


@dataclass(frozen=True, slots=True)
class ReadValues:
    """What a read gave of one entity: ``n`` of its newest row; ``rows`` and ``total`` of ``n`` of a day; ``recent`` of a window.

    None: there is nothing of it.
    """

    n: int | None
    rows: int | None
    total: int | None
    recent: int | None


@dataclass
class _OfKey:
    times_us: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)


class SentRows:
    """Rows in the order in which they were sent, each of a key later than the one before. Safe to use from several threads.

    >>> sent = SentRows()
    >>> sent.add("a", 10, 1), sent.add("a", 20, 2)
    (None, None)
    >>> sent.wrong("a", ReadValues(2, 2, 3, 2), (20, 20), in_order=True)
    ''
    >>> sent.wrong("a", ReadValues(2, 3, 3, 2), (20, 20), in_order=True)
    '3 rows up to the newest one, wanted 2'
    """

    def __init__(self) -> None:
        self._of: defaultdict[str, _OfKey] = defaultdict(_OfKey)
        self._lock = Lock()

    def add(self, key: str, time_us: int, n: int) -> None:
        """A row is about to be sent."""
        with self._lock:
            of = self._of[key]
            of.places[n] = len(of.numbers)
            of.times_us.append(time_us)
            of.numbers.append(n)
            of.totals.append((of.totals[-1] if of.totals else 0) + n)

    @property
    def numbers(self) -> list[int]:
        """``n`` of all rows, in order."""
        with self._lock:
            return sorted(n for of in self._of.values() for n in of.numbers)

    def newest(self, key: str) -> int | None:
        """``n`` of the row of a key that was sent last; None before the first."""
        with self._lock:
            of = self._of.get(key)
            return of.numbers[-1] if of else None

    def last(self, key: str, count: int) -> list[tuple[int, int, int]]:
        """The last rows of a key: time, ``n``, and how many there were of the key with it."""
        with self._lock:
            of = self._of[key]
            places = range(max(0, len(of.numbers) - count), len(of.numbers))
            return [(of.times_us[place], of.numbers[place], place + 1) for place in places]

    def waits_since_us(self, key: str, n: int | None) -> int | None:
        """Time of the first row of a key after the one of ``n``; None if there is none."""
        with self._lock:
            of = self._of.get(key)
            if of is None:
                return None
            following = 0 if n is None else of.places[n] + 1
            return of.times_us[following] if following < len(of.times_us) else None

    def wrong(self, key: str, read: ReadValues, read_us: tuple[int, int], *, in_order: bool) -> str:
        """What no reader may find; "" if all is well.

        ``read_us``: the read was made between these times. ``in_order``: rows of a key are taken in the order in which
        they were sent; otherwise some before the newest one may be missing, and none may be there twice.
        """
        with self._lock:
            of = self._of[key]
            if read.n is None:
                return "" if read.rows in (None, 0) else f"{read.rows} rows, and none is the newest"
            place = of.places.get(read.n)
            if place is None:
                return f"{read.n}, which was never sent"
            rows, total = place + 1, of.totals[place]
            first, last = (self._recent(of, rows, at_us) for at_us in read_us)
        given = read.rows or 0, read.total or 0, read.recent or 0
        if given[0] > rows or (in_order and given[0] < rows):
            return f"{given[0]} rows up to the newest one, wanted {rows}"
        if given[1] > total or (in_order and given[1] < total):
            return f"a total of {given[1]} up to the newest row, wanted {total}"
        if given[2] > first or (in_order and given[2] < last):
            return f"{given[2]} rows of {WINDOW_S} s, wanted {last} to {first}"
        return ""

    @staticmethod
    def _recent(of: _OfKey, rows: int, at_us: int) -> int:
        """How many of the first so many rows are in the window at a time, whose tail moves in hops."""
        hop_us = HOP_S * SECOND_US
        tail_us = (at_us - WINDOW_S * SECOND_US) // hop_us * hop_us
        return rows - bisect_left(of.times_us, tail_us, 0, rows)
