"""One measured number, with what it is to be compared to."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """``value`` in ``unit``; ``goal`` in words, and whether it was ``met`` (None: there is none)."""

    question: str
    name: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    ordered = sorted(values)
    return ordered[max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1)]


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    memory = next(
        line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line
    )
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count() or 0,
        "memory_gib": round(int(memory) / 2**20),
        "python": platform.python_version(),
        **{name: version(name) for name in ("polars", "deltalake", "duckdb", "pyarrow")},
    }
