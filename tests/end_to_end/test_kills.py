"""Real processes, really killed: nothing is lost, nothing is doubled, and nobody repairs anything by hand."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import get_args

import polars as pl
import pytest
from accepted import accept
from examples import exhaustive, sample
from forked_process import started_by
from scenario import START

import featurestore
from featurestore import failpoint
from featurestore.arrivals.ledger import Ledger
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage

KILLS, FILES = (200, 60) if exhaustive() else (6, 20)
MOST_FILES = 500
"""On a slow machine 200 kills take minutes, and all that arrived meanwhile has to be drained."""
ROWS = 50
RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}}
---
kind: DataPipeline
metadata: {name: events}
spec:
  source: {uri: raw/*.parquet, format: Parquet}
  trigger: {arrivals: {pollInterval: 1s, maxWait: 50ms, maxFiles: 5}}
  expectations: [{name: positive, that: "v >= 0"}]
---
kind: FeatureView
metadata: {name: things}
spec:
  entity: {name: thing, joinKeys: [{name: k, type: string}]}
  source: {pipeline: events}
  timestampField: ts
  features:
    - {name: v, type: int64, column: v}
    - {name: total, type: int64, aggregate: {function: Sum, column: v, windows: [30d]}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    (tmp_path / "store.yaml").write_text(RESOURCES)
    accept(tmp_path)
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "featurestore.cli", *arguments]


def arrive(project: Path, number: int) -> None:
    """File ``number`` appears, whole: rows of ten things, one of them below zero."""
    values = [number * ROWS + row for row in range(ROWS)]
    frame = pl.DataFrame(
        {
            "k": [f"thing {value % 10}" for value in values],
            "ts": [START + timedelta(seconds=value) for value in values],
            "v": [-1 if value % ROWS == 7 else value for value in values],
        }
    )
    hidden = project / "raw" / f".{number}"
    frame.write_parquet(hidden)
    hidden.rename(project / "raw" / f"{number:06d}.parquet")


@contextmanager
def arriving(project: Path) -> Iterator[list[int]]:
    """Files keep arriving in the background; the list grows with them."""
    arrived: list[int] = []
    stop = threading.Event()

    def send() -> None:
        while len(arrived) < MOST_FILES and not stop.wait(0.15):
            arrive(project, len(arrived))
            arrived.append(len(arrived))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield arrived
    finally:
        stop.set()
        thread.join()


def children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        born = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return born + started_by(pid)
    return []


def kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def check(project: Path, files: int) -> None:
    """Each row of each file stands exactly once, in the dataset or in quarantine; readers see the newest."""
    storage = Storage(str(project / "root"))
    ledger = Ledger(storage, "events")
    taken = [e.arrival.uri for n in range(1, ledger.last_batch() + 1) for e in ledger.manifest(n).entries]
    assert sorted(taken) == sorted(f"raw/{n:06d}.parquet" for n in range(files))
    assert values(storage, "datasets/events") == [v for v in range(files * ROWS) if v % ROWS != 7], (
        "the dataset is not exactly the files' good rows"
    )
    quarantine = Table.open(storage, "quarantine/pipelines/events")
    assert quarantine is not None
    assert sum(file.rows for file in quarantine.files()) == files
    store = featurestore.connect(project)
    last = files * ROWS - 1
    newest = {f"thing {v % 10}": v for v in range(last - 20, last + 1) if v % ROWS != 7}
    online = store.get_features(["things:v"], [{"k": key} for key in sorted(newest)]).to_dict()
    assert online["v"] == [newest[key] for key in sorted(newest)]
    at = START + timedelta(seconds=last)
    labels = [{"k": key, "t": at} for key in sorted(newest)]
    offline = store.get_features(["things:v", "things:total_30d"], labels, timestamp_column="t").to_dict()
    assert offline["v"] == online["v"]
    assert sum(offline["total_30d"]) == sum(v for v in range(files * ROWS) if v % ROWS != 7)


def values(storage: Storage, path: str) -> list[int]:
    table = Table.open(storage, path)
    assert table is not None
    found: list[int] = pl.read_parquet(table.uris())["v"].sort().to_list()
    return found


def drain(project: Path) -> None:
    done = subprocess.run(command("run", "--once"), cwd=project, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


REBUILD = (
    "intent",
    "piece",
    "decision",
    "rebuild",
    "rebuild-quarantine",
    "rebuild-dataset",
    "rebuild-schema",
)
PUSHED = ("push", "announce", "immediate", "settle")
ELSEWHERE = ("checkpoint", "part", "crash", "delete", "erasure", "training", "event", *PUSHED, *REBUILD)
"""Steps that an undisturbed run of a few files never reaches: tests of these have kills of their own."""
STEPS = [step for step in get_args(failpoint.Step) if not step.endswith(ELSEWHERE)]


@pytest.mark.slow
@pytest.mark.parametrize("step", sample(STEPS, 2))
def test_what_is_killed_at_any_step_is_finished_by_the_next_run(project: Path, step: failpoint.Step) -> None:
    for number in range(7):
        arrive(project, number)
    environment = {**os.environ, "FEATURESTORE_KILL_AT": step}
    killed = subprocess.run(
        command("run", "--once"),
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    # Either the runner was, or the worker, as often as the runner started it again.
    assert killed.returncode == -signal.SIGKILL or "SIGKILL" in killed.stdout, killed.stdout
    drain(project)
    check(project, 7)


@pytest.mark.slow
def test_kills_under_load_lose_nothing_and_double_nothing(project: Path) -> None:
    chance = random.Random(20240330)
    kills = 0
    with arriving(project) as arrived:
        while kills < KILLS:
            runner = subprocess.Popen(
                command("run"), cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            # Long enough that some runs come to publish, short enough that most do not.
            deadline = time.monotonic() + chance.uniform(0.4, 2.5)
            while time.monotonic() < deadline:
                with suppress(subprocess.TimeoutExpired):
                    runner.wait(chance.uniform(0.05, 0.6))
                    break
                workers = children(runner.pid)
                if workers and chance.random() < 0.6:
                    kill(workers)
                    kills += 1
            # A worker that outlives its runner goes on beside the next one's: that must be harmless too.
            kill([runner.pid] + (children(runner.pid) if chance.random() < 0.5 else []))
            runner.wait()
            kills += 1
    drain(project)
    check(project, len(arrived))


@pytest.mark.slow
def test_two_runners_at_once_do_the_work_of_one(project: Path) -> None:
    with arriving(project) as arrived:
        runners = [
            subprocess.Popen(
                command("run"), cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for _ in range(2)
        ]
        while len(arrived) < FILES:
            assert all(runner.poll() is None for runner in runners), "a runner ended by itself"
            time.sleep(0.1)
    for runner in runners:
        runner.send_signal(signal.SIGINT)
    assert [runner.wait(300) for runner in runners] == [0, 0]
    drain(project)
    check(project, len(arrived))
