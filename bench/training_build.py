"""How much memory a version of a training set takes while it is made, whether its bytes are those made with plenty."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import polars as pl

from bench.figure import Figure
from featurestore.protocol import Progress, TrainingSetRequest
from featurestore.registry.registry import Registry
from featurestore.resources import TrainingSet
from featurestore.resources.quantity import parse_bytes
from featurestore.runner.guard import held_bytes
from featurestore.storage.objects import Storage
from featurestore_transforms.training.make_version import run_training_set

ROWS, FILE_ROWS, ENTITIES = 3_000_000, 1_000_000, 100_000
EVENTS_OF_WIDE = 200_000
NUMBERS = 4
LIMIT, PLENTY = "512Mi", "8Gi"
TOLD_EACH_S = 30
PROJECT = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}}
"""
RESOURCES = """
kind: DataPipeline
metadata: {name: events}
spec:
  source: {uri: "raw/*.parquet", format: Parquet}
  trigger: {arrivals: {maxFiles: 4}}
  resources: {memory: 4Gi}
---
kind: FeatureView
metadata: {name: view}
spec:
  entity: {name: entity, joinKeys: [{name: k, type: string}]}
  source: {pipeline: events}
  timestampField: at
  online: {enabled: Never}
  resources: {memory: 4Gi}
  features:
  - {name: last, type: float64, column: x0}
  - {name: sum, type: float64, aggregate: {function: Sum, column: x1, windows: [1d]}}
"""


@dataclass(frozen=True)
class Build:
    """A version that was made. ``held_bytes``: by its process alone, at most; ``resident_bytes``: with pages of files."""

    rows: int
    size_bytes: int
    sha256: str
    took_s: float
    cpu_s: float
    held_bytes: int
    resident_bytes: int


