"""How much memory a version of a training set takes while it is made, whether its bytes are those made with plenty."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
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


def measure(rows: int = ROWS, limit: str = LIMIT) -> list[Figure]:
    """The peak of a process of its own that makes a version of so many rows."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), rows)
        peak, size, made = run(Path(folder), limit)
        _, _, wanted = run(Path(folder), PLENTY)
    name = f"a training set of {rows / 1e6:g} M rows and {size / 1e9:.2f} GB with {limit}"
    allowed = parse_bytes(limit)
    return [
        Figure(
            "training", f"peak of making {name}", peak / 2**20, "MiB", f"at most {limit}", peak <= allowed
        ),
        Figure("training", f"same bytes as with {PLENTY}", made == wanted, "", "1", made == wanted),
    ]


def prepare(folder: Path, rows: int) -> None:
    """A store in which the set can be made: as many events as labels, of many entities."""
    raw, random = folder / "raw", np.random.default_rng(0)
    raw.mkdir()
    keys = pl.Series([f"e{n:06d}" for n in range(ENTITIES)])
    for number, first in enumerate(range(0, rows, FILE_ROWS)):
        count = min(FILE_ROWS, rows - first)
        at = np.datetime64("2024-01-01") + np.arange(first, first + count) * np.timedelta64(1_000_000, "us")
        pl.DataFrame(
            {
                "k": keys.gather(random.integers(0, ENTITIES, count)),
                "at": pl.Series(at).dt.replace_time_zone("UTC"),
                **{f"x{n}": random.normal(size=count) for n in range(NUMBERS)},
                "late": random.random(count) < 0.1,
            }
        ).write_parquet(raw / f"{number:05d}.parquet")
    (folder / "store.yaml").write_text(PROJECT)
    (folder / "resources.yaml").write_text(RESOURCES)
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
    spec: dict[str, Any] = {
        "features": {"names": ["view:*"]},
        "labels": {"pipeline": "events", "timestampField": "at", "columns": ["late", *_numbers()]},
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


def _numbers() -> list[str]:
    return [f"x{n}" for n in range(NUMBERS)]


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
    wanted = parser.parse_args()
    if wanted.make is not None:
        _make(wanted.make)
        return
    for figure in measure(wanted.rows, wanted.limit):
        print(f"{figure.name}: {figure.value:,.4g} {figure.unit}, goal {figure.goal}")


if __name__ == "__main__":
    main()
