"""Which key is handled next: a function of what was added and of the time that it is told.

As client-go's work queue (https://pkg.go.dev/k8s.io/client-go/util/workqueue), and fair besides:

- a key waits once, however often it is added, and then at the earliest of the times it was added for;
- a key is under way once: added meanwhile, it is handled once more afterwards;
- namespaces take turns, and one of them gets a worker only while it holds fewer than are free. So the
  keys of one slow storage hold half of the workers, those of a second one half of the rest, and a
  namespace that works finds a worker.

No clock and no thread: see ``work.py``.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from itertools import count

from featurestore.retry import Cause, delay_us
from featurestore.timestamps import SECOND_US
from featurestore_operator.kube.object_key import Key


class Schedule:
    """Keys that wait, are ready, or are under way with one of ``workers`` workers. Times in seconds."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._later: dict[Key, float] = {}
        self._by_time: list[tuple[float, int, Key]] = []
        self._order = count()
        self._ready: dict[str, deque[Key]] = {}  # By namespace, the next one first.
        self._is_ready: set[Key] = set()
        self._under_way: set[Key] = set()
        self._again: set[Key] = set()
        self._held: Counter[str] = Counter()
        self._failures: dict[Key, int] = {}

    def add(self, key: Key, at_s: float) -> None:
        """Handle the key at ``at_s``, or earlier if it already waits for an earlier time."""
        if key in self._is_ready or self._later.get(key, float("inf")) <= at_s:
            return
        self._later[key] = at_s
        heapq.heappush(self._by_time, (at_s, next(self._order), key))

    def take(self, now_s: float) -> Key | None:
        """The next key, which is under way from here on; None if there is none for a worker now."""
        self._arrive(now_s)
        free = self._workers - len(self._under_way)
        for namespace in list(self._ready):
            if self._held[namespace] >= free:
                continue
            waiting = self._ready.pop(namespace)
            key = waiting.popleft()
            if waiting:
                self._ready[namespace] = waiting
            self._is_ready.discard(key)
            self._under_way.add(key)
            self._held[namespace] += 1
            return key
        return None

    def done(self, key: Key) -> None:
        """The key is no longer under way."""
        self._under_way.discard(key)
        self._held[key.namespace] -= 1
        if not self._held[key.namespace]:
            del self._held[key.namespace]
        if key in self._again:
            self._again.discard(key)
            self._append(key)

    def failed(self, key: Key, now_s: float, at_least_s: float = 0.0) -> float:
        """Handle the key again after 1 s, 2 s, 4 s … 45 s, but not before ``at_least_s``. Returns the wait."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait_s = max(at_least_s, delay_us(failures, Cause.OUTSIDE) / SECOND_US)
        self.add(key, now_s + wait_s)
        return wait_s

    def succeeded(self, key: Key) -> None:
        """Forget the key's failures."""
        self._failures.pop(key, None)

    def next_s(self) -> float | None:
        """When a key that waits is due; None if none waits."""
        while self._by_time and not self._is_current(self._by_time[0]):
            heapq.heappop(self._by_time)
        return self._by_time[0][0] if self._by_time else None

    @property
    def ready(self) -> int:
        """Number of keys that a worker could take."""
        return len(self._is_ready)

    @property
    def waiting(self) -> int:
        """Number of keys whose time has not come."""
        return len(self._later)

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def _arrive(self, now_s: float) -> None:
        while (due_s := self.next_s()) is not None and due_s <= now_s:
            _, _, key = heapq.heappop(self._by_time)
            del self._later[key]
            if key in self._under_way:
                self._again.add(key)
            else:
                self._append(key)

    def _append(self, key: Key) -> None:
        if key not in self._is_ready:
            self._is_ready.add(key)
            self._ready.setdefault(key.namespace, deque()).append(key)

    def _is_current(self, entry: tuple[float, int, Key]) -> bool:
        at_s, _, key = entry
        return self._later.get(key) == at_s
