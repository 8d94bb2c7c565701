"""``featurestore rebuild pipeline``: what it takes is told before anything starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from featurestore.arrivals.ledger import Ledger
from featurestore.registry.project import Project, open_project

RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: root}}
---
kind: DataPipeline
metadata: {name: events}
spec:
  source: {uri: "raw/*.csv", format: CSV}
  trigger: {arrivals: {maxFiles: 1}}
  transforms: [{derive: {columns: {y: "x + 1"}}}]
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves a copy of its project as it began."""
    return tmp_path_factory.mktemp("kept") / "events"


@pytest.fixture
def events(featurestore: Any, tmp_path: Path, kept: Path) -> Project:
    """A pipeline with two batches, the spec of which was changed since."""
    if kept.exists():
        shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
        return open_project(None, {}, tmp_path)
    (tmp_path / "raw").mkdir()
    for name in ("a", "b"):
        (tmp_path / "raw" / f"{name}.csv").write_text(f"k,x\n{name},1\n{name},2\n")
    (tmp_path / "store.yaml").write_text(RESOURCES)
    assert featurestore("apply", "-f", ".").code == 0
    assert featurestore("run", "--once").code == 0
    (tmp_path / "store.yaml").write_text(RESOURCES.replace("x + 1", "x * 10"))
    assert featurestore("apply", "-f", ".").code == 0
    shutil.copytree(tmp_path, kept)
    return open_project(None, {}, tmp_path)


def test_the_plan_is_told_and_nothing_begins_until_it_is_asked_for(
    featurestore: Any, events: Project
) -> None:
    told = json.loads(featurestore("rebuild", "pipeline", "events", "--plan", "-o", "json").out)
    assert (told["batches"], told["pieces"], told["files"], told["rows"]) == (2, 2, 2, 4)
    assert told["bytes"] == 24
    assert told["minutes"] is not None
    ledger = Ledger(events.storage, "events")
    assert ledger.rebuilds.last() is None
    said = featurestore("rebuild", "pipeline", "events", "--yes")
    assert said.code == 0, said.err
    assert "2 batches in 2 pieces: 2 files, 24 B, about 4 rows to read" in said.out
    assert "rebuild 1: 0 of 2 pieces" in featurestore("describe", "pipeline", "events").out
    assert "rebuild of pipeline events: rebuild 1: 0 of 2 pieces" in featurestore("doctor").out
    assert featurestore("run", "--once").code == 0
    assert "ran batches up to 2 again" in featurestore("history", "pipeline", "events").out
    assert Ledger(events.storage, "events").rebuilds.generation() == 1


def test_files_that_are_gone_are_named_with_what_would_be_lost(featurestore: Any, events: Project) -> None:
    (events.folder / "raw" / "a.csv").unlink()
    said = featurestore("rebuild", "pipeline", "events", "--yes")
    assert said.code == 2
    assert "raw/a.csv (batch 1, file 0): is gone (2 rows in the dataset)" in said.out
    assert "--without-gone" in said.err
    assert Ledger(events.storage, "events").rebuilds.last() is None
    assert featurestore("rebuild", "pipeline", "events", "--yes", "--without-gone").code == 0
    assert featurestore("run", "--once").code == 4
    assert "file:gone" in featurestore("quarantine", "ls", "events").out


def test_a_rebuild_that_is_stuck_is_found_and_can_be_given_up(
    featurestore: Any, events: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert featurestore("rebuild", "pipeline", "events", "--yes").code == 0
    monkeypatch.setattr("featurestore.cli.doctor._STUCK_US", 0)
    said = featurestore("doctor")
    assert said.code == 1
    assert "✗ rebuild of pipeline events: rebuild 1: 0 of 2 pieces; nothing was done for" in said.out
    assert featurestore("rebuild", "pipeline", "events", "--cancel").code == 0
    assert featurestore("doctor").code == 0
    assert featurestore("rebuild", "pipeline", "events", "--cancel").code == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "2100-01-01"], "no batch was closed in this time"),
        (["--from", "2024-01-02", "--to", "2024-01-01"], "the time range is empty"),
        (["--from", "yesterday"], "--from"),
    ],
    ids=["later", "empty", "no time"],
)
def test_a_time_range_that_means_nothing_is_refused(
    featurestore: Any, events: Project, arguments: list[str], said: str
) -> None:
    answer = featurestore("rebuild", "pipeline", "events", "--yes", *arguments)
    assert answer.code == 2
    assert said in answer.err
