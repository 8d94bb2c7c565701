"""Resident memory of processes while they run, and whether it grows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

JUDGED_S = 600.0
"""A process that was watched for less has hardly warmed up: whether it grows is not said."""


@dataclass
class ResidentMemory:
    """Samples by name and process: a process that takes the place of another has samples of its own."""

    _samples: defaultdict[tuple[str, int], list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _latest: dict[str, float] = field(default_factory=dict)

    def sample(self, now_s: float, pids: Mapping[str, int | None]) -> None:
        """Look at these processes; at those that have none, or that ended, there is nothing to be seen."""
        for name, pid in pids.items():
            size_mib = None if pid is None else resident_mib(pid)
            if pid is not None and size_mib is not None:
                self._samples[name, pid].append((now_s, size_mib))
                self._latest[name] = size_mib

    def latest_mib(self, name: str) -> float | None:
        """As it was last seen."""
        return self._latest.get(name)

    def peak_mib(self, name: str) -> float:
        """The most that any process of the name had."""
        return max(
            (mib for (of, _), taken in self._samples.items() if of == name for _, mib in taken), default=0.0
        )

    def growth(self, name: str) -> float | None:
        """MiB a minute of the process of a name that was watched longest; None if that was not long enough."""
        series = [taken for (of, _), taken in self._samples.items() if of == name]
        longest = max(series, key=lambda taken: taken[-1][0] - taken[0][0], default=[])
        return growth(longest)


def growth(samples: list[tuple[float, float]]) -> float | None:
    """MiB a minute: from the median of the second third of the time to that of the last; None if it is too short.

    What a process takes while it warms up is in the first third; medians leave out what one batch takes.

    >>> growth([(second, 100.0 + second / 60) for second in range(0, 1800, 5)])
    1.0
    >>> growth([(0.0, 100.0), (60.0, 200.0)]) is None
    True
    """
    if not samples or samples[-1][0] - samples[0][0] < JUDGED_S:
        return None
    start_s, third_s = samples[0][0], (samples[-1][0] - samples[0][0]) / 3
    parts: list[list[float]] = [[], [], []]
    for at_s, mib in samples:
        parts[min(2, int((at_s - start_s) / third_s))].append(mib)
    if not parts[1] or not parts[2]:
        return None
    return round((median(parts[2]) - median(parts[1])) / (third_s / 60), 2)


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
