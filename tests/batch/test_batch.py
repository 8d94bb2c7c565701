"""One batch: what becomes of its rows and files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from featurestore.arrivals.manifest import Action
from featurestore.errors import CodeError, NotFound, TransientError
from featurestore.storage import paths

Make = Callable[..., Any]
PARQUET = {"format": "Parquet"}


def test_rows_keep_their_batch_file_and_row(pipeline: Make) -> None:
    p = pipeline()
    p.batch(p.csv("a.csv", "x\n1\n2\n"), p.csv("b.csv", "x\n3\n"))
    p.batch(p.csv("c.csv", "x\n4\n"))
    assert p.rows("x", "__batch", "__file", "__row") == [
        {"x": 1, "__batch": 1, "__file": 0, "__row": 0},
        {"x": 2, "__batch": 1, "__file": 0, "__row": 1},
        {"x": 3, "__batch": 1, "__file": 1, "__row": 0},
        {"x": 4, "__batch": 2, "__file": 0, "__row": 0},
    ]


def test_filtered_rows_leave_a_gap_in_the_numbers(pipeline: Make) -> None:
    p = pipeline(transforms=[{"filter": {"where": "x > 1"}}])
    p.batch(p.csv("a.csv", "x\n1\n2\n"))
    assert p.rows("x", "__row") == [{"x": 2, "__row": 1}]


def test_system_columns_stand_last(pipeline: Make) -> None:
    p = pipeline()
    p.batch(p.csv("a.csv", "x,y\n1,2\n"))
    assert p.dataset.schema.names == ["x", "y", "__batch", "__file", "__row"]


def test_every_row_read_is_accounted_for(pipeline: Make) -> None:
    p = pipeline(
        transforms=[{"filter": {"where": "x > 1"}}],
        expectations=[
            {"name": "even", "that": "x % 2 = 0"},
            {"name": "small", "that": "x < 100", "otherwise": "Drop"},
        ],
    )
    result = p.batch(p.csv("a.csv", "x\n1\n2\n3\n4\n200\n"))
    assert (result.rows_read, result.rows_committed) == (5, 2)
    assert (result.rows_quarantined, result.rows_dropped) == (1, 1)


def test_a_dropped_row_is_counted_and_not_kept(pipeline: Make) -> None:
    p = pipeline(expectations=[{"name": "small", "that": "x < 100", "otherwise": "Drop"}])
    result = p.batch(p.csv("a.csv", "x\n1\n200\n300\n"))
    assert (result.rows_committed, result.rows_dropped, result.broken) == (1, 2, {"small": 2})
    assert p.quarantine() == []


def test_a_bad_row_goes_to_quarantine_as_its_source_says_it(pipeline: Make) -> None:
    p = pipeline(
        transforms=[{"rename": {"columns": {"x": "y"}}}], expectations=[{"name": "small", "that": "y < 100"}]
    )
    result = p.batch(p.csv("a.csv", "x,n\n1,a\n200,b\n"))
    assert (result.rows_committed, result.rows_quarantined) == (1, 1)
    [row] = p.quarantine()
    assert row["record"] == '{"x": "200", "n": "b"}'
    assert (row["rule"], row["__file"], row["__row"]) == ("small", 0, 1)
    assert row["uri"].endswith("a.csv")
    assert "200" in row["reason"]


def test_fail_batch_takes_no_row_and_the_next_batch_goes_on(pipeline: Make) -> None:
    p = pipeline(expectations=[{"name": "small", "that": "x < 100", "otherwise": "FailBatch"}])
    result = p.batch(p.csv("a.csv", "x\n1\n"), p.csv("b.csv", "x\n2\n200\n"))
    assert (result.rows_committed, result.files_quarantined) == (0, 2)
    assert p.quarantine("__file", "__row", "rule") == [
        {"__file": 0, "__row": None, "rule": "batch:small"},
        {"__file": 1, "__row": None, "rule": "batch:small"},
    ]
    assert p.batch(p.csv("c.csv", "x\n3\n")).rows_committed == 1
    assert p.rows("x", "__batch") == [{"x": 3, "__batch": 2}]


def test_a_batch_without_a_good_row_is_committed_all_the_same(pipeline: Make) -> None:
    p = pipeline(source=PARQUET)
    (p.raw / "a.parquet").write_bytes(b"nothing of the kind")
    result = p.batch("a.parquet")
    assert (result.rows_committed, result.files_quarantined) == (0, 1)
    assert p.dataset.committed(p.ledger.uid()) == 1


def test_a_batch_waits_for_the_one_before_it(pipeline: Make) -> None:
    p = pipeline()
    p.intend(p.csv("a.csv", "x\n1\n"))
    second = p.intend(p.csv("b.csv", "x\n2\n"))
    with pytest.raises(TransientError, match="an earlier batch comes first"):
        p.run(second)


def test_a_batch_that_is_not_there_is_named(pipeline: Make) -> None:
    with pytest.raises(NotFound, match="no such batch"):
        pipeline().run(1)


def test_running_a_committed_batch_again_changes_nothing(pipeline: Make) -> None:
    p = pipeline(expectations=[{"name": "small", "that": "x < 100"}])
    first = p.batch(p.csv("a.csv", "x\n1\n200\n"))
    version = p.dataset.version
    (p.raw / "a.csv").unlink()
    assert p.run() == first
    assert p.dataset.version == version
    assert len(p.quarantine()) == 1


def test_a_lost_result_is_read_back_from_the_commit(pipeline: Make) -> None:
    p = pipeline(expectations=[{"name": "small", "that": "x < 100"}])
    first = p.batch(p.csv("a.csv", "x,t\n1,2020-01-01T00:00:00Z\n200,\n"))
    p.batch(p.csv("b.csv", "x,t\n1,\n"))
    p.storage.delete(paths.result("events", 1))
    assert p.run(1) == first
    assert p.ledger.result(1) == first


def test_a_result_says_what_the_dataset_holds_after_it_with_columns_as_they_stand(pipeline: Make) -> None:
    p = pipeline()
    p.batch(p.csv("a.csv", "z,b\n1,x\n2,y\n"))
    p.batch(p.csv("b.csv", "z,b,a\n3,x,1.5\n"))
    result = p.ledger.result(2)
    assert (result.rows_committed, result.dataset_rows) == (1, 3)
    assert result.dataset_bytes == sum(file.size_bytes for file in p.dataset.files())
    assert list(result.dataset_columns.items()) == [("z", "int64"), ("b", "string"), ("a", "float64")]
    assert 0 < result.bytes_read < result.peak_bytes


def test_a_result_that_is_lost_with_its_commit_still_says_what_the_dataset_holds(pipeline: Make) -> None:
    p = pipeline()
    for number in range(1, 12):
        p.batch(p.csv(f"{number}.csv", f"x\n{number}\n"))
    before = p.ledger.result(11)
    # Delta has written a checkpoint at version 10, so older commits may be cleaned up.
    for path in (paths.result("events", 1), f"{paths.dataset('events')}/_delta_log/{1:020d}.json"):
        p.storage.delete(path)
    again = p.run(1)
    assert (again.rows_committed, again.rows_read) == (1, 0)
    assert (again.dataset_rows, again.dataset_columns) == (before.dataset_rows, before.dataset_columns)


def test_the_watermark_is_the_greatest_time_committed(pipeline: Make) -> None:
    p = pipeline(expectations=[{"name": "small", "that": "x < 100"}])
    text = "x,t,u\n1,2020-01-01T00:00:00.000001Z,1\n2,1960-01-01T00:00:00Z,1\n200,2030-01-01T00:00:00Z,1\n"
    assert p.batch(p.csv("a.csv", text)).watermarks_us == {"t": 1_577_836_800_000_001}


def test_a_commit_says_which_manifest_and_spec_it_came_from(pipeline: Make) -> None:
    p = pipeline()
    p.batch(p.csv("a.csv", "x\n1\n"))
    newest = p.dataset.history(1)[0]
    assert newest["manifest_digest"] == p.ledger.manifest(1).digest
    assert newest["spec_digest"] == p.digest
    assert newest["batch"] == "1"
    assert newest["code_version"]


def test_a_file_that_is_gone_is_told_and_blocks_no_other(pipeline: Make) -> None:
    p = pipeline()
    p.intend(p.csv("a.csv", "x\n1\n"), p.csv("b.csv", "x\n2\n"))
    (p.raw / "a.csv").unlink()
    assert p.run().rows_committed == 1
    assert p.quarantine("__file", "rule") == [{"__file": 0, "rule": "file:gone"}]


def test_a_file_that_was_changed_since_is_another_arrival(pipeline: Make) -> None:
    p = pipeline()
    p.intend(p.csv("a.csv", "x\n1\n"))
    p.csv("a.csv", "x\n1\n2\n")
    assert p.run().rows_committed == 0
    assert p.quarantine("rule") == [{"rule": "file:changed"}]


def test_a_rejected_file_goes_to_quarantine_with_the_reason(pipeline: Make) -> None:
    p = pipeline()
    p.batch(p.csv("a.csv", "x\n1\n"))
    p.csv("a.csv", "x\n1\n2\n")
    refusal = {"rule": "file:overwritten", "reason": "the file was overwritten"}
    p.batch(p.entry("a.csv", action=Action.REJECT, follows=(1, 0), **refusal))
    assert p.quarantine("rule", "reason") == [refusal]
    assert p.rows("x") == [{"x": 1}]


def test_replace_takes_the_new_rows_instead_of_the_old(pipeline: Make) -> None:
    p = pipeline()
    p.batch(p.csv("a.csv", "x\n1\n2\n"), p.csv("b.csv", "x\n3\n"))
    p.batch(p.overwrite("a.csv", "x\n10\n"))
    assert p.rows("x", "__batch") == [{"x": 3, "__batch": 1}, {"x": 10, "__batch": 2}]
    p.batch(p.overwrite("a.csv", "x\n11\n"))
    assert p.rows("x", "__batch") == [{"x": 3, "__batch": 1}, {"x": 11, "__batch": 3}]


def test_a_callable_that_raises_sends_its_file_to_quarantine(
    pipeline: Make, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moods_batch.py").write_text(
        "def calm(rows):\n    if rows.collect()['x'].sum() > 10:\n        raise ValueError('too much')\n    return rows\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    p = pipeline(transforms=[{"python": {"callable": "moods_batch:calm"}}])
    result = p.batch(p.csv("a.csv", "x\n1\n"), p.csv("b.csv", "x\n20\n"), p.csv("c.csv", "x\n3\n"))
    assert (result.rows_committed, result.files_quarantined) == (2, 1)
    [row] = p.quarantine("rule", "reason")
    assert row["rule"] == "python:moods_batch:calm"
    assert "too much" in row["reason"]


def test_a_callable_that_cannot_be_imported_stops_before_anything_is_read(pipeline: Make) -> None:
    p = pipeline(transforms=[{"python": {"callable": "no_such_module_here:f"}}])
    p.intend(p.csv("a.csv", "x\n1\n"))
    with pytest.raises(CodeError, match="no_such_module_here"):
        p.run()
    assert p.quarantine() == []


def test_a_step_that_does_not_fit_its_columns_sends_files_to_quarantine(pipeline: Make) -> None:
    p = pipeline(transforms=[{"drop": {"columns": ["nope"]}}])
    result = p.batch(p.csv("a.csv", "x\n1\n"))
    assert (result.rows_committed, result.files_quarantined) == (0, 1)
    [row] = p.quarantine("rule", "reason")
    assert row["rule"] == "spec:transforms[0]"
    assert "nope" in row["reason"]


def test_many_small_files_become_one_commit(pipeline: Make) -> None:
    p = pipeline(source=PARQUET)
    names = [p.parquet(f"{n:03d}.parquet", {"x": [n]}) for n in range(100)]
    result = p.batch(*names)
    assert result.rows_committed == 100
    assert [row["x"] for row in p.rows("x", "__file") if row["x"] != row["__file"]] == []


def test_a_broken_file_among_many_is_found(pipeline: Make) -> None:
    p = pipeline(source=PARQUET)
    names = [p.parquet(f"{n}.parquet", {"x": list(range(1000))}) for n in range(10)]
    whole = (p.raw / "4.parquet").read_bytes()
    (p.raw / "4.parquet").write_bytes(whole[:4] + b"\xff" * 100 + whole[104:])
    result = p.batch(*names)
    assert (result.rows_committed, result.files_quarantined) == (9000, 1)
    assert p.quarantine("__file", "rule") == [{"__file": 4, "rule": "file:corrupt"}]


def test_no_data_file_is_left_that_no_commit_names(pipeline: Make) -> None:
    p = pipeline(source=PARQUET)
    names = [p.parquet(f"{n}.parquet", {"x": [n]}) for n in range(3)]
    p.batch(*names)
    there = {name for name in os.listdir(p.storage.uri(p.dataset.path)) if name.endswith(".parquet")}
    assert there == {file.path for file in p.dataset.files()}


def test_a_lookup_joins_the_dataset_as_it_was_pinned(pipeline: Make, tmp_path: Any) -> None:
    planes = pipeline()
    planes.batch(planes.csv("planes.csv", "tail,seats\nN1,100\n"))
    pinned = planes.dataset.version
    planes.batch(planes.csv("more.csv", "tail,seats\nN1,200\n"))
    planes.apply(
        {
            "transforms": [
                {"drop": {"columns": ["seats"]}},
                {"lookup": {"pipeline": "events", "keys": {"tail": "tail"}, "columns": {"seats": "size"}}},
            ]
        }
    )
    number = planes.intend(
        planes.csv("flights.csv", "tail,seats\nN1,0\nN2,0\n"), lookups=(("events", pinned),)
    )
    planes.run(number)
    found = [row for row in planes.rows("tail", "size", "__batch") if row["__batch"] == number]
    assert [(row["tail"], row["size"]) for row in found] == [("N1", 100), ("N2", None)]


def test_times_numbers_and_texts_come_through_parquet_unchanged(pipeline: Make) -> None:
    p = pipeline(source=PARQUET)
    frame = pl.DataFrame({"i": [2**53 + 1, None], "s": ["é", ""], "b": [True, None], "l": [[1], []]})
    p.batch(p.parquet("a.parquet", frame))
    assert p.rows("i", "s", "b", "l") == frame.to_dicts()
