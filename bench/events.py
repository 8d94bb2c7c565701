"""How long after rows are pushed they are readable online, with ``featurestore run`` on: DuckDB, Redis, and before the batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import featurestore
from bench.figure import Figure, percentile

PUSHES = 60
CLI = (sys.executable, "-m", "featurestore.cli")
RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}, online: %s}
---
kind: DataPipeline
metadata: {name: clicks}
spec:
  source:
    uri: "pushed/*.arrow"
    format: Arrow
    push: {schema: [{name: user, type: string}, {name: at, type: timestamp}, {name: n, type: int64}]}
  trigger: {arrivals: {maxWait: 0s}}
---
kind: FeatureView
metadata: {name: users}
spec:
  entity: {name: user, joinKeys: [{name: user, type: string}]}
  source: {pipeline: clicks}
  timestampField: at
  features:
  - {name: n, type: int64, column: n}
  - {name: total, type: int64, aggregate: {function: Sum, column: n, windows: [1d]}}
"""
IMMEDIATE = RESOURCES.rpartition("  -")[0] + "  online: {write: Immediate}\n"


def measure() -> list[Figure]:
    """p50 and p99 of pushes that come one by one, each when the one before is readable, beside what cannot be saved."""
    from storage_server import redis

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "redis").mkdir()
        figures = _figures("DuckDB", folder / "duckdb", "{duckdb: {}}", _durable_s(folder))
        with redis(folder / "redis") as url:
            floor = _durable_s(folder, url)
            online = f"{{redis: {{url: '{url}'}}}}"
            figures += _figures("Redis", folder / "project", online, floor)
            figures += _immediate_figures(folder / "immediate", online)
    return figures


def _figures(store: str, project: Path, online: str, floor_s: float) -> list[Figure]:
    taken_s, cpu_s, written_s = _pushed(project, online)
    p50, p99 = percentile(taken_s, 0.5), percentile(taken_s, 0.99)
    question = f"push to readable, {store}"
    return [
        Figure(question, "p50", p50, "s", "≤ 0.5 s", p50 <= 0.5),
        Figure(question, "p99", p99, "s"),
        Figure(question, "p50 of the push alone", percentile(written_s, 0.5), "s"),
        Figure(question, "p50 ÷ a bare durable write, and SET", p50 / floor_s, "×"),
        Figure(question, "CPU of a push, runner and worker", cpu_s, "s"),
    ]


def _immediate_figures(project: Path, online: str) -> list[Figure]:
    taken_s, _, written_s = _pushed(project, online, IMMEDIATE)
    question = "push to readable, Immediate"
    return [
        Figure(question, "p50", 1000 * percentile(taken_s, 0.5), "ms"),
        Figure(question, "p99", 1000 * percentile(taken_s, 0.99), "ms"),
        Figure(question, "p50 until the push is answered", 1000 * percentile(written_s, 0.5), "ms"),
    ]


def _pushed(project: Path, online: str, resources: str = RESOURCES) -> tuple[list[float], float, list[float]]:
    """Seconds until each push is readable, CPU seconds of each, seconds until each is durable."""
    store = begun(project, resources % online)
    taken_s, written_s, began_s = [], [], 0.0
    with running(project) as runner:
        for number in range(PUSHES + 1):
            if number == 1:  # The first one waits for the worker to start.
                began_s = cpu_s(runner)
            rows = [{"user": "ann", "at": datetime.now(UTC), "n": number}]
            begin_s = time.perf_counter()
            store.push("clicks", rows, idempotency_key=str(number))
            durable_s = time.perf_counter()
            while not _readable(store, number):
                time.sleep(0.005)
            if number:
                taken_s.append(time.perf_counter() - begin_s)
                written_s.append(durable_s - begin_s)
        return taken_s, (cpu_s(runner) - began_s) / PUSHES, written_s


def begun(project: Path, resources: str) -> featurestore.Store:
    """A new project in which these are applied."""
    project.mkdir()
    (project / "store.yaml").write_text(resources)
    subprocess.run([*CLI, "apply", "-f", "."], cwd=project, check=True, stdout=subprocess.DEVNULL)
    return featurestore.connect(project)


@contextmanager
def running(project: Path) -> Iterator[int]:
    """`featurestore run` until the end of the block: the id of its process."""
    runner = subprocess.Popen([*CLI, "run"], cwd=project, stdout=subprocess.DEVNULL)
    try:
        yield runner.pid
    finally:
        runner.send_signal(signal.SIGINT)
        runner.wait(60)


def _readable(store: featurestore.Store, number: int) -> bool:
    try:
        read = store.get_features(["users:n"], [{"user": "ann"}])
    except featurestore.errors.NotFound:
        return False
    return bool(read.to_dict()["n"] == [number])


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, of those that it started, and of those of them that ended."""
    own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = sum(int(field) for field in own[11:15])
    return ticks / os.sysconf("SC_CLK_TCK") + sum(cpu_s(int(child)) for child in children)


def _durable_s(folder: Path, url: str | None = None) -> float:
    """p50 of what cannot be saved: two durable small files, one after the other, as push and commit, and a SET."""
    client: Any = None
    if url is not None:
        import redis

        client = redis.Redis.from_url(url)
    taken_s = []
    for number in range(PUSHES):
        begin_s = time.perf_counter()
        for name in ("pushed", "committed"):
            _write(folder / f"{name}-{number}", b"x" * 500)
        if client is not None:
            client.set("k", number)
        taken_s.append(time.perf_counter() - begin_s)
    return percentile(taken_s, 0.5)


def _write(path: Path, data: bytes) -> None:
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    os.write(file, data)
    os.fsync(file)
    os.close(file)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