def measure(rows: int = ROWS, limit: str = LIMIT, wide: int = 0) -> list[Figure]:
    """The peak of a process of its own that makes a version of so many rows, and what it took.

    ``wide``: so many more features, so that the set is large for its labels. It is made once then, to spare the disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), rows, wide)
        build = run(Path(folder), limit)
        wanted = build if wide else run(Path(folder), PLENTY)
    name = f"a training set of {build.rows / 1e6:g} M rows and {build.size_bytes / 1e9:.2f} GB with {limit}"
    allowed, goal = parse_bytes(limit), f"at most {limit}"
    figures = [
        Figure(
            "training",
            f"peak of making {name}",
            build.held_bytes / 2**20,
            "MiB",
            goal,
            build.held_bytes <= allowed,
        ),
        Figure("training", "peak with pages of mapped files", build.resident_bytes / 2**20, "MiB"),
        Figure("training", "the clock", build.took_s, "s"),
        Figure("training", "processors", build.cpu_s, "s"),
    ]
    if not wide:
        is_same = build.sha256 == wanted.sha256
        figures.append(Figure("training", f"same bytes as with {PLENTY}", is_same, "", "1", is_same))
    return figures


def prepare(folder: Path, rows: int, wide: int) -> None:
    """A store in which the set can be made: as many events as labels, of many entities; of a wide one, fewer events."""
    random = np.random.default_rng(0)
    keys = pl.Series([f"e{n:06d}" for n in range(ENTITIES)])

    def write(into: Path, rows: int, numbers: int, step_us: int) -> None:
        into.mkdir()
        for number, first in enumerate(range(0, rows, FILE_ROWS)):
            count = min(FILE_ROWS, rows - first)
            since = np.arange(first, first + count) * np.timedelta64(step_us, "us")
            pl.DataFrame(
                {
                    "k": keys.gather(random.integers(0, ENTITIES, count)),
                    "at": pl.Series(np.datetime64("2024-01-01") + since).dt.replace_time_zone("UTC"),
                    **{f"x{n}": random.normal(size=count) for n in range(numbers)},
                    "late": random.random(count) < 0.1,
                }
            ).write_parquet(into / f"{number:05d}.parquet")

    if wide:
        write(folder / "labels", rows, 0, 1_000_000)
        write(folder / "raw", EVENTS_OF_WIDE, NUMBERS + wide, 1_000_000 * rows // EVENTS_OF_WIDE)
    else:
        write(folder / "raw", rows, NUMBERS, 1_000_000)
    more = [f"  - {{name: x{n}, type: float64, column: x{n}}}\n" for n in range(NUMBERS, NUMBERS + wide)]
    (folder / "store.yaml").write_text(PROJECT)
    (folder / "resources.yaml").write_text(RESOURCES + "".join(more))
    for command in (["apply", "-f", "resources.yaml"], ["run", "--once"]):
        subprocess.run(
            [sys.executable, "-m", "featurestore.cli", *command],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )


def run(folder: Path, limit: str) -> Build:
    """A version that is made anew. ``sha256``: of all its shards."""
    storage = Storage(str(folder / "root"))
    shutil.rmtree(folder / "root" / "trainingsets", ignore_errors=True)
    numbers = [f"x{n}" for n in range(NUMBERS)]
    labels = {"pipeline": "events", "timestampField": "at", "columns": ["late", *numbers]}
    if (folder / "labels").exists():
        labels = {"uri": f"{folder}/labels/*.parquet", "timestampField": "at", "columns": ["late"]}
    spec: dict[str, Any] = {
        "features": {"names": ["view:*"]},
        "labels": labels,
        "split": {"by": "Time", "parts": {"train": 0.8, "test": 0.2}},
        "shards": {"shuffle": {"seed": 7}},
        "resources": {"memory": limit},
    }
    Registry(storage).accept(TrainingSet.model_validate({"metadata": {"name": "set"}, "spec": spec}))
    done = subprocess.run(
        [sys.executable, "-m", "bench.training_build", "--make", str(folder)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    made = json.loads(done.stdout)
    total, size_bytes = hashlib.sha256(), 0
    for path in sorted((folder / "root" / "trainingsets").rglob("*.parquet")):
        total.update(path.read_bytes())
        size_bytes += path.stat().st_size
    return Build(size_bytes=size_bytes, sha256=total.hexdigest(), **made)


def _make(folder: Path) -> None:
    over, peak, pid = Event(), 0, os.getpid()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.01):
            peak = max(peak, held_bytes(pid))

    thread = Thread(target=watch)
    thread.start()
    begun = time.perf_counter()
    try:
        request = TrainingSetRequest(root=str(folder / "root"), name="set", number=1)
        result = run_training_set(Storage(request.root), request, _progress_teller())
    finally:
        over.set()
        thread.join()
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "rows": result.rows,
                "took_s": time.perf_counter() - begun,
                "cpu_s": used.ru_utime + used.ru_stime,
                "held_bytes": peak,
                "resident_bytes": _most_resident_bytes(),
            }
        )
    )


def _most_resident_bytes() -> int:
    """Of this process, at any time: what getrusage says counts the process that started it as well."""
    [line] = [
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")
    ]
    return int(line.split()[1]) * 1024


def _progress_teller() -> Callable[[Progress], None]:
    """Says now and then how far it is."""
    begun, last_s = time.perf_counter(), 0.0

    def tell(progress: Progress) -> None:
        nonlocal last_s
        now_s = time.perf_counter() - begun
        if now_s - last_s >= TOLD_EACH_S or progress.done == progress.total:
            last_s = now_s
            print(
                f"{now_s:,.0f} s: {progress.step}: {progress.done:,} of {progress.total:,}", file=sys.stderr
            )

    return tell


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training_build", description=__doc__)
    parser.add_argument("--make", metavar="FOLDER", type=Path)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--limit", default=LIMIT)
    parser.add_argument("--wide", type=int, default=0, metavar="FEATURES")
    wanted = parser.parse_args()
    if wanted.make is not None:
        _make(wanted.make)
        return
    for figure in measure(wanted.rows, wanted.limit, wanted.wide):
        judged = "" if figure.met is None else f", goal {figure.goal}: {'met' if figure.met else 'NOT MET'}"
        print(f"{figure.name}: {figure.value:,.6g} {figure.unit}{judged}")


if __name__ == "__main__":
    main()
