"""How much memory a version of a training set takes while it is made, whether its bytes are those made with plenty."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import polars as pl

from bench.figure import Figure
from featurestore.protocol import TrainingSetRequest
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


def measure(rows: int = ROWS, limit: str = LIMIT, wide: int = 0) -> list[Figure]:
    """The peak of a process of its own that makes a version of so many rows.

    ``wide``: so many more features, so that the set is large for its labels. It is made once then, to spare the disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), rows, wide)
        begun = time.perf_counter()
        peak, size, made = run(Path(folder), limit)
        took_s = time.perf_counter() - begun
        wanted = made if wide else run(Path(folder), PLENTY)[2]
    name = f"a training set of {rows / 1e6:g} M rows and {size / 1e9:.2f} GB with {limit}"
    allowed = parse_bytes(limit)
    peaked = Figure(
        "training", f"peak of making {name}", peak / 2**20, "MiB", f"at most {limit}", peak <= allowed
    )
    if wide:
        return [peaked, Figure("training", f"making {name}", took_s, "s")]
    return [
        peaked,
        Figure("training", f"same bytes as with {PLENTY}", made == wanted, "", "1", made == wanted),
    ]


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


def run(folder: Path, limit: str) -> tuple[int, int, str]:
    """Bytes that were held at most, bytes of the version, and a digest of all its files. It is made anew."""
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
    files = sorted(
        path for path in (folder / "root" / "trainingsets").rglob("*") if path.suffix == ".parquet"
    )
    total = hashlib.sha256()
    for path in files:
        total.update(path.read_bytes())
    return int(done.stdout), sum(path.stat().st_size for path in files), total.hexdigest()


def _make(folder: Path) -> None:
    over, peak, pid = Event(), 0, os.getpid()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.01):
            peak = max(peak, held_bytes(pid))

    thread = Thread(target=watch)
    thread.start()
    try:
        request = TrainingSetRequest(root=str(folder / "root"), name="set", number=1)
        run_training_set(Storage(request.root), request, lambda progress: None)
    finally:
        over.set()
        thread.join()
    print(peak)


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
        print(f"{figure.name}: {figure.value:,.4g} {figure.unit}, goal {figure.goal}")


if __name__ == "__main__":
    main()
