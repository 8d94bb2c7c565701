"""What waits to be taken: on real files, with a clock of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featurestore.arrivals.backlog import Backlog
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import Conflict, StorageError
from featurestore.resources import DataPipelineSpec
from featurestore.storage import paths
from featurestore.storage.objects import Storage

SECOND_US = 1_000_000
NOW_US = 1_700_000_000 * SECOND_US
MINUTE_AGO_S = 1_700_000_000 - 60


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Storage(str(tmp_path / "store")), "flights")


@pytest.fixture
def backlog(tmp_path: Path, ledger: Ledger) -> Callable[..., Backlog]:
    def make(**arrivals: Any) -> Backlog:
        source = {"uri": "raw/*.csv", "format": "CSV"}
        spec = DataPipelineSpec.model_validate({"source": source, "trigger": {"arrivals": arrivals}})
        return Backlog(ledger, open_source(spec.source, str(tmp_path)), spec.trigger)

    return make


@pytest.fixture
def drop(tmp_path: Path) -> Callable[..., str]:
    (tmp_path / "raw").mkdir()

    def write(name: str, text: str = "a\n1\n", changed_s: int = MINUTE_AGO_S) -> str:
        path = tmp_path / "raw" / name
        path.write_text(text)
        os.utime(path, (changed_s, changed_s))
        return str(path)

    return write


def names(backlog: Backlog) -> list[str]:
    return [entry.arrival.uri.rsplit("/", 1)[-1] for entry in backlog.open.entries] if backlog.open else []


def take(backlog: Backlog, number: int) -> None:
    backlog.close(number, "spec", NOW_US)


def test_files_wait_in_one_open_batch_from_when_the_first_was_seen(backlog: Any, drop: Any) -> None:
    drop("b.csv")
    box = backlog()
    box.look(NOW_US)
    drop("a.csv", changed_s=MINUTE_AGO_S + 1)
    box.look(NOW_US + 11 * SECOND_US)
    assert names(box) == ["b.csv", "a.csv"]
    assert box.open.opened_us == NOW_US
    assert not box.full


def test_what_is_hinted_at_while_the_ledger_cannot_be_read_is_found_by_the_next_look(
    backlog: Any, drop: Any, ledger: Ledger, tmp_path: Path
) -> None:
    box = backlog()
    box.look(NOW_US)
    path = drop("a.csv")
    manifests = tmp_path / "store" / paths.ledger("flights") / "manifests"
    manifests.parent.mkdir(parents=True, exist_ok=True)
    manifests.write_text("no folder")
    with pytest.raises(StorageError):
        box.look(NOW_US + SECOND_US, [path])
    manifests.unlink()
    box.look(NOW_US + 2 * SECOND_US)
    assert names(box) == ["a.csv"]


def test_what_a_manifest_took_waits_no_more(backlog: Any, drop: Any) -> None:
    drop("a.csv")
    box = backlog()
    box.look(NOW_US)
    take(box, 1)
    assert box.open is None
    box.look(NOW_US + 60 * SECOND_US)
    assert box.open is None


def test_a_backlog_is_cut_into_batches_that_are_full_but_for_the_last(
    backlog: Any, drop: Any, ledger: Ledger
) -> None:
    for name in "abcde":
        drop(f"{name}.csv")
    box = backlog(maxFiles=2)
    box.look(NOW_US)
    taken = []
    for number in (1, 2, 3):
        taken.append((names(box), box.full))
        take(box, number)
    assert taken == [(["a.csv", "b.csv"], True), (["c.csv", "d.csv"], True), (["e.csv"], False)]


def test_the_source_is_listed_again_after_its_poll_interval(backlog: Any, drop: Any) -> None:
    box = backlog(pollInterval="7s")
    box.look(NOW_US)
    assert box.next_us == NOW_US + 7 * SECOND_US
    drop("a.csv")
    box.look(NOW_US + 6 * SECOND_US)
    assert box.open is None
    box.look(NOW_US + 7 * SECOND_US)
    assert names(box) == ["a.csv"]


def test_a_hint_brings_a_file_without_a_listing(backlog: Any, drop: Any) -> None:
    box = backlog(pollInterval="1h")
    box.look(NOW_US)
    drop("unheard.csv")
    box.look(NOW_US + 1, [drop("heard.csv")])
    assert names(box) == ["heard.csv"]


def test_a_hint_of_a_file_that_is_gone_does_nothing(backlog: Any, drop: Any, tmp_path: Path) -> None:
    drop("a.csv")
    box = backlog()
    box.look(NOW_US)
    box.look(NOW_US + 1, [str(tmp_path / "raw" / "gone.csv")])
    assert names(box) == ["a.csv"]


def test_a_file_still_being_written_is_not_taken_and_is_looked_at_again_soon(backlog: Any, drop: Any) -> None:
    now_s = NOW_US // SECOND_US
    path = drop("a.csv", text="a\n1", changed_s=now_s)
    box = backlog(pollInterval="1h")
    box.look(NOW_US)
    assert box.open is None
    assert box.unsettled
    assert NOW_US < box.next_us <= NOW_US + 10 * SECOND_US
    drop("a.csv", text="a\n1\n2\n", changed_s=now_s + 1)
    box.look(NOW_US + SECOND_US, [path])
    box.look(box.next_us)
    assert names(box) == ["a.csv"]
    assert box.open.size_bytes == 6


def test_a_file_that_changes_while_it_waits_is_taken_as_it_is_then(backlog: Any, drop: Any) -> None:
    drop("a.csv", text="a\n1\n")
    box = backlog(pollInterval="1h")
    box.look(NOW_US)
    drop("a.csv", text="a\n1\n22\n", changed_s=NOW_US // SECOND_US)
    box.look(NOW_US + 1, ["raw/a.csv"])
    assert box.open is None
    box.look(box.next_us)
    assert [entry.arrival.size_bytes for entry in box.open.entries] == [7]


def test_what_another_runner_took_waits_no_more(backlog: Any, drop: Any) -> None:
    drop("a.csv")
    mine, others = backlog(), backlog()
    mine.look(NOW_US)
    others.look(NOW_US)
    take(others, 1)
    drop("b.csv")
    mine.look(NOW_US + 1)
    assert names(mine) == ["b.csv"]


def test_a_source_that_cannot_be_listed_is_tried_again_later_and_keeps_what_waits(
    backlog: Any, drop: Any, tmp_path: Path
) -> None:
    drop("a.csv")
    box = backlog()
    box.look(NOW_US)
    (tmp_path / "raw").rename(tmp_path / "elsewhere")
    (tmp_path / "raw").write_text("no folder")
    later_us = NOW_US + 10 * SECOND_US
    box.look(later_us)
    assert box.failure is not None
    assert box.next_us == later_us + SECOND_US
    assert names(box) == ["a.csv"]
    box.look(box.next_us)
    assert box.failure.count == 2
    (tmp_path / "raw").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "raw")
    box.look(box.next_us)
    assert box.failure is None


def test_when_another_was_first_the_source_is_looked_at_anew(backlog: Any, drop: Any) -> None:
    drop("a.csv")
    mine, others = backlog(pollInterval="1h"), backlog()
    mine.look(NOW_US)
    others.look(NOW_US)
    take(others, 1)
    drop("b.csv")
    with pytest.raises(Conflict, match="closed this batch"):
        take(mine, 1)
    mine.look(NOW_US + 1)
    assert names(mine) == ["b.csv"]


def test_an_overwritten_file_comes_with_what_the_spec_says_of_it(
    backlog: Any, drop: Any, ledger: Ledger
) -> None:
    drop("a.csv")
    box = backlog()
    box.look(NOW_US)
    take(box, 1)
    drop("a.csv", text="a\n1\n22\n", changed_s=MINUTE_AGO_S + 1)
    box.look(NOW_US + 60 * SECOND_US)
    (entry,) = box.open.entries
    assert entry.action == "Reject"
    assert "overwritten" in entry.reason
    assert replace(entry, reason="").replaces == ()


def test_a_source_rests_until_it_has_a_new_file(backlog: Any, drop: Any) -> None:
    drop("a.csv")
    box = backlog(pollInterval="10s")
    box.look(NOW_US)
    assert not box.rests(NOW_US)
    take(box, 1)
    later_us = NOW_US + 10 * SECOND_US
    assert box.rests(later_us)
    assert box.next_us == later_us + 10 * SECOND_US
    drop("b.csv")
    assert box.rests(later_us + SECOND_US)
    assert not box.rests(box.next_us)
    box.look(box.next_us)
    assert names(box) == ["b.csv"]


def test_an_overwritten_file_is_the_end_of_rest(backlog: Any, drop: Any) -> None:
    drop("a.csv")
    box = backlog()
    box.look(NOW_US)
    take(box, 1)
    drop("a.csv", text="a\n22\n", changed_s=MINUTE_AGO_S + 1)
    assert not box.rests(box.next_us)


def test_a_source_that_cannot_be_listed_does_not_rest(backlog: Any, drop: Any, tmp_path: Path) -> None:
    box = backlog()
    box.look(NOW_US)
    (tmp_path / "raw").rmdir()
    (tmp_path / "raw").write_text("no folder")
    assert not box.rests(box.next_us)
    box.look(box.next_us)
    assert box.failure is not None
    assert not box.rests(box.next_us)


def test_files_are_taken_beside_what_cannot_be_looked_at_and_nothing_is_taken_for_gone(
    backlog: Any, drop: Any, tmp_path: Path, ledger: Ledger
) -> None:
    unknown = tmp_path / "raw" / "b.csv"
    drop("a.csv")
    box = backlog(pollInterval="1s")
    os.symlink("x" * 300, unknown)
    box.look(NOW_US)
    assert names(box) == ["a.csv"]
    assert box.failure.failure.problem == "the source cannot be listed"
    take(box, 1)
    later_us = NOW_US + SECOND_US
    assert not box.rests(later_us)
    drop("c.csv")
    box.look(later_us)
    assert names(box) == ["c.csv"]
    assert box.failure.count == 2
    unknown.unlink()
    drop("b.csv")
    box.look(later_us + SECOND_US)
    assert sorted(names(box)) == ["b.csv", "c.csv"]
    assert box.failure is None


def test_what_waits_in_a_folder_waits_still_when_it_cannot_be_looked_at_any_more(
    backlog: Any, drop: Any, tmp_path: Path
) -> None:
    drop("a.csv")
    drop("b.csv")
    box = backlog(pollInterval="1s")
    box.look(NOW_US)
    (tmp_path / "raw" / "b.csv").unlink()
    os.symlink("x" * 300, tmp_path / "raw" / "b.csv")
    box.look(NOW_US + SECOND_US)
    assert sorted(names(box)) == ["a.csv", "b.csv"]
