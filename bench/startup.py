"""How long a person waits for ``featurestore --help``, and a program for ``import featurestore``."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench.figure import Figure

RUNS = 15


def measure() -> list[Figure]:
    """Medians of fresh processes, beside the bare interpreter's in the same run."""
    commands = {
        "python -c pass": ["-c", "pass"],
        "import featurestore": ["-c", "import featurestore"],
        "featurestore --help": ["-m", "featurestore.cli", "--help"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for run in range(RUNS + 1):
        for name, arguments in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if run:  # the first fills the caches
                seconds[name].append(time.perf_counter() - start)
    figures = []
    for name, taken in seconds.items():
        median_ms = statistics.median(taken) * 1000
        goal = "well under 500 ms" if name.startswith("featurestore") else ""
        met = median_ms < 500 if goal else None
        figures.append(Figure("start", name, median_ms, "ms", goal, met))
    return figures
