"""Clocks that are wrong by an hour, ahead and behind: no row is lost or there twice, and what is told of times is true."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from accepted import accept
from cluster.binaries import MissingError
from eventually import eventually
from examples import exhaustive
from shifted_clock import shifted_clock
from unavailable import unavailable

import featurestore
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage

FILES = 8 if exhaustive() else 2
NOW = datetime.now(UTC)
RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}}
---
kind: DataPipeline
metadata: {name: events}
spec:
  source: {uri: raw/*.parquet, format: Parquet}
  trigger: {arrivals: {pollInterval: 1s, maxWait: 50ms, maxFiles: 2}}
---
kind: FeatureView
metadata: {name: things}
spec:
  entity: {name: thing, joinKeys: [{name: k, type: string}]}
  source: {pipeline: events}
  timestampField: ts
  features: [{name: v, type: int64}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    (tmp_path / "store.yaml").write_text(RESOURCES)
    accept(tmp_path)
    return tmp_path


@pytest.fixture
def clocks() -> list[dict[str, str]]:
    try:
        return [shifted_clock(by) for by in ("-1h", "+1h")]
    except MissingError as missing:
        unavailable(missing)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "featurestore.cli", *arguments]


@contextmanager
def running(project: Path, clock: dict[str, str]) -> Iterator[None]:
    with (project / f"runner{clock['FAKETIME']}.log").open("wb") as log:
        runner = subprocess.Popen(
            command("run"), cwd=project, env={**os.environ, **clock}, stdout=log, stderr=log
        )
    try:
        yield
        assert runner.poll() is None, "a runner ended by itself"
        runner.send_signal(signal.SIGINT)
        assert runner.wait(300) == 0
    finally:
        runner.kill()
        runner.wait()


def arrive(project: Path, number: int) -> None:
    """A file with two rows of one thing, the last events of which were just now."""
    at = NOW - timedelta(minutes=FILES - number)
    rows = {"k": ["a", f"k{number}"], "ts": [at, at], "v": [number, number]}
    hidden = project / "raw" / f".{number}"
    pl.DataFrame(rows, schema_overrides={"ts": pl.Datetime("us", "UTC")}).write_parquet(hidden)
    hidden.rename(project / "raw" / f"{number}.parquet")


def values(project: Path) -> list[int]:
    table = Table.open(Storage(str(project / "root")), "datasets/events")
    if table is None or not table.uris():
        return []
    found: list[int] = pl.read_parquet(table.uris())["v"].sort().to_list()
    return found


def freshness(project: Path, clock: dict[str, str]) -> str:
    """What a person whose clock that is is told of the view."""
    done = subprocess.run(
        command("get", "views"),
        cwd=project,
        env={**os.environ, **clock},
        capture_output=True,
        text=True,
        check=True,
    )
    header, row = (line.split("  ") for line in done.stdout.splitlines()[:2])
    cells = [[cell.strip() for cell in line if cell.strip()] for line in (header, row)]
    return dict(zip(*cells, strict=False))["FRESHNESS"]


@pytest.mark.slow
def test_two_runners_whose_clocks_are_two_hours_apart_do_the_work_of_one(
    project: Path, clocks: list[dict[str, str]]
) -> None:
    with ExitStack() as runners:
        for clock in clocks:
            runners.enter_context(running(project, clock))
        for number in range(1, FILES + 1):
            arrive(project, number)
            eventually(lambda number=number: number in values(project), 120)  # type: ignore[misc]
    subprocess.run(command("run", "--once"), cwd=project, check=True, capture_output=True)
    assert values(project) == sorted([*range(1, FILES + 1)] * 2)
    answer = featurestore.connect(project).get_features(["things:v"], [{"k": "a"}]).to_dict()
    assert answer["v"] == [FILES]
    behind, ahead = (freshness(project, clock) for clock in clocks)
    # Of a clock that is behind, the newest event is yet to come, and that is said.
    assert behind.startswith("in "), behind
    assert ahead.endswith("m"), ahead
    assert 50 <= int(ahead[:-1]) <= 100
