"""A pipeline of a PostgreSQL table is killed at each step: the end is byte for byte as of a run that nothing disturbed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from event_specs import NAME, START, STEPS, VIEW
from events import Events
from examples import exhaustive, sample
from postgres_server import PostgresServer, PostgresTable

from featurestore.quarantine.replay import replay


@pytest.fixture(scope="module")
def table(postgres: PostgresServer) -> PostgresTable:
    """A table with good and bad rows, rows of one watermark, a value without a place, and rows without a watermark."""
    table = postgres.table(on_day="date")
    table.append(1, 500, 2, 3, 4, level="warning")
    table.append(5, 600, 6)
    table.server.ask(
        f"UPDATE {table.name} SET seen = (SELECT seen FROM {table.name} WHERE id = 2) WHERE id = 3"
    )
    table.server.ask(f"UPDATE {table.name} SET on_day = 'infinity' WHERE id = 4")
    table.server.ask(f"INSERT INTO {table.name} (id, n) VALUES (7, 7)")
    return table


@pytest.fixture(scope="module")
def clean(table: PostgresTable, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a run makes of it that nothing disturbs."""
    events = pipeline(table, tmp_path_factory.mktemp("clean"))
    events.run()
    return outcome(events)


def pipeline(table: PostgresTable, folder: Path) -> Events[Any]:
    events = Events[Any](folder / "project", table).apply({"maxRows": 3})
    events.laptop.apply(VIEW)
    return events


def outcome(events: Events[Any]) -> list[Any]:
    """All that is kept of rows, but for names of files and times of the run."""
    manifests = (events.ledger.manifest(n + 1) for n in range(events.ledger.last_batch()))
    versions = [[entry.arrival.version for entry in manifest.entries] for manifest in manifests]
    at = {"level": ["info", "warning"], "event_timestamp": [START + timedelta(hours=1)] * 2}
    return [
        *events.laptop.kept_rows(NAME),
        versions,
        events.laptop.store(START).get_features("levels:n", at).to_dict(),
    ]


def test_undisturbed_each_row_is_taken_once_and_all_else_is_told(clean: list[Any]) -> None:
    rows, refused, versions, features = clean
    assert sorted(int(dict(row)["n"]) for row in rows) == [1, 2, 3, 5, 6]
    assert sorted(dict(row)["rule"] for row in refused) == ["row:malformed", "small", "small", "sql:unplaced"]
    assert [len(batch) for batch in versions] == [2, 1, 1]
    assert features["n"] == [6, 3]


KILLS = [(step, times) for step in STEPS for times in range(1, 17 if exhaustive() else 4)]


@pytest.mark.parametrize(("step", "times"), KILLS if exhaustive() else KILLS[::7], ids=str)
def test_killed_anywhere_the_end_is_as_of_a_run_that_nothing_disturbed(
    table: PostgresTable, clean: list[Any], tmp_path: Path, step: str, times: int
) -> None:
    events = pipeline(table, tmp_path)
    with events.laptop.killed_at(step, times):
        events.run()
    events.run()
    assert outcome(events) == clean


@pytest.mark.parametrize("step", sample(STEPS[:4], 1))
def test_killed_while_others_change_rows_each_ends_where_its_last_watermark_is(
    postgres: PostgresServer, tmp_path: Path, step: str
) -> None:
    table = postgres.table()
    table.append(1, 500, 2)
    events = pipeline(table, tmp_path)
    with events.laptop.killed_at(step):
        events.run()
    table.append(3)
    postgres.ask(f"UPDATE {table.name} SET n = 20, seen = seen + interval '1 hour' WHERE id = 2")
    postgres.ask(f"UPDATE {table.name} SET n = 50, seen = seen + interval '1 hour' WHERE id = 500")
    events.run()
    # What was committed before the rows were changed has them as they were, too.
    assert {1, 3, 20, 50} <= set(events.numbers) <= {1, 2, 3, 20, 50}
    assert len(events.numbers) == len(set(events.numbers))


@pytest.mark.parametrize("step", sample(STEPS[:4], 1))
def test_a_killed_replay_is_done_once(postgres: PostgresServer, tmp_path: Path, step: str) -> None:
    table = postgres.table()
    table.append(1, 500)
    events = pipeline(table, tmp_path)
    events.run()
    events.apply(expectations=[])
    assert replay(events.laptop.storage, NAME, now_us=events.laptop.clock()) is not None
    with events.laptop.killed_at(step):
        events.run()
    events.run()
    assert (events.numbers, events.open) == ([1, 500], [])
