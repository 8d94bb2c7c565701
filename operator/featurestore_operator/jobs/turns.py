"""Whose Job is created next, where more work is due than Jobs may run at once: namespaces take turns.

Of all that wait, the next one is of the namespace with the fewest Jobs; within it, the one that came first. What rebuilds
or backfills counts as if it had come later, so that live data goes before it and yet it is never passed over for ever; so does
what has a low priority, and what has a high one as if it had come earlier.
Whoever waits is woken when a Job ends. What is remembered here is an order, and may be lost: Jobs are counted in the
cache. Two operators that work at once may each create what is left, and so exceed a bound by as many for a while.
"""

from __future__ import annotations

import heapq
import threading
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from featurestore.reconcile.steps import EngineStep
from featurestore.resources.job_spec import Priority
from featurestore.timestamps import SECOND_US
from featurestore_operator.informer.cache import Cache
from featurestore_operator.jobs.job_outcome import job_outcome
from featurestore_operator.kube.object_key import Key

HELD_US = 20 * SECOND_US
"""How long a place is held for one that was woken. Its namespace is passed over after that, until it asks again."""
AGAIN_US = 30 * SECOND_US
"""How often one that waits asks again, though nothing woke it."""
_STUCK_US = SECOND_US
_ROUND = (1000, 500, 200, 100, 50, 20, 10)


@dataclass(frozen=True, slots=True)
class Queued:
    """The work waits for its turn. ``sentence``: human-readable."""

    sentence: str


@dataclass(order=True, slots=True)
class _Waiter:
    order_us: int
    step: str
    key: Key = field(compare=False)
    asked: bool = field(default=True, compare=False)
    woken_us: int | None = field(default=None, compare=False)


