"""A source that is no files, from arrival to features: no room but its own knows it from files."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from event_specs import NAME, SMALL, START, STEPS, VIEW
from examples import exhaustive
from laptop import Laptop
from log_source import LOGS

from featurestore.arrivals import source_kinds
from featurestore.arrivals.backlog import Backlog
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Action
from featurestore.arrivals.source_kinds import open_source
from featurestore.cli.doctor import examine
from featurestore.errors import Conflict, RequestError
from featurestore.quarantine import entries
from featurestore.quarantine.replay import replay
from featurestore.resources import DataPipeline
from featurestore.storage import paths


class Logs:
    """A pipeline of the lines of all logs in a folder, and a view on it."""

    def __init__(self, folder: Path) -> None:
        self.laptop = Laptop(folder / "project", START)
        self.folder = folder / "project" / "logs"
        self.folder.mkdir()
        self.apply()
        self.laptop.apply(VIEW)

    def apply(self, **spec: Any) -> None:
        source = {"uri": f"{self.folder}/*.log", "format": "JSON"}
        arrivals = {"pollInterval": "1s", "maxWait": "0s"}
        full = {"source": source, "trigger": {"arrivals": arrivals}, "expectations": [SMALL], **spec}
        self.laptop.apply({"kind": "DataPipeline", "metadata": {"name": NAME}, "spec": full})

    def append(self, name: str, *lines: str, end: str = "\n") -> None:
        with open(self.folder / name, "a") as file:
            file.write("\n".join(lines) + end)

    def run(self) -> None:
        self.laptop.run()

    def backlog(self) -> Backlog:
        """What waits, as a process of its own sees it that looks now."""
        spec = self.laptop.project.registry.all(DataPipeline)[NAME].resource.spec
        backlog = Backlog(Ledger(self.laptop.storage, NAME), open_source(spec.source), spec.trigger)
        backlog.look(self.laptop.clock())
        return backlog

    @property
    def ledger(self) -> Ledger:
        return self.laptop.ledger(NAME)

    @property
    def ranges(self) -> list[list[str]]:
        """Versions of the arrivals of each batch."""
        manifests = (self.ledger.manifest(n + 1) for n in range(self.ledger.last_batch()))
        return [[entry.arrival.version for entry in manifest.entries] for manifest in manifests]

    @property
    def numbers(self) -> list[int]:
        """What is in the dataset."""
        return sorted(row["n"] for row in self.laptop.table(paths.dataset(NAME)))

    @property
    def open(self) -> list[tuple[int, int, str, int | None]]:
        """Batch, index, rule and number of rows of what is in quarantine and waits to be run again."""
        found = entries.entries(self.laptop.storage, "pipelines", NAME)
        return [(item.batch, item.file, item.rule, item.rows) for item in found if item.replayed_in is None]


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Logs:
    monkeypatch.setattr(source_kinds, "SOURCE_KINDS", (LOGS, *source_kinds.SOURCE_KINDS))
    return Logs(tmp_path)


def line(n: int, level: str = "info") -> str:
    return f"2024-01-01T00:00:{n % 60:02d}Z {level} {n}"


def test_each_line_is_taken_once_however_the_log_grows(logs: Logs) -> None:
    logs.append("a.log", line(1), line(2))
    logs.run()
    logs.append("a.log", line(3))
    logs.append("b.log", line(4))
    logs.run()
    logs.run()
    size = len(line(1)) + 1
    assert logs.ranges == [[f"0-{2 * size}"], [f"{2 * size}-{3 * size}", f"0-{size}"]]
    assert logs.numbers == [1, 2, 3, 4]


def test_a_line_that_is_not_complete_waits_until_it_is(logs: Logs) -> None:
    logs.append("a.log", line(1), line(2)[:-1], end="")
    logs.run()
    assert logs.numbers == [1]
    logs.append("a.log", line(2)[-1])
    logs.run()
    assert logs.numbers == [1, 2]


def test_its_rows_are_features(logs: Logs) -> None:
    logs.append("a.log", line(1, "info"), line(2, "warning"))
    logs.run()
    logs.append("a.log", line(3, "info"))
    logs.run()
    at = [START + timedelta(seconds=1), START + timedelta(hours=1)]
    asked = {"level": ["info", "info"], "event_timestamp": at}
    assert logs.laptop.store(START).get_features("levels:n", asked).to_dict()["n"] == [1, 3]


def test_a_line_that_breaks_a_rule_is_quarantined_alone_and_run_again_once(logs: Logs) -> None:
    logs.append("a.log", line(1), line(500), "what is this line", line(2))
    logs.run()
    assert logs.numbers == [1, 2]
    assert logs.open == [(1, 0, "row:malformed", 1), (1, 0, "small", 1)]
    logs.apply(expectations=[])
    manifest = replay(logs.laptop.storage, NAME, now_us=logs.laptop.clock())
    assert manifest is not None
    assert replay(logs.laptop.storage, NAME, now_us=logs.laptop.clock()) is None
    logs.run()
    logs.append("a.log", line(3))
    logs.run()
    assert logs.numbers == [1, 2, 3, 500]
    assert logs.open == [(2, 0, "row:malformed", 1)]


def test_lines_that_are_gone_are_told_and_cannot_be_run_again(logs: Logs) -> None:
    logs.append("a.log", line(1), line(2))
    backlog = logs.backlog()
    digest = logs.laptop.project.registry.all(DataPipeline)[NAME].digest
    backlog.close(1, digest, logs.laptop.clock())
    (logs.folder / "a.log").write_text(line(3) + "\n")
    logs.run()
    assert logs.open == [(1, 0, "log:gone", None)]
    with pytest.raises(RequestError, match=r"range 0 of batch 1 .* is gone"):
        replay(logs.laptop.storage, NAME, now_us=logs.laptop.clock())


def test_of_two_processes_that_cut_other_ranges_one_is_first(logs: Logs) -> None:
    logs.append("a.log", line(1))
    short = logs.backlog()
    logs.append("a.log", line(2))
    long = logs.backlog()
    digest = logs.laptop.project.registry.all(DataPipeline)[NAME].digest
    short.close(1, digest, logs.laptop.clock())
    with pytest.raises(Conflict):
        long.close(1, digest, logs.laptop.clock())
    logs.run()
    assert logs.numbers == [1, 2]


def test_a_range_that_was_cut_too_early_is_refused_by_the_ledger(logs: Logs) -> None:
    logs.append("a.log", line(1), line(2))
    stale = logs.backlog().open
    assert stale is not None
    logs.run()
    overlapping = replace(logs.ledger.manifest(1), number=2, entries=stale.entries)
    assert not logs.ledger.try_append(overlapping)
    assert logs.ledger.last_batch() == 1


def test_after_a_checkpoint_the_next_range_begins_where_the_last_ended(logs: Logs) -> None:
    for n in range(4):
        logs.append("a.log", line(n))
        logs.run()
    logs.ledger.checkpoint()
    logs.append("a.log", line(4))
    logs.run()
    assert logs.numbers == [0, 1, 2, 3, 4]
    assert len(logs.ranges) == 5


@pytest.mark.parametrize("step", STEPS if exhaustive() else STEPS[::3])
def test_killed_at_any_step_each_line_is_committed_or_quarantined_once(logs: Logs, step: str) -> None:
    logs.append("a.log", line(1), line(500))
    with logs.laptop.killed_at(step):
        logs.run()
    logs.append("a.log", line(2), line(600))
    logs.run()
    logs.run()
    assert logs.numbers == [1, 2]
    assert sum(rows or 0 for _, _, _, rows in logs.open) == 2
    versions = list(itertools.chain.from_iterable(logs.ranges))
    assert max(Counter(versions).values()) == 1


@pytest.mark.parametrize("step", STEPS[:4] if exhaustive() else STEPS[1:3])
def test_a_killed_replay_is_done_once(logs: Logs, step: str) -> None:
    logs.append("a.log", line(1), line(500))
    logs.run()
    logs.apply(expectations=[])
    manifest = replay(logs.laptop.storage, NAME, now_us=logs.laptop.clock())
    assert manifest is not None
    assert [entry.action for entry in manifest.entries] == [Action.REPLAY]
    with logs.laptop.killed_at(step):
        logs.run()
    logs.run()
    assert logs.numbers == [1, 500]
    assert logs.open == []


def test_doctor_says_how_much_there_is_and_why_there_is_nothing(logs: Logs) -> None:
    def source() -> tuple[str, str]:
        [finding] = (it for it in examine(logs.laptop.project) if it.what == f"source of pipeline {NAME}")
        return finding.message, finding.hint

    uri = f"{logs.folder}/*.log"
    assert source() == (f"{uri} names no range yet", f"no log {logs.folder}/*.log has a complete line")
    logs.append("a.log", line(1))
    assert source() == (f"{uri} names 1 range", "")
