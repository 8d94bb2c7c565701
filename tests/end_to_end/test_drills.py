"""Drills: what is around a store fails, and heals. Then each row is there once, and readers see the newest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import storage_server
from cluster.binaries import MissingError
from examples import exhaustive, sample
from laptop import Laptop
from small_disk import disk, fill
from unavailable import unavailable

import featurestore
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage

START = datetime(2024, 1, 1, tzinfo=UTC)
RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: "%(root)s"}%(online)s}
---
kind: DataPipeline
metadata: {name: events}
spec:
  source: {uri: "raw/*.parquet", format: Parquet}
  trigger: {arrivals: {maxWait: 0s}}
---
kind: FeatureView
metadata: {name: things}
spec:
  entity: {name: thing, joinKeys: [{name: k, type: string}]}
  source: {pipeline: events}
  timestampField: ts
  features: [{name: v, type: int64, column: v}]
"""


class Place:
    """A project whose files have a row each: file ``n`` has the value ``n``."""

    def __init__(self, folder: Path, root: str = "root", online: str = "") -> None:
        self.folder = folder
        self.root = root if "://" in root else str(folder / root)
        self.files = 0
        (folder / "raw").mkdir()
        (folder / "store.yaml").write_text(RESOURCES % {"root": root, "online": online})
        self.done("apply", "-f", "store.yaml")

    def arrive(self) -> None:
        rows = {"k": ["a"], "ts": [START + timedelta(seconds=self.files)], "v": [self.files]}
        hidden = self.folder / "raw" / f".{self.files}"
        pl.DataFrame(rows).write_parquet(hidden)
        hidden.rename(self.folder / "raw" / f"{self.files}.parquet")
        self.files += 1

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "featurestore.cli", *command],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self) -> tuple[int, str]:
        """A runner does all that can be done: its exit code, and what it said."""
        with self.start("run", "--once") as runner:
            said = runner.communicate(timeout=600)[0]
            return runner.returncode, said

    def done(self, *command: str) -> None:
        with self.start(*command) as process:
            said = process.communicate(timeout=600)[0]
            assert process.returncode == 0, said

    def check(self) -> None:
        """Nothing is left to be done, and all that arrived is there once."""
        code, said = self.run()
        assert code == 0, said
        table = Table.open(Storage(self.root), "datasets/events")
        assert table is not None
        found = pl.read_parquet(table.uris(), glob=False)["v"].sort().to_list()
        assert found == list(range(self.files))
        answer = featurestore.connect(self.folder).get_features(["things:v"], {"k": ["a"]}).to_dict()
        assert answer["v"] == [self.files - 1]


@pytest.mark.slow
def test_a_disk_that_is_full_is_told_and_what_arrived_is_taken_once_there_is_room(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "64m") as full:
        place = Place(tmp_path, "disk/root")
        place.arrive()
        place.check()
        told = []
        for left in sample([4096, 8192, 12288, 16384, 24576, 32768, 65536, 131072], 2):
            place.arrive()
            fill(full / "ballast", left)
            code, said = place.run()
            told.append(code)
            assert code == 0 or "No space left on device" in said, said
            (full / "ballast").unlink()
            place.check()
        assert any(told), "there was always room"


@pytest.mark.slow
@pytest.mark.skipif(not exhaustive(), reason="one of many drills: make test-all")
def test_a_disk_that_becomes_read_only_is_told_and_heals(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "64m") as folder:
        place = Place(tmp_path, "disk/root")
        place.arrive()
        place.check()
        place.arrive()
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        code, said = place.run()
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        assert code != 0
        assert "Read-only file system" in said
        place.check()


@contextmanager
def hindered(pid: int, stopped_s: float, running_s: float) -> Iterator[None]:
    """The process stands still and runs in turn."""
    end = threading.Event()

    def hinder() -> None:
        while not end.wait(running_s):
            os.kill(pid, signal.SIGSTOP)
            end.wait(stopped_s)
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=hinder)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stopped_s", "running_s"), sample([(0.3, 0.05), (8.0, 0.5), (30.0, 1.0)], 1), ids=str
)
def test_object_storage_that_pauses_and_is_slow_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_s: float, running_s: float
) -> None:
    buckets = tmp_path / "s3"
    (buckets / "features").mkdir(parents=True)
    try:
        with storage_server.s3_process(buckets) as (server, settings):
            for name, value in settings.items():
                monkeypatch.setenv(name, value)
            place = Place(tmp_path, "s3://features/drill")
            place.arrive()
            with hindered(server.pid, stopped_s, running_s):
                code, said = place.run()
                assert code == 0 or "storage" in said.lower() or "timeout" in said.lower(), said
            place.arrive()
            place.check()
    except MissingError as missing:
        unavailable(missing)


@pytest.mark.slow
def test_a_redis_that_was_emptied_is_filled_again(tmp_path: Path, redis_url: str) -> None:
    import redis

    place = Place(tmp_path, online=f', online: {{redis: {{url: "{redis_url}"}}}}')
    place.arrive()
    place.check()
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    place.check()


@pytest.mark.slow
@pytest.mark.skipif(not exhaustive(), reason="one of many drills: make test-all")
def test_four_runners_at_once_do_the_work_of_one(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for _ in range(20):
        place.arrive()
    runners = [place.start("run", "--once") for _ in range(4)]
    for runner in runners:
        said = runner.communicate(timeout=600)[0]
        assert runner.returncode == 0, said
    place.check()


PIPELINE = {
    "kind": "DataPipeline",
    "metadata": {"name": "events"},
    "spec": {
        "source": {"uri": "raw/*.parquet", "format": "Parquet"},
        "trigger": {"arrivals": {"maxWait": "0s"}},
    },
}
VIEW = {
    "kind": "FeatureView",
    "metadata": {"name": "things"},
    "spec": {
        "entity": {"name": "thing", "joinKeys": [{"name": "k", "type": "string"}]},
        "source": {"pipeline": "events"},
        "timestampField": "ts",
        "online": {"sampleEntities": 0},
        "features": [{"name": "v", "type": "int64", "column": "v"}],
    },
}


@pytest.mark.parametrize(
    "step", ["", *sample(["after-manifest", "after-dataset-commit", "after-build-commit"], 1)]
)
def test_a_clock_that_goes_back_and_forth_loses_and_doubles_nothing(step: str) -> None:
    days_later = [0, -20, 40, -1, -39, 3, 0] if exhaustive() else [0, -20, 40, -39]
    with tempfile.TemporaryDirectory() as folder:
        laptop = Laptop(Path(folder), START + timedelta(days=30))
        laptop.apply(PIPELINE, VIEW)
        for number, days in enumerate(days_later):
            laptop.clock.now_us += days * 86_400_000_000
            row: dict[str, Any] = {"k": "a", "ts": START + timedelta(seconds=number), "v": number, "w": None}
            laptop.drop(f"{number}.parquet", (row,))
            if step:
                with laptop.killed_at(step):
                    laptop.run()
                laptop.clock.now_us -= days * 86_400_000_000
            laptop.run()
        assert sorted(row["v"] for row in laptop.table("datasets/events")) == [*range(len(days_later))]
        answer = laptop.store(START + timedelta(days=1)).get_features(["things:v"], {"k": ["a"]}).to_dict()
        assert answer["v"] == [len(days_later) - 1]