class Turns:
    """Safe to use from several threads. ``most``: Jobs of all namespaces at once. ``clock``: UTC microseconds now."""

    def __init__(self, cache: Cache, most: int, clock: Callable[[], int]) -> None:
        self._cache, self._most, self._clock = cache, most, clock
        self._lock = threading.Lock()
        self._waiting: dict[str, list[_Waiter]] = {}
        self._limits: dict[str, int] = {}
        self._created: Counter[str] = Counter()
        self._stuck: tuple[int, int] = (0, 0)
        cache.when_a_job_ends(self._wake_next)

    @contextmanager
    def turn(
        self, key: Key, work: EngineStep, limit: int, priority: Priority = Priority.NORMAL
    ) -> Iterator[Queued | None]:
        """None if its Job may be created, within the block; else it waits from now on.

        ``limit``: Jobs of its namespace at once.
        """
        queued = self._ask(key, work, limit, priority.yields_us)
        if queued is not None:
            yield queued
            return
        try:
            yield None
        finally:
            with self._lock:
                # From here on the cache counts its Job, if there is one.
                self._created[key.namespace] -= 1
            self._wake_next()

    def looked(self, key: Key) -> bool:
        """Forget what the resource waited for, if it did not ask in the look that ended; whether it waits."""
        dropped, waits = False, False
        with self._lock:
            line = self._waiting.get(key.namespace, [])
            for waiter in [waiting for waiting in line if waiting.key == key]:
                if waiter.asked:
                    waiter.asked, waits = False, True
                else:
                    line.remove(waiter)
                    dropped = True
            if not line:
                self._waiting.pop(key.namespace, None)
        if dropped:
            self._wake_next()
        return waits

    @property
    def waiting(self) -> int:
        """How many wait."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def _ask(self, key: Key, work: EngineStep, limit: int, yields_us: int) -> Queued | None:
        namespace, now_us = key.namespace, self._clock()
        with self._lock:
            self._limits[namespace] = limit
            line = self._waiting.setdefault(namespace, [])
            waiter = next(
                (waiting for waiting in line if (waiting.key, waiting.step) == (key, work.key)), None
            )
            if waiter is None:
                waiter = _Waiter(now_us + work.yields_us + yields_us, work.key, key)
                insort(line, waiter)
            waiter.asked, waiter.woken_us = True, None
            counts, free = self._counts()
            if any(chosen is waiter for chosen in self._next(counts, free, namespace)):
                self._created[namespace] += 1
                line.remove(waiter)
                if not line:
                    del self._waiting[namespace]
                return None
            return Queued(self._explain(waiter, counts, limit))

    def _wake_next(self) -> None:
        with self._lock:
            if not self._waiting:
                return
            counts, free = self._counts()
            now_us = self._clock()
            awoken = [waiting for waiting in self._next(counts, free) if waiting.woken_us is None]
            for waiter in awoken:
                waiter.woken_us = now_us
        for waiter in awoken:
            self._cache.wake(waiter.key)

    def _counts(self) -> tuple[Counter[str], int]:
        """Jobs by namespace, with those that are being created; and how many more there may be."""
        counts = Counter(self._cache.jobs_under_way()) + self._created
        free = self._most - counts.total()
        return counts, free if free > 0 else free + self._count_stuck()

    def _count_stuck(self) -> int:
        """How many cannot start, and so keep nobody else from running: an image that cannot be pulled, a missing Secret."""
        now_us = self._clock()
        if not 0 <= now_us - self._stuck[0] < _STUCK_US:
            jobs = (
                job_outcome(job, self._cache.pods(namespace, job["metadata"]["name"]), now_us)
                for namespace in self._cache.jobs_under_way()
                for job in self._cache.busy(namespace)
            )
            self._stuck = now_us, sum(getattr(job, "stuck", False) for job in jobs)
        return self._stuck[1]

    def _next(self, counts: Counter[str], free: int, asking: str = "") -> list[_Waiter]:
        """The waiters whose turn it is, ``free`` at most."""
        now_us = self._clock()
        lines = {
            namespace: iter([waiting for waiting in line if not _is_late(waiting, now_us)])
            for namespace, line in self._waiting.items()
            if namespace == asking or not any(_is_late(waiting, now_us) for waiting in line)
        }
        heads = [
            (counts[namespace], waiter, namespace)
            for namespace, line in lines.items()
            if (waiter := next(line, None)) is not None
        ]
        heapq.heapify(heads)
        chosen: list[_Waiter] = []
        while heads and len(chosen) < free:
            number, waiter, namespace = heapq.heappop(heads)
            if number >= self._limits[namespace]:
                continue
            chosen.append(waiter)
            follows = next(lines[namespace], None)
            if follows is not None:
                heapq.heappush(heads, (number + 1, follows, namespace))
        return chosen

    def _explain(self, waiter: _Waiter, counts: Counter[str], limit: int) -> str:
        namespace = waiter.key.namespace
        place = self._waiting[namespace].index(waiter)
        before = place
        if counts[namespace] >= limit:
            bound = f"{counts[namespace]} of {limit} Jobs of namespace {namespace!r} run"
        else:
            bound = f"{counts.total()} of {self._most} Jobs of the operator run"
            # As namespaces take turns: of each other one, those that bring it to as many Jobs.
            before += sum(
                min(len(line), max(0, place + counts[namespace] - counts[other]))
                for other, line in self._waiting.items()
                if other != namespace
            )
        return f"waits for its turn: {_roughly(before)} before it, and {bound}"


def _is_late(waiter: _Waiter, now_us: int) -> bool:
    return waiter.woken_us is not None and now_us - waiter.woken_us > HELD_US


def _roughly(number: int) -> str:
    """So that a status is not written for each one that goes before.

    >>> _roughly(0), _roughly(1), _roughly(7), _roughly(137)
    ('none is', '1 is', '7 are', 'more than 100 are')
    """
    for least in _ROUND:
        if number > least:
            return f"more than {least} are"
    return {0: "none is", 1: "1 is"}.get(number, f"{number} are")
