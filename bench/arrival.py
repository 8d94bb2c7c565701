"""How long after a small file arrives its values are readable online, with ``featurestore run`` on."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

import featurestore
from bench.figure import Figure, percentile

FILES = 60
RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}}
---
kind: DataPipeline
metadata: {name: events}
spec:
  source: {uri: raw/*.parquet, format: Parquet}
  trigger: {arrivals: {maxWait: 0s}}
---
kind: FeatureView
metadata: {name: things}
spec:
  entity: {name: thing, joinKeys: [{name: k, type: int64}]}
  source: {pipeline: events}
  timestampField: ts
  features: [{name: v, type: int64, column: v}]
"""


def measure() -> list[Figure]:
    """p50 and p99 of files that come one by one, each when the one before is readable."""
    with tempfile.TemporaryDirectory() as folder:
        taken = _taken(Path(folder))
    p50, p99 = percentile(taken, 0.5), percentile(taken, 0.99)
    return [
        Figure("arrival to readable online", "p50", p50, "s", "≤ 0.5 s", p50 <= 0.5),
        Figure("arrival to readable online", "p99", p99, "s"),
    ]


def _taken(project: Path) -> list[float]:
    (project / "raw").mkdir()
    (project / "store.yaml").write_text(RESOURCES)
    cli = [sys.executable, "-m", "featurestore.cli"]
    subprocess.run([*cli, "apply", "-f", "."], cwd=project, check=True, stdout=subprocess.DEVNULL)
    runner = subprocess.Popen([*cli, "run"], cwd=project, stdout=subprocess.DEVNULL)
    store = featurestore.connect(project)
    taken = []
    try:
        for number in range(FILES + 1):
            path = project / "raw" / f"{number}.parquet"
            rows = {"k": list(range(1000)), "ts": [datetime.now(UTC)] * 1000, "v": [number] * 1000}
            frame = pl.DataFrame(rows)
            begin = time.perf_counter()
            frame.write_parquet(path)
            while not _readable(store, number):
                time.sleep(0.002)
            if number:  # the first waits for the worker to start
                taken.append(time.perf_counter() - begin)
    finally:
        runner.send_signal(signal.SIGINT)
        runner.wait(30)
    return taken


def _readable(store: featurestore.Store, number: int) -> bool:
    try:
        read = store.get_features(["things:v"], [{"k": 999}])
    except featurestore.errors.NotFound:
        return False
    return read.to_dict()["v"] == [number]
