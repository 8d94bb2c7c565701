"""One file ends each process that reads it, or never ends: it goes to quarantine, and all others are committed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from accepted import accept
from examples import exhaustive, sample

from featurestore.arrivals.ledger import Ledger
from featurestore.quarantine.entries import Quarantined, entries, rows
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage

RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}}
---
kind: DataPipeline
metadata: {name: events}
spec:
  source: {uri: "raw/*", format: %(format)s}
  trigger: {arrivals: {maxWait: 0s}}
  transforms: [{python: {callable: "hazard:f"}}]
  resources: {memory: 600Mi}
  job: {activeDeadline: %(deadline)s}
"""
HAZARD = """
import ctypes, os, signal, sys, time
def f(rows):
    what = rows.select("k").collect()["k"][0]
    if what == "segv": ctypes.string_at(0)
    if what == "abort": os.abort()
    if what == "exit": os._exit(3)
    if what == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if what == "loop":
        while True: time.sleep(0.1)
    if what == "allocate":
        held = []
        while True: held.append(b"x" * (32 << 20))
    return rows
"""
SEEN = {
    "segv": ("file:killed", "signal SIGSEGV; last step: ", "Fatal Python error: Segmentation fault, in "),
    "abort": ("file:killed", "signal SIGABRT", "hazard.py line 6 in f"),
    "exit": ("file:killed", "exit code 3", "last step"),
    "kill": ("file:killed", "signal SIGKILL", "last step"),
    "loop": ("file:timeout", "wanted an end within 6 s", "last step"),
    "allocate": ("file:killed", "wanted at most 600.0 MiB", "last step"),
}
SIGNALS = ["segv", "abort", "kill"]


class Place:
    """A project whose callable is a hazard."""

    def __init__(self, folder: Path, form: str = "CSV", deadline: str = "10m") -> None:
        self.folder = folder
        (folder / "raw").mkdir()
        (folder / "hazard.py").write_text(HAZARD)
        (folder / "store.yaml").write_text(RESOURCES % {"format": form, "deadline": deadline})
        self.storage = Storage(str(folder / "root"))
        accept(folder)

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "featurestore.cli", *arguments],
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def arrive(self, number: int, what: str = "good") -> None:
        frame = pl.DataFrame({"k": [what], "v": [number]})
        hidden = self.folder / "raw" / f".{number}"
        match self.form:
            case "CSV":
                frame.write_csv(hidden)
            case "JSON":
                frame.write_ndjson(hidden)
            case "Parquet":
                frame.write_parquet(hidden)
            case "Arrow":
                frame.write_ipc(hidden)
        hidden.rename(self.folder / "raw" / str(number))

    @property
    def form(self) -> str:
        text = (self.folder / "store.yaml").read_text()
        return text.partition("format: ")[2].partition("}")[0]

    def committed(self) -> list[int]:
        table = Table.open(self.storage, "datasets/events")
        if table is None or not table.uris():
            return []
        return pl.read_parquet(table.uris())["v"].sort().to_list()

    def refused(self) -> list[Quarantined]:
        return entries(self.storage, "pipelines", "events")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["allocate", "loop", *sample(["exit", *SIGNALS], 1)])
def test_a_callable_that_one_file_ends_keeps_no_other_file_from_its_commit(tmp_path: Path, what: str) -> None:
    place = Place(tmp_path, deadline="6s" if what == "loop" else "10m")
    place.arrive(0)
    place.arrive(1, what)
    done = place.command("run", "--once")
    assert place.committed() == [0], done.stdout + done.stderr
    (caught,) = place.refused()
    rule, *words = SEEN[what]
    assert (caught.rule, caught.rows, caught.file) == (rule, None, 1)
    assert all(word in caught.reason for word in words), caught.reason


@pytest.mark.slow
@pytest.mark.parametrize("form", sample(["CSV", "JSON", "Parquet", "Arrow"], 1))
def test_several_killers_of_any_format_are_found_in_one_batch(tmp_path: Path, form: str) -> None:
    place = Place(tmp_path, form)
    for number in range(6):
        place.arrive(number, {1: "segv", 2: "abort"}.get(number, "good"))
    done = place.command("run", "--once")
    assert place.committed() == [0, 3, 4, 5], done.stdout + done.stderr
    assert [(it.file, it.rule) for it in place.refused()] == [(1, "file:killed"), (2, "file:killed")]


@pytest.mark.slow
def test_the_next_batch_is_not_held_up_by_a_killer(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.arrive(1, "segv")
    place.command("run", "--once")
    place.arrive(2)
    place.command("run", "--once")
    assert place.committed() == [2]
    assert Ledger(place.storage, "events").committed_batch() == 2


@pytest.mark.slow
@pytest.mark.parametrize("step", sample(["before-crash", "after-crash"], 1))
def test_a_runner_that_is_killed_when_it_records_a_crash_is_gone_on_from(tmp_path: Path, step: str) -> None:
    place = Place(tmp_path)
    for number in range(4):
        place.arrive(number, "segv" if number == 2 else "good")
    killed = place.command("run", "--once", FEATURESTORE_KILL_AT=step)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    place.command("run", "--once")
    assert place.committed() == [0, 1, 3]
    assert [(it.file, it.rule) for it in place.refused()] == [(2, "file:killed")]


@pytest.mark.slow
def test_a_search_goes_on_whenever_its_runner_and_its_worker_are_killed(tmp_path: Path) -> None:
    place, chance = Place(tmp_path), random.Random(8)
    for number in range(6):
        place.arrive(number, "segv" if number == 4 else "good")
    for _ in range(30 if exhaustive() else 2):
        runner = subprocess.Popen(
            [sys.executable, "-m", "featurestore.cli", "run", "--once"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with suppress(subprocess.TimeoutExpired):
            runner.wait(chance.uniform(0.5, 4))
        runner.kill()
        runner.wait()
    place.command("run", "--once")
    assert place.committed() == [0, 1, 2, 3, 5]
    assert [(it.file, it.rule) for it in place.refused()] == [(4, "file:killed")]


@pytest.mark.slow
def test_two_runners_at_once_find_the_same_killer_and_commit_the_others_once(tmp_path: Path) -> None:
    place = Place(tmp_path)
    files = 8 if exhaustive() else 4
    for number in range(files):
        place.arrive(number, "segv" if number == 2 else "good")
    threads = [threading.Thread(target=place.command, args=("run", "--once")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    place.command("run", "--once")
    assert place.committed() == [number for number in range(files) if number != 2]
    assert [(it.file, it.rule) for it in place.refused()] == [(2, "file:killed")]
    assert len(rows(place.storage, "pipelines", "events")) == 1


@pytest.mark.slow
def test_a_file_that_was_mended_by_new_code_is_taken_when_it_is_run_again(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.arrive(1)
    place.arrive(2, "segv")
    place.command("run", "--once")
    (tmp_path / "hazard.py").write_text("def f(rows):\n    return rows\n")
    replayed: Any = place.command("quarantine", "replay", "events")
    assert replayed.returncode == 0, replayed.stderr
    place.command("run", "--once")
    assert place.committed() == [1, 2]
