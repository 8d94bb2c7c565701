"""What goes wrong between an operator and its API server."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from cluster.proxy import Answer, Call, Fault, refusal


class Kill(Fault):
    """The client is killed at a call: as it asks, so that nobody hears of it.

    ``unheard``: once the API server has done what was asked, before the client hears of that.
    """

    def __init__(
        self, pid: Callable[[], int], meets: Callable[[Call], bool], *, unheard: bool = False
    ) -> None:
        self._pid, self._meets, self._unheard = pid, meets, unheard
        self.done = threading.Event()
        self.met: Call | None = None

    def ask(self, call: Call) -> Answer | None:
        if not self._unheard and self._meets(call):
            self._kill(call)
            raise ConnectionAbortedError
        return None

    def answer(self, call: Call, answer: Answer) -> Answer | None:
        if not (self._unheard and self._meets(call)):
            return answer
        self._kill(call)
        return None

    def _kill(self, call: Call) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid(), signal.SIGKILL)
        self.met = call
        self.done.set()


class Refusals(Fault):
    """A share of all calls is refused: the server is busy, or fails, or fails after it did what was asked."""

    def __init__(self, share: float, seed: int) -> None:
        self._share, self._random = share, random.Random(seed)
        self.count = 0

    def ask(self, call: Call) -> Answer | None:
        chance = self._random.random()
        if chance > self._share:
            return None
        self.count += 1
        if chance < self._share / 2:
            return refusal(429, "TooManyRequests", **{"Retry-After": "1"})
        return refusal(500, "InternalError")

    def answer(self, call: Call, answer: Answer) -> Answer | None:
        return None if call.writes and self._random.random() < self._share / 2 else answer


class Delays(Fault):
    """A share of all calls is made late, or heard of late, and watches tell late: so their order is mixed."""

    def __init__(self, share: float, seed: int, longest_s: float = 2.0) -> None:
        self._share, self._random, self._longest_s = share, random.Random(seed), longest_s
        self.count = 0

    def ask(self, call: Call) -> Answer | None:
        self.told(call)
        return None

    def answer(self, call: Call, answer: Answer) -> Answer | None:
        self.told(call)
        return answer

    def told(self, call: Call) -> None:
        if self._random.random() < self._share / 2:
            self.count += 1
            time.sleep(self._random.uniform(0.1, 1) * self._longest_s)


class FirstConflicts(Fault):
    """The first time that anything is written to, somebody else was first."""

    def __init__(self) -> None:
        self._met: set[str] = set()
        self.count = 0

    def ask(self, call: Call) -> Answer | None:
        if not call.writes or (place := f"{call.method} {call.path}") in self._met:
            return None
        self._met.add(place)
        self.count += 1
        return refusal(409, "Conflict")


class OldReads(Fault):
    """Reads are answered as once before: every second one with the first answer that its URL ever had.

    So does an API server that hears late from its etcd.
    """

    def __init__(self) -> None:
        self._first: dict[str, Answer] = {}
        self._asked: dict[str, int] = {}
        self.count = 0

    def answer(self, call: Call, answer: Answer) -> Answer | None:
        if not call.reads or answer.status != 200:
            return answer
        url = f"{call.path}?{sorted(call.query.items())}"
        first = self._first.setdefault(url, answer)
        self._asked[url] = self._asked.get(url, 0) + 1
        if self._asked[url] % 2 or first is answer:
            return answer
        self.count += 1
        return first


class CutWatches(Fault):
    """Every watch ends a moment after it began, in the middle."""

    def __init__(self, cut: Callable[[], object], after_s: float = 0.3) -> None:
        self._cut, self._after_s = cut, after_s
        self.count = 0

    def answered(self, call: Call) -> None:
        if call.watches:
            self.count += 1
            timer = threading.Timer(self._after_s, self._cut)
            timer.daemon = True
            timer.start()
