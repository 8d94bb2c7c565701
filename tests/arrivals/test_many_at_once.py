"""Much comes at once: nothing is lost or doubled, little is kept in memory, and what comes now need not wait behind it.

`make test-all` has 10,000 arrivals where `make test` has fewer.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from examples import exhaustive
from laptop import Laptop
from storage_server import s3

from featurestore.arrivals.backlog import MOST_HINTS, Backlog
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.notifications.pending_hints import PendingHints
from featurestore.arrivals.notifications.receiver import PATH, Receiver
from featurestore.arrivals.source_kinds import open_source
from featurestore.cli.get import get
from featurestore.rebuild.history_plan import begin, plan_history
from featurestore.reconcile.conditions import read_status
from featurestore.resources import DataPipelineSpec
from featurestore.runner.source_watcher import SourceWatcher
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us

MANY = 10_000
TOKEN = "a-token-of-the-tests"
START = datetime(2024, 3, 30, 9, tzinfo=UTC)
LONGEST_S = 600.0


def spec_of(uri: str, **trigger: Any) -> DataPipelineSpec:
    arrivals = {"maxWait": "0s", "pollInterval": "1s", "maxFiles": 2000}
    return DataPipelineSpec.model_validate(
        {"source": {"uri": uri, "format": "CSV"}, "trigger": {"arrivals": {**arrivals, **trigger}}}
    )


def take_all(backlog: Backlog, ledger: Ledger, number: int, hints: Callable[[], set[str]]) -> Counter[str]:
    """How often each file was taken, once so many were."""
    taken: Counter[str] = Counter()
    end_us = current_us() + int(LONGEST_S * 1_000_000)
    while len(taken) < number and current_us() < end_us:
        heard = hints()
        assert len(heard) <= MOST_HINTS + 1, "what is kept is bounded"
        backlog.look(current_us(), heard)
        while backlog.open is not None:
            manifest = backlog.close(ledger.last_batch() + 1, "spec", current_us())
            taken.update(entry.arrival.uri for entry in manifest.entries)
    return taken


def test_files_that_come_all_at_once_are_each_taken_once(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    spec, ledger = spec_of("raw/*.csv"), Ledger(Storage(str(tmp_path / "store")), "flights")
    watcher = SourceWatcher(str(tmp_path))
    try:
        watcher.attend({"flights": spec.source})
        for number in range(MANY):
            (tmp_path / "raw" / f"{number}.csv").write_text("a\n1\n")
        backlog = Backlog(ledger, open_source(spec.source, str(tmp_path)), spec.trigger)
        taken = take_all(backlog, ledger, MANY, lambda: watcher.wait(0.1).get("flights", set()))
    finally:
        watcher.close()
    assert taken == {f"raw/{number}.csv": 1 for number in range(MANY)}
    assert ledger.last_batch() < MANY // 100


class Door:
    """Keeps hints as the operator does."""

    def __init__(self) -> None:
        self.hints = PendingHints[str]()
        self.dropped = self.taken = 0
        self.named: Callable[[Sequence[str]], list[str]] = list

    def token(self, address: str) -> str | None:
        return TOKEN

    def take(self, address: str, urls: Sequence[str]) -> None:
        self.taken += 1
        self.dropped += self.hints.add(address, self.named(urls))


@pytest.fixture
def door() -> Iterator[tuple[Door, int]]:
    door = Door()
    receiver = Receiver("127.0.0.1", 0, door)
    receiver.start()
    yield door, receiver.port
    receiver.stop()


def test_objects_that_come_all_at_once_are_told_of_and_each_taken_once(
    tmp_path: Path, door: tuple[Door, int], caplog: pytest.LogCaptureFixture
) -> None:
    many = MANY if exhaustive() else MOST_HINTS + 200
    (tmp_path / "s3" / "raw").mkdir(parents=True)
    keeper, port = door
    to = f"http://127.0.0.1:{port}{PATH}flights?access_token={TOKEN}"
    with s3(tmp_path / "s3", events_to=to) as environ:
        spec, ledger = spec_of("s3://raw/*.csv"), Ledger(Storage(str(tmp_path / "store")), "flights")
        source = open_source(spec.source, None, environ)
        keeper.named = source.named
        bucket = Storage("s3://raw", environ)
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda number: bucket.replace(f"{number}.csv", b"a\n1\n"), range(many)))
        backlog = Backlog(ledger, source, spec.trigger)
        taken = take_all(backlog, ledger, many, lambda: keeper.hints.take("flights"))
    assert taken == {f"s3://raw/{number}.csv": 1 for number in range(many)}
    assert keeper.taken > 0


def test_hints_beyond_those_that_are_kept_are_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    hints = PendingHints[tuple[str, str]]()
    with caplog.at_level(logging.WARNING):
        dropped = [hints.add(("prod", "flights"), [f"s3://raw/{number}.csv"]) for number in range(MANY)]
    assert sum(dropped) == MANY - MOST_HINTS - 1
    assert [record.getMessage() for record in caplog.records] == [
        "prod/flights: more than 1,000 notifications wait, so that its source is listed instead. Nothing is lost"
    ]
    assert len(hints.take(("prod", "flights"))) == MOST_HINTS + 1
    assert hints.add(("prod", "flights"), ["s3://raw/0.csv"]) == 0


def pipeline(**arrivals: Any) -> dict[str, Any]:
    return {
        "kind": "DataPipeline",
        "metadata": {"name": "p"},
        "spec": {"source": {"uri": "raw/*.csv", "format": "CSV"}, "trigger": {"arrivals": arrivals}},
    }


def rows(*numbers: int) -> tuple[dict[str, Any], ...]:
    return tuple({"k": "a", "ts": START - timedelta(minutes=90 - n), "v": n, "w": float(n)} for n in numbers)


def test_all_that_came_at_once_is_in_the_dataset_once(tmp_path: Path) -> None:
    many = MANY if exhaustive() else 200
    laptop = Laptop(tmp_path, START)
    laptop.apply(pipeline(maxFiles=many // 4))
    for number in range(many):
        laptop.drop(f"{number}.csv", rows(number))
    laptop.run()
    assert sorted(row["v"] for row in laptop.table(paths.dataset("p"))) == list(range(many))


def test_a_backlog_is_told_while_it_lasts(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path, START)
    laptop.apply(pipeline(maxFiles=2))
    for number in range(7):
        laptop.drop(f"{number}.csv", rows(number))
    with laptop.killed_at("after-manifest"):
        laptop.run()
    status = read_status(laptop.storage, "pipelines", "p")
    assert status is not None
    backlogged = status.condition("Backlogged")
    assert backlogged is not None
    assert backlogged.message.startswith("7 files (")
    assert "wait, 4 batches or more; the oldest is of 2024-03-30T0" in backlogged.message
    shown = get(laptop.project, "pipelines", None, None, laptop.clock())
    assert "BEHIND FOR" in shown.splitlines()[0]
    laptop.run()
    status = read_status(laptop.storage, "pipelines", "p")
    assert status is not None
    assert status.condition("Backlogged") is None
    assert "BEHIND FOR" not in get(laptop.project, "pipelines", None, None, laptop.clock())


@pytest.mark.parametrize(
    ("order", "found_in"), [("NewestFirst", 2), ("OldestFirst", 6)], ids=["newest first", "oldest first"]
)
def test_what_comes_during_a_backfill_is_in_the_next_batch_where_the_newest_is_first(
    tmp_path: Path, order: str, found_in: int
) -> None:
    laptop = Laptop(tmp_path, START)
    laptop.apply(pipeline(maxFiles=4, order=order))
    for number in range(20):
        laptop.drop(f"{number:02}.csv", rows(number))
    with laptop.killed_at("after-result"):
        laptop.run()
    laptop.drop("now.csv", rows(99))
    laptop.run()
    batches = {row["v"]: row["__batch"] for row in laptop.table(paths.dataset("p"))}
    assert sorted(batches) == [*range(20), 99]
    assert batches[99] == found_in


def test_what_comes_during_a_rebuild_is_taken_before_the_rebuild_is_done(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path, START)
    laptop.apply(pipeline(maxFiles=1))
    for number in range(8):
        laptop.drop(f"{number}.csv", rows(number))
    laptop.run()
    laptop.apply({**pipeline(maxFiles=1), "spec": {**pipeline(maxFiles=1)["spec"], "expectations": []}})
    begin(laptop.storage, plan_history(laptop.storage, "p", now_us=laptop.clock(), base=str(tmp_path)))
    with laptop.killed_at("after-piece"):
        laptop.run()
    laptop.drop("now.csv", rows(99))
    with laptop.killed_at("after-piece", 2):
        laptop.run()
    assert laptop.ledger("p").rebuild_progress() is not None, "the rebuild is under way"
    assert 99 in [row["v"] for row in laptop.table(paths.dataset("p"))]
    laptop.run()
    assert sorted(row["v"] for row in laptop.table(paths.dataset("p"))) == [*range(8), 99]
