"""The runner's journal: bounded, and readable after a crash."""

from __future__ import annotations

from pathlib import Path

from featurestore.failure import Failure
from featurestore.runner.journal import Event, Journal


def event(number: int, name: str = "flights", message: str = "batch 1") -> Event:
    return Event(time_us=number, subject="pipeline", name=name, what="BatchClosed", message=message)


def test_events_are_read_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state")
    for number in range(3):
        journal.write(event(number))
    assert [e.time_us for e in Journal(tmp_path / "state").read()] == [0, 1, 2]


def test_events_of_one_resource_are_found_by_its_name(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(event(1, "flights"))
    journal.write(event(2, "planes"))
    assert [e.time_us for e in journal.read("planes")] == [2]


def test_a_failure_keeps_its_parts(tmp_path: Path) -> None:
    failure = Failure(type="StorageError", problem="no answer", hint="wait", retryable=True)
    journal = Journal(tmp_path)
    journal.write(event(1).model_copy(update={"failure": failure}))
    assert [e.failure for e in journal.read()] == [failure]


def test_it_stays_small_and_keeps_the_newest(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(60):
        journal.write(event(number, message="x" * 100_000))
    read = [e.time_us for e in journal.read()]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3 << 20
    assert read[-1] == 59
    assert read == list(range(read[0], 60))


def test_a_line_that_was_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(event(1))
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('{"timeUs": 2, "subj\n')
    journal.write(event(3))
    assert [e.time_us for e in journal.read()] == [1, 3]


def test_there_may_be_no_journal_yet(tmp_path: Path) -> None:
    assert list(Journal(tmp_path / "absent").read()) == []
