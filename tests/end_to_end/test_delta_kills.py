"""A pipeline of a Delta table is killed at each step: the end is byte for byte as of a run that nothing disturbed."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from event_specs import NAME, START, STEPS, VIEW
from events import Events, taken
from examples import exhaustive, sample
from lake_table import FEED, LakeTable

from featurestore.quarantine.replay import replay

DELTA = {"startAt": "Earliest", "onChange": "Feed", "maxCommits": 3}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> LakeTable:
    """A table with good and bad rows, changes, rewritten files, and a file that is gone."""
    table = LakeTable(tmp_path_factory.mktemp("lake") / "events", **FEED)
    table.append(1, 500)
    table.append(2)
    table.append(3)
    table.optimize()
    table.table.update(predicate="n = 2", updates={"n": "20"})
    table.table.delete("n = 3")
    table.append(4, 600, level="warning")
    os.unlink(table.files(2)[0])
    return table


@pytest.fixture(scope="module")
def clean(table: LakeTable, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a run makes of it that nothing disturbs."""
    events = pipeline(table, tmp_path_factory.mktemp("clean"))
    events.run()
    return outcome(events)


def pipeline(table: LakeTable, folder: Path) -> Events[Any]:
    events = Events[Any](folder / "project", table).apply(DELTA)
    events.laptop.apply(VIEW)
    return events


def outcome(events: Events[Any]) -> list[Any]:
    """All that is kept of rows, but for names of files and times of the run."""
    at = {"level": ["info", "warning"], "event_timestamp": [START + timedelta(hours=1)] * 2}
    return [
        *events.laptop.kept_rows(NAME),
        taken(events),
        events.laptop.store(START).get_features("levels:n", at).to_dict(),
    ]


def test_undisturbed_each_row_is_taken_once_and_all_else_is_told(clean: list[Any], table: LakeTable) -> None:
    rows, refused, versions, features = clean
    assert sorted(int(dict(row)["n"]) for row in rows) == [1, 2, 4, 20]
    assert sorted(dict(row)["rule"] for row in refused) == ["delta:lost", "small", "small"]
    assert versions == [["0-1", "1-2", "2-3"], ["3-5", "5-6"], ["6-7"]]
    assert features["n"] == [20, 4]


KILLS = [(step, times) for step in STEPS for times in range(1, 17 if exhaustive() else 4)]


@pytest.mark.parametrize(("step", "times"), KILLS if exhaustive() else KILLS[3::7], ids=str)
def test_killed_anywhere_the_end_is_as_of_a_run_that_nothing_disturbed(
    table: LakeTable, clean: list[Any], tmp_path: Path, step: str, times: int
) -> None:
    events = pipeline(table, tmp_path)
    with events.laptop.killed_at(step, times):
        events.run()
    events.run()
    assert outcome(events) == clean


@pytest.mark.parametrize("step", sample(STEPS[:4], 1))
def test_a_killed_replay_is_done_once(tmp_path: Path, step: str) -> None:
    table = LakeTable(tmp_path / "lake" / "events")
    table.append(1, 500)
    events = pipeline(table, tmp_path)
    events.run()
    events.apply(DELTA, expectations=[])
    assert replay(events.laptop.storage, NAME, now_us=events.laptop.clock()) is not None
    with events.laptop.killed_at(step):
        events.run()
    events.run()
    assert (events.numbers, events.open) == ([1, 500], [])
