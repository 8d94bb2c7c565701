"""Resident memory of processes while they run, and whether it grows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

JUDGED_S = 600.0
"""A process that was watched for less has hardly warmed up: whether it grows is not said."""
MOST_MIB_A_MINUTE = 1.0
MOST_KIB_A_BATCH = 64.0
"""What memory may grow by. A machine that does few batches in a minute keeps the first bound with any leak."""


@dataclass(frozen=True, slots=True)
class MemorySample:
    """``batches``: how many were committed until then by what the process is a part of."""

    at_s: float
    batches: int
    mib: float


@dataclass(frozen=True, slots=True)
class MemoryGrowth:
    """Of the last half of the time that a process was watched. ``kib_a_batch``: None if no batch was committed in it."""

    mib_a_minute: float
    kib_a_batch: float | None

    @property
    def is_leak(self) -> bool:
        return self.mib_a_minute > MOST_MIB_A_MINUTE or (self.kib_a_batch or 0.0) > MOST_KIB_A_BATCH

    def __str__(self) -> str:
        by_batch = "no batch" if self.kib_a_batch is None else f"{self.kib_a_batch:+.0f} KiB a batch"
        return f"{self.mib_a_minute:+.2f} MiB a minute, {by_batch}"


@dataclass
class ResidentMemory:
    """Samples by name and process: a process that takes the place of another has samples of its own."""

    _samples: defaultdict[tuple[str, int], list[MemorySample]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _latest: dict[str, float] = field(default_factory=dict)

    def sample(self, now_s: float, pids: Mapping[str, int | None], batches: Mapping[str, int]) -> None:
        """Look at these processes; at those that have none, or that ended, there is nothing to be seen."""
        for name, pid in pids.items():
            size_mib = None if pid is None else resident_mib(pid)
            if pid is not None and size_mib is not None:
                self._samples[name, pid].append(MemorySample(now_s, batches[name], size_mib))
                self._latest[name] = size_mib

    def latest_mib(self, name: str) -> float | None:
        """As it was last seen."""
        return self._latest.get(name)

    def peak_mib(self, name: str) -> float:
        """The most that any process of the name had."""
        return max((sample.mib for taken in self._of(name) for sample in taken), default=0.0)

    def growth(self, name: str) -> MemoryGrowth | None:
        """Of the process of a name that was watched longest; None if that was not long enough."""
        longest = max(self._of(name), key=lambda taken: taken[-1].at_s - taken[0].at_s, default=[])
        return growth(longest)

    def fault(self, name: str) -> str:
        """Why the memory of a name's processes is not as it must be; "" if all is well.

        A process that takes the place of another again and again hides what it leaks: of all the time, one must live long
        enough to be judged.
        """
        grown = self.growth(name)
        if grown is not None:
            bounds = f"{MOST_MIB_A_MINUTE:g} MiB a minute and {MOST_KIB_A_BATCH:g} KiB a batch"
            return f"{name} grows by {grown}, wanted at most {bounds}" if grown.is_leak else ""
        times_s = [sample.at_s for taken in self._of(name) for sample in taken]
        if times_s and max(times_s) - min(times_s) > 3 * JUDGED_S:
            return f"no process of {name} lived for {JUDGED_S:g} s, so that nobody knows whether it grows"
        return ""

    def _of(self, name: str) -> list[list[MemorySample]]:
        return [taken for (of, _), taken in self._samples.items() if of == name]


def growth(samples: list[MemorySample]) -> MemoryGrowth | None:
    """From the median of the third quarter of the time to that of the last quarter; None if it was watched too short.

    A process grows while it warms up: engines are loaded, threads begin, allocators keep what was freed, tables get their first
    thousand files. That comes to an end, and the first half of the time is left to it. What is leaked is leaked for ever,
    so it is there in the second half as well, however much came before it. Medians leave out what one batch takes.

    >>> rising = [MemorySample(second, second // 10, 100 + second / 60) for second in range(0, 1800, 5)]
    >>> growth(rising)
    MemoryGrowth(mib_a_minute=1.0, kib_a_batch=170.7)
    >>> growth([MemorySample(at.at_s, at.batches, min(at.mib, 110)) for at in rising])
    MemoryGrowth(mib_a_minute=0.0, kib_a_batch=0.0)
    >>> growth(rising[:60]) is None
    True
    """
    if not samples or samples[-1].at_s - samples[0].at_s < JUDGED_S:
        return None
    start_s, quarter_s = samples[0].at_s, (samples[-1].at_s - samples[0].at_s) / 4
    quarters: list[list[MemorySample]] = [[], [], [], []]
    for sample in samples:
        quarters[min(3, int((sample.at_s - start_s) / quarter_s))].append(sample)
    before, after = quarters[2:]
    if not before or not after:
        return None
    mib = median(sample.mib for sample in after) - median(sample.mib for sample in before)
    batches = median(sample.batches for sample in after) - median(sample.batches for sample in before)
    return MemoryGrowth(round(mib / (quarter_s / 60), 2), round(mib * 1024 / batches, 1) if batches else None)


def resident_mib(pid: int) -> float | None:
    """None if it ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmRSS:")), None)
    return None if line is None else int(line.split()[1]) / 1024


def child(pid: int) -> int | None:
    """The first process that a process started and that runs; None if there is none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None
