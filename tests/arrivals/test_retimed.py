"""Local files that have new times and the same bytes: compared once, by whoever is first, and then known."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featurestore.arrivals import backlog as backlog_module
from featurestore.arrivals import retimed
from featurestore.arrivals.backlog import Backlog
from featurestore.arrivals.files import content, file_source
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import StorageError
from featurestore.resources import DataPipelineSpec
from featurestore.storage import paths
from featurestore.storage.objects import Storage

SECOND_US = 1_000_000
NOW_US = 1_700_000_000 * SECOND_US
COUNT = 30


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "store"))


@pytest.fixture
def process(tmp_path: Path, storage: Storage) -> Callable[[], Backlog]:
    """What waits, as a process sees it that knows nothing yet."""
    arrivals = {"pollInterval": "1s", "maxWait": "0s"}
    source = {"uri": "raw/*.csv", "format": "CSV", "onOverwrite": "Append"}
    spec = DataPipelineSpec.model_validate({"source": source, "trigger": {"arrivals": arrivals}})

    def start() -> Backlog:
        ledger = Ledger(storage, "flights")
        return Backlog(ledger, open_source(spec.source, str(tmp_path)), spec.trigger)

    return start


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    for number in range(COUNT):
        (tmp_path / "raw" / f"{number:02d}.csv").write_text(f"a\n{number:02d}\n")
    age(tmp_path / "raw", 60)
    return tmp_path / "raw"


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the files that were read for what is in them."""
    paths: list[str] = []
    read = file_source.content_digest

    def count(path: str, version: str) -> str | None:
        paths.append(path)
        return read(path, version)

    monkeypatch.setattr(file_source, "content_digest", count)
    return paths


def age(raw: Path, seconds: int) -> None:
    """All files were changed so long ago."""
    for path in raw.iterdir():
        os.utime(path, (NOW_US // SECOND_US - seconds,) * 2)


def take(backlog: Backlog) -> None:
    backlog.look(NOW_US)
    assert backlog.open is not None
    backlog.close(backlog._ledger.last_batch() + 1, "spec", NOW_US)


@pytest.mark.parametrize("unsaved", [7, COUNT, COUNT + 1])
@pytest.mark.parametrize("folded", [False, True])
def test_each_is_compared_once_for_all_processes_and_listings(
    process: Any,
    raw: Path,
    compared: list[str],
    monkeypatch: pytest.MonkeyPatch,
    unsaved: int,
    folded: bool,
) -> None:
    monkeypatch.setattr(retimed, "UNSAVED", unsaved)
    first = process()
    take(first)
    if folded:
        first._ledger.checkpoint()
    age(raw, 30)
    compared.clear()
    first.look(NOW_US + SECOND_US)
    assert (first.open, len(compared)) == (None, COUNT)
    for backlog in (first, process(), process()):
        backlog.look(NOW_US + 2 * SECOND_US)
        assert backlog.open is None
        assert backlog.rests(NOW_US + 4 * SECOND_US)
    assert len(compared) == COUNT


def test_the_newest_time_of_each_is_kept(process: Any, raw: Path, compared: list[str]) -> None:
    take(process())
    for seconds in (50, 40, 30):
        age(raw, seconds)
        compared.clear()
        process().look(NOW_US)
        assert len(compared) == COUNT
    os.utime(raw / "07.csv", (NOW_US // SECOND_US - 20,) * 2)
    compared.clear()
    process().look(NOW_US)
    process().look(NOW_US)
    assert compared == [str(raw / "07.csv")]


@pytest.mark.parametrize("damage", [b"", b"no gzip", None])
def test_without_the_answers_they_are_compared_again_and_nothing_is_taken(
    process: Any, raw: Path, storage: Storage, damage: bytes | None
) -> None:
    take(process())
    age(raw, 30)
    process().look(NOW_US)
    if damage is None:
        storage.delete(paths.retimed("flights"))
    else:
        storage.replace(paths.retimed("flights"), damage)
    again = process()
    again.look(NOW_US)
    assert again.open is None


def test_a_hint_is_answered_like_a_listing(process: Any, raw: Path, compared: list[str]) -> None:
    backlog = process()
    take(backlog)
    backlog.look(NOW_US + 1)
    age(raw, 30)
    compared.clear()
    for _ in range(3):
        backlog.look(NOW_US + 2, ["raw/03.csv"])
    assert backlog.open is None
    assert compared == [str(raw / "03.csv")]


def test_a_file_that_is_being_written_is_compared_when_it_has_settled(
    process: Any, raw: Path, compared: list[str]
) -> None:
    backlog = process()
    take(backlog)
    backlog.look(NOW_US + SECOND_US)
    compared.clear()
    changed_us = NOW_US + 2 * SECOND_US
    os.utime(raw / "03.csv", ns=(changed_us * 1000,) * 2)
    backlog.look(changed_us, ["raw/03.csv"])
    assert compared == []
    # The clock of the file system has not ticked since: the same time and size, other content.
    (raw / "03.csv").write_text("a\nxx\n")
    os.utime(raw / "03.csv", ns=(changed_us * 1000,) * 2)
    backlog.look(backlog.next_us)
    assert [entry.arrival.uri for entry in backlog.open.entries] == ["raw/03.csv"]


def test_what_was_changed_since_it_was_seen_is_seen_again_before_it_is_taken(process: Any, raw: Path) -> None:
    backlog = process()
    backlog.look(NOW_US)
    (raw / "03.csv").write_text("a\nchanged\n")
    os.utime(raw / "03.csv", (NOW_US // SECOND_US - 30,) * 2)
    (raw / "04.csv").unlink()
    first = backlog.close(1, "spec", NOW_US)
    assert len(first.entries) == COUNT - 2
    backlog.look(NOW_US)
    [entry] = backlog.close(2, "spec", NOW_US).entries
    assert (entry.arrival.uri, entry.arrival.size_bytes) == ("raw/03.csv", 10)


def test_what_takes_long_to_compare_is_neither_taken_nor_forgotten(
    process: Any, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = process()
    take(first)
    age(raw, 30)
    (raw / "03.csv").write_text("a\nxx\n")
    age(raw, 20)
    monkeypatch.setattr(file_source, "_AT_ONCE_BYTES", 0)
    monkeypatch.setattr(backlog_module, "COMPARE_S", 0.0)
    other = process()
    other.look(NOW_US)
    assert (other.open, other.unsettled, other.rests(NOW_US)) == (None, True, False)
    monkeypatch.setattr(backlog_module, "COMPARE_S", 60.0)
    other.look(NOW_US)
    assert not other.unsettled
    assert [entry.arrival.uri for entry in other.open.entries] == ["raw/03.csv"]


def test_a_file_that_does_not_answer_is_an_error_and_holds_up_nobody_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "STALLED_S", 0.1)
    os.mkfifo(tmp_path / "pipe")
    reading = content.Reading([(str(tmp_path / "pipe"), "0-0")])
    assert not reading.wait(0)
    with pytest.raises(StorageError, match="a file does not answer"):
        reading.wait()
