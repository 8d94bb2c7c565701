"""What every kind of source promises to backlog, ledger and quarantine. A new kind joins by a line in ``KINDS``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from ice_table import IceTable
from kafka_broker import Broker
from lake_table import LakeTable
from log_source import LogSource
from postgres_server import PostgresTable
from web_folder import web_folder

from featurestore.arrivals.files.file_source import FileSource
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Entry, Manifest
from featurestore.arrivals.source import ArrivalSource
from featurestore.arrivals.source_kinds import open_source
from featurestore.resources.data_pipeline import Source

NOW_US = 4_000_000_000_000_000
"""Later than any file of these tests: nothing is still being written."""


@dataclass(frozen=True)
class Place:
    """``put``: makes or grows what has this name. ``remove``: takes it away. ``several``: whether each name has a URI."""

    source: ArrivalSource
    put: Callable[[str], None]
    remove: Callable[[str], None]
    several: bool = True

    def entries(self, ledger: Ledger) -> list[Entry]:
        return list(ledger.new_entries(self.source.arrivals(), self.source.decide))

    def take(self, ledger: Ledger, entries: list[Entry]) -> bool:
        number = ledger.last_batch() + 1
        return ledger.try_append(Manifest("flights", ledger.uid(), number, "spec", 0, tuple(entries)))


def files(folder: Any, on_overwrite: str) -> Place:
    written: dict[str, str] = {}

    def put(name: str) -> None:
        written[name] = written.get(name, "a\n") + "1\n"
        folder.put(f"{name}.csv", written[name].encode())

    spec = {"uri": f"{folder.url}/*.csv", "format": "CSV", "onOverwrite": on_overwrite}
    return Place(FileSource(Source.model_validate(spec)), put, lambda name: folder.remove(f"{name}.csv"))


def web(request: pytest.FixtureRequest) -> Place:
    """Files that a document lists: more than are there."""
    stack = ExitStack()
    request.addfinalizer(stack.close)
    folder = stack.enter_context(web_folder())
    folder.write_index(*(f"raw/{name}.csv" for name in "cabx"))

    def put(name: str) -> None:
        folder.put(f"raw/{name}.csv", folder.files.get(f"raw/{name}.csv", b"a\n") + b"1\n")

    spec = Source.model_validate(folder.source(onOverwrite="Append"))
    return Place(FileSource(spec), put, lambda name: folder.files.pop(f"raw/{name}.csv"))


def logs(folder: Path) -> Place:
    folder.mkdir()

    def put(name: str) -> None:
        with open(folder / f"{name}.log", "a") as log:
            log.write("2024-01-01T00:00:00Z info 1\n")

    spec = Source.model_validate({"uri": f"{folder}/*.log", "format": "JSON"})
    return Place(LogSource(spec, None, None), put, lambda name: (folder / f"{name}.log").unlink())


def topic(broker: Broker) -> Place:
    """One topic, whose partitions are what is named."""
    names: list[str] = []
    made = broker.topic(4)

    def put(name: str) -> None:
        if name not in names:
            names.append(name)
        made.send({"n": 1}, partition=names.index(name))

    def remove(name: str) -> None:
        made.delete_until(names.index(name), 1)

    return Place(open_source(Source.model_validate(made.source())), put, remove)


def commits(table: LakeTable) -> Place:
    """One table: whatever the name, it grows by a commit."""
    source = open_source(Source.model_validate(table.source(startAt="Earliest")))
    return Place(source, lambda name: table.append(1), lambda name: table.delete(), several=False)


def snapshots(table: IceTable) -> Place:
    """One table: whatever the name, it grows by a snapshot."""
    source = open_source(Source.model_validate(table.source(startAt="Earliest")))
    return Place(source, lambda name: table.append(1), lambda name: table.drop(), several=False)


def rows(table: PostgresTable) -> Place:
    """One table: whatever the name, it grows by a row."""
    keys = count(1)
    source = open_source(Source.model_validate(table.source()))
    return Place(source, lambda name: table.append(next(keys)), lambda name: table.drop(), several=False)


KINDS: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "files": lambda request: files(request.getfixturevalue("local_folder"), "Append"),
    "files that replace": lambda request: files(request.getfixturevalue("local_folder"), "Replace"),
    "objects": lambda request: files(_bucket(request), "Append"),
    "web": web,
    "topic": lambda request: topic(request.getfixturevalue("kafka_broker")),
    "logs": lambda request: logs(request.getfixturevalue("tmp_path") / "logs"),
    "delta": lambda request: commits(LakeTable(request.getfixturevalue("tmp_path") / "lake")),
    "iceberg": lambda request: snapshots(IceTable(request.getfixturevalue("tmp_path") / "lake" / "events")),
    "sql": lambda request: rows(request.getfixturevalue("postgres").table()),
}


def _bucket(request: pytest.FixtureRequest) -> Any:
    folder = request.getfixturevalue("local_folder")
    return type(folder)(f"{request.getfixturevalue('s3_root')}/raw")


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest) -> Place:
    return KINDS[request.param](request)


def test_what_is_there_is_sorted_and_each_uri_stands_once(place: Place) -> None:
    for name in ("b", "a", "c", "a"):
        place.put(name)
    uris = [arrival.uri for arrival in place.source.arrivals()]
    assert uris == sorted(set(uris))
    assert len(uris) == (3 if place.several else 1)


def test_where_nothing_is_it_says_why(place: Place) -> None:
    assert list(place.source.arrivals()) == []
    assert place.source.explain_empty()


def test_an_arrival_that_did_not_change_is_found_as_it_was_listed(place: Place) -> None:
    place.put("a")
    (arrival,) = place.source.arrivals()
    assert place.source.find(arrival) == arrival


def test_an_arrival_that_is_gone_is_not_found(place: Place) -> None:
    place.put("a")
    (arrival,) = place.source.arrivals()
    place.remove("a")
    assert place.source.find(arrival) is None


def test_what_is_listed_is_admitted_at_the_latest_when_it_is_old(place: Place, ledger: Ledger) -> None:
    place.put("a")
    entries = place.entries(ledger)
    assert list(place.source.admit(entries, NOW_US)) == entries
    assert place.source.due_us() is None


def test_what_was_taken_is_not_new(place: Place, ledger: Ledger) -> None:
    place.put("a")
    place.put("b")
    assert place.take(ledger, place.entries(ledger))
    assert place.entries(ledger) == []
    assert ledger.knows(place.source.arrivals(), place.source.decide)


def test_an_entry_is_decided_the_same_again(place: Place, ledger: Ledger) -> None:
    place.put("a")
    for _ in range(2):
        (entry,) = place.entries(ledger)
        assert place.source.decide(entry.arrival, ledger.known(entry.arrival.uri)) == entry
        assert place.take(ledger, [entry])
        place.put("a")


def test_what_comes_later_of_a_uri_follows_what_was_taken_of_it(place: Place, ledger: Ledger) -> None:
    place.put("a")
    place.put("b")
    first = place.entries(ledger)
    assert [entry.follows for entry in first] == [None] * (2 if place.several else 1)
    assert place.take(ledger, first)
    place.put("b")
    (entry,) = place.entries(ledger)
    assert entry.follows == (1, len(first) - 1)
    assert place.take(ledger, [entry])
    ledger.checkpoint()
    place.put("b")
    again = Ledger(ledger._storage, "flights")
    assert [entry.follows for entry in place.entries(again)] == [(2, 0)]


def test_what_was_decided_too_early_is_refused(place: Place, ledger: Ledger) -> None:
    place.put("a")
    stale = place.entries(ledger)
    place.put("a")
    assert place.take(ledger, place.entries(ledger))
    assert not place.take(ledger, stale)
    assert ledger.last_batch() == 1


def test_watching_ends_when_it_is_told_to(place: Place) -> None:
    place.put("a")
    stop = Event()
    stop.set()
    assert list(place.source.watch(stop)) == []
