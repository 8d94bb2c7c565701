"""What is in quarantine can be listed, shown, and run again once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featurestore.errors import NotFound, RequestError
from featurestore.quarantine import entries
from featurestore.quarantine.replay import replay

Make = Callable[..., Any]
STRICT = {"expectations": [{"name": "small", "that": "x < 100"}]}
LOOSE = {"expectations": [{"name": "small", "that": "x < 1000"}]}
FILE = {"a.csv": "k,x\na,1\nb,200\nc,3000\n"}


def test_entries_are_summed_up_by_file_and_rule(pipeline: Make) -> None:
    p = pipeline(**STRICT)
    p.batch({**FILE, "b.csv": "k,x\n"})
    [entry] = p.entries()
    assert (entry.batch, entry.file, entry.rule, entry.rows) == (1, 0, "small", 2)
    assert entry.uri.endswith("a.csv")
    assert "200" in entry.reason
    assert entry.replayed_in is None


def test_a_file_as_a_whole_has_no_number_of_rows(pipeline: Make) -> None:
    p = pipeline()
    p.batch({"a.csv": "k,x\na,1\n"})
    p.batch({"b.csv": "k\na\n"})
    [entry] = p.entries()
    assert (entry.rule, entry.rows) == ("schema:missingColumn", None)


def test_rows_are_shown_as_their_source_says_them(pipeline: Make) -> None:
    p = pipeline(**STRICT)
    p.batch(FILE)
    shown = entries.rows(p.storage, "pipelines", "events", batch=1, file=0, rule="small", limit=1)
    assert [row["record"] for row in shown] == ['{"k": "b", "x": "200"}']
    assert entries.rows(p.storage, "pipelines", "events", batch=2) == []


def test_an_empty_quarantine_is_empty_and_not_an_error(pipeline: Make) -> None:
    p = pipeline()
    assert p.entries() == []
    assert p.replay() is None


def test_a_mended_rule_takes_the_rows_that_it_caught(pipeline: Make) -> None:
    p = pipeline(**STRICT)
    p.batch(FILE)
    p.apply(LOOSE)
    result = p.replayed()
    assert (result.rows_read, result.rows_committed, result.rows_quarantined) == (2, 1, 1)
    assert p.values("k", "x", "__batch", "__row") == [("a", 1, 1, 0), ("b", 200, 2, 1)]


def test_what_is_still_broken_is_open_under_the_new_batch(pipeline: Make) -> None:
    p = pipeline(**STRICT)
    p.batch(FILE)
    p.apply(LOOSE)
    p.replayed()
    assert [(e.batch, e.rows, e.replayed_in) for e in p.entries()] == [(1, 2, 2), (2, 1, None)]
    p.apply({})
    p.replayed()
    assert p.open() == []
    assert p.values("k") == [("a",), ("b",), ("c",)]


def test_nothing_is_run_again_twice(pipeline: Make) -> None:
    p = pipeline(**STRICT)
    p.batch(FILE)
    p.apply({})
    assert p.replay() is not None
    assert p.replay() is None


def test_two_that_replay_at_once_make_one_batch(pipeline: Make) -> None:
    p = pipeline(**STRICT)
    p.batch(FILE)
    p.apply({})
    script = (
        "import sys; from featurestore.quarantine.replay import replay; from featurestore.storage.objects import Storage;"
        "print(replay(Storage(sys.argv[1]), 'events', now_us=1) is not None)"
    )
    command = [sys.executable, "-c", script, p.storage.root]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = sorted(process.communicate()[0].strip() for process in processes)
    assert said == ["False", "False", "True"]
    assert p.ledger.last_batch() == 2


def test_a_whole_file_is_run_again_as_a_whole(pipeline: Make) -> None:
    p = pipeline(schemaPolicy={"missingColumn": "Quarantine"})
    p.batch({"a.csv": "k,x\na,1\n"})
    p.batch({"b.csv": "k\nb\n"})
    p.apply({"schemaPolicy": {"missingColumn": "Ignore"}})
    assert p.replayed().rows_committed == 1
    assert p.values("k", "x") == [("a", 1), ("b", None)]


def test_a_batch_that_failed_is_run_again_as_a_whole(pipeline: Make) -> None:
    p = pipeline(expectations=[{"name": "small", "that": "x < 100", "otherwise": "FailBatch"}])
    p.batch({**FILE, "b.csv": "k,x\nd,4\n"})
    p.apply({})
    assert p.replayed(batch=1).rows_committed == 4


def test_one_file_of_one_batch_can_be_chosen(pipeline: Make) -> None:
    p = pipeline(**STRICT)
    p.batch({**FILE, "b.csv": "k,x\nd,400\n"})
    p.apply({})
    assert p.replayed(batch=1, file=1).rows_committed == 1
    assert p.open() == [(1, 0, "small")]


def test_the_steps_see_the_whole_file_when_some_of_its_rows_run_again(pipeline: Make) -> None:
    once = {"transforms": [{"deduplicate": {"keys": ["k"]}}]}
    p = pipeline(**once, expectations=[{"name": "odd", "that": "x % 2 = 1"}])
    p.batch({"a.csv": "k,x\na,1\na,2\nb,3\n"})
    assert p.values("k", "x") == [("b", 3)]
    p.apply(once)
    p.replayed()
    assert p.values("k", "x") == [("a", 2), ("b", 3)]


def test_rows_of_a_query_are_run_again_as_their_file(pipeline: Make) -> None:
    query = {"transforms": [{"sql": {"query": "SELECT k, x * 10 AS x FROM self ORDER BY x DESC"}}]}
    p = pipeline(**query, expectations=[{"name": "small", "that": "x < 100"}])
    p.batch({"a.csv": "k,x\na,1\nb,20\nc,3\n"})
    assert p.values("k", "x") == [("a", 10), ("c", 30)]
    p.apply(query)
    assert p.replayed().rows_committed == 3
    assert p.values("k", "x", "__batch") == [("a", 10, 2), ("b", 200, 2), ("c", 30, 2)]


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_a_file_that_is_not_what_it_was_is_told_and_nothing_is_written(pipeline: Make, how: str) -> None:
    p = pipeline(**STRICT)
    p.batch(FILE)
    path = Path(p.raw) / "a.csv"
    path.unlink() if how == "gone" else path.write_text("k,x\n")
    with pytest.raises(RequestError, match=how):
        p.replay()
    assert p.ledger.last_batch() == 1


def test_what_can_be_run_again_does_not_wait_for_what_cannot(pipeline: Make) -> None:
    p = pipeline(**STRICT)
    p.batch({**FILE, "b.csv": "k,x\nd,400\n"})
    (Path(p.raw) / "a.csv").unlink()
    p.apply({})
    assert p.replayed().rows_committed == 1
    assert p.open() == [(1, 0, "small")]


def test_another_version_is_not_taken_by_accident(pipeline: Make) -> None:
    p = pipeline()
    p.batch({"a.csv": "k,x\na,1\n"})
    p.batch({"a.csv": "k,x\na,1\nb,2\n"})
    with pytest.raises(RequestError, match="onOverwrite is Reject"):
        p.replay()
    p.apply({"source": {"onOverwrite": "Replace"}})
    assert p.replayed().rows_committed == 2
    assert p.values("k", "x", "__batch") == [("a", 1, 3), ("b", 2, 3)]


def test_a_pipeline_that_is_not_there_is_named(pipeline: Make) -> None:
    p = pipeline()
    with pytest.raises(NotFound, match="Did you mean 'events'"):
        replay(p.storage, "event", now_us=0)


@pytest.mark.new_process
def test_listing_loads_no_polars(pipeline: Make) -> None:
    p = pipeline(**STRICT)
    p.batch(FILE)
    script = (
        "import sys; from featurestore.quarantine import entries; from featurestore.storage.objects import Storage;"
        "assert entries.entries(Storage(sys.argv[1]), 'pipelines', 'events');"
        "assert 'polars' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, p.storage.root], check=True)
