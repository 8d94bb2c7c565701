"""Ends a process that takes more memory or more time than it was given, and says which it was.

Memory is what cannot be given back: anonymous pages, not files that are mapped. It is looked at often, because an
allocator fills some gigabytes in a second; on Linux the kernel also refuses what is far beyond the bound at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

from featurestore.errors import Crash, OutOfMemory, OutOfTime
from featurestore.humanize import size
from featurestore.resources.data_pipeline import Resources

FLOOR_BYTES = 512 << 20
"""Less than this does not hold the engine and its threads."""
_LOOK_S = 0.02
_ADDRESSED = 4
"""What threads and allocators set aside and never use: so much more than the bound is refused by the kernel."""
_FOR_THREADS_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take; None for as much as it likes."""

    memory_bytes: int | None = None
    time_s: float | None = None


NO_LIMITS = Limits()


def laptop_memory(resources: Resources, out_of_memory: int) -> int:
    """The memory that a request may take after so many attempts for which it was too little.

    It grows only as far as ``memoryLimit`` says: a laptop has other work to do. The engine itself needs some.

    >>> laptop_memory(Resources(memory="2Gi"), 1) >> 30, laptop_memory(Resources(memory="64Mi"), 0) >> 20
    (2, 512)
    """
    most = resources.memory_limit or resources.memory
    return max(FLOOR_BYTES, min(resources.memory << out_of_memory, most))


class Guard:
    """While it is entered, the process is ended as soon as it exceeds its limits; :attr:`exceeded` then says how.

    Time counts anew from :meth:`begun`: what a process takes to start says nothing about the request.
    """

    def __init__(self, pid: int, limits: Limits) -> None:
        self._pid, self._limits = pid, limits
        self._began_s = time.monotonic()
        self._over = Event()
        self._thread = Thread(target=self._watch, name=f"guard-{pid}", daemon=True)
        self.peak_bytes = 0
        self.exceeded: Crash | None = None

    def __enter__(self) -> Self:
        _set_bound(self._pid, self._limits.memory_bytes)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def begun(self) -> None:
        """The process has begun with the request."""
        self._began_s = time.monotonic()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S if sys.platform == "linux" else 10 * _LOOK_S):
            self.peak_bytes = max(self.peak_bytes, held_bytes(self._pid))
            took_s = time.monotonic() - self._began_s
            self.exceeded = self._judge(took_s)
            if self.exceeded is not None:
                with suppress(ProcessLookupError):
                    # Also what it started itself: it leads a group of its own.
                    os.killpg(self._pid, 9)
                return

    def _judge(self, took_s: float) -> Crash | None:
        most, limit_s = self._limits.memory_bytes, self._limits.time_s
        if most is not None and self.peak_bytes > most:
            return OutOfMemory(
                "the worker process was stopped: it used more memory than it may",
                wanted=f"at most {size(most)}",
                got=size(self.peak_bytes),
                hint="Raise spec.resources.memory, or make batches smaller: spec.trigger.arrivals.maxBytes",
            )
        if limit_s is not None and took_s > limit_s:
            return OutOfTime(
                "the worker process was ended: it took more time than it was given",
                wanted=f"an end within {limit_s:,.0f} s",
                got=f"none, after {took_s:,.0f} s, with {size(self.peak_bytes)} at most",
                hint="Raise spec.job.activeDeadline, or make batches smaller: spec.trigger.arrivals.maxBytes",
            )
        return None


def held_bytes(pid: int) -> int:
    """The memory that only this process holds; 0 if it is gone."""
    if sys.platform == "linux":
        with suppress(OSError, ValueError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
        return 0
    listing = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return int(listing.stdout) * 1024 if listing.stdout.strip() else 0


def volunteer(pid: int) -> None:
    """Let the kernel, if memory ends, end this process rather than any other."""
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("900")


def _set_bound(pid: int, memory_bytes: int | None) -> None:
    """Let the kernel refuse at once what is far too much: between two looks all memory could be taken."""
    if sys.platform != "linux" or memory_bytes is None:
        return
    import resource

    with suppress(OSError, ValueError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        wanted = memory_bytes * _ADDRESSED + _FOR_THREADS_BYTES
        resource.prlimit(pid, resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))
