"""History that is run again becomes what a fresh store holds that was fed with the same files under the new spec."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from rebuilding import NEW, OLD, do, files, finish, plan, rebuild, requests, seen, three

from featurestore.arrivals.isolation import Trial
from featurestore.arrivals.manifest import Action
from featurestore.errors import Conflict, RequestError
from featurestore.failure import Failure
from featurestore.protocol import PromoteRebuildRequest, RebuildRequest
from featurestore.quarantine.dismiss import dismiss
from featurestore.quarantine.entries import entries
from featurestore.quarantine.replay import replay
from featurestore.quarantine.tally import open_of_pipeline
from featurestore.rebuild.history_plan import HistoryPlan, begin, cancel
from featurestore.storage import paths
from featurestore.storage.delta import Table

Make = Callable[..., Any]
CRASH = Failure(type="WorkerKilled", problem="died", got="signal SIGSEGV", retryable=True)


@pytest.mark.parametrize(
    "new",
    [
        NEW,
        {**NEW, "deduplicate": {"keys": ["k"], "orderBy": {"column": "x"}}},
        {**OLD, "columns": [{"name": "k", "type": "string"}, {"name": "x", "type": "float64"}]},
        {"expectations": [{"name": "whole", "that": "x < 10", "otherwise": "FailBatch"}]},
    ],
    ids=["other columns", "deduplicated", "declared", "failing batches"],
)
def test_history_becomes_what_a_fresh_store_holds_under_the_new_spec(pair: Any, new: Any) -> None:
    p, fresh = pair({**OLD, "deduplicate": {"keys": ["k"]}}, new)
    files(p)
    three(p)
    p.apply(new)
    rebuild(p)
    three(fresh)
    assert seen(p) == seen(fresh)
    later = p.csv("later.csv", "k,x,w,v\na,4,8,9\nz,1,,\n")
    for each in (p, fresh):
        each.batch(later)
    assert seen(p) == seen(fresh)


def test_what_is_read_stays_as_it_is_until_all_is_promoted_in_one_commit(pipeline: Make) -> None:
    p = pipeline(**OLD)
    files(p)
    three(p)
    before, version = seen(p), p.dataset.version
    p.apply(NEW)
    begin(p.storage, plan(p))
    for request in requests(p):
        if isinstance(request, RebuildRequest):
            do(p, request)
            assert (seen(p), p.dataset.version) == (before, version)
        else:
            do(p, request)
            assert p.dataset.version == version + 1
    then = Table.open(p.storage, paths.dataset("events"), version)
    assert then is not None
    assert sorted(then.schema.names) == ["__batch", "__file", "__row", "k", "w", "x", "y"]
    assert sum(file.rows for file in then.files()) == before[-1]["dataset_rows"]


def test_batches_go_on_meanwhile_and_are_part_of_what_is_promoted(pair: Any) -> None:
    p, fresh = pair(OLD, NEW)
    files(p)
    three(p)
    p.apply(NEW)
    begin(p.storage, plan(p))
    more = [p.csv(f"{n}.csv", f"k,x\na,{n}\nm{n},{n}00\n") for n in range(3)]
    for number, request in enumerate(requests(p)):
        if more and number % 2 == 0:
            p.batch(more.pop())
        if isinstance(request, PromoteRebuildRequest) and p.ledger.rebuild_progress().due is not None:
            with pytest.raises(Conflict):
                do(p, request)
        else:
            do(p, request)
    three(fresh, "2.csv", "1.csv", "0.csv")
    assert seen(p) == seen(fresh)


def test_a_batch_that_is_committed_during_the_promotion_is_not_lost(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    p, fresh = pair(OLD, NEW)
    files(p)
    three(p)
    p.apply(NEW)
    begin(p.storage, plan(p))
    late = [p.csv("late.csv", "k,x\nl,1\nm,900\n")]

    def overtake(step: str) -> None:
        if step == "after-rebuild-quarantine" and late:
            p.batch(late.pop())

    monkeypatch.setattr("featurestore_transforms.batch.promotion.hit", overtake)
    for request in requests(p):
        try:
            do(p, request)
        except Conflict:
            assert not late
    three(fresh, "late.csv")
    assert seen(p) == seen(fresh)


def test_a_batch_that_a_promotion_overtakes_is_read_anew(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    p, fresh = pair(OLD, NEW)
    files(p)
    three(p)
    p.apply(NEW)
    begin(p.storage, plan(p))
    for request in requests(p):
        if isinstance(request, PromoteRebuildRequest):
            break
        do(p, request)
    number = p.intend(p.csv("late.csv", "k,x,w\nl,1,\nm,900,1\n"))

    def promote(step: str) -> None:
        if step == "after-quarantine-commit":
            finish(p)

    with monkeypatch.context() as patch:
        patch.setattr("featurestore_transforms.batch.commit.hit", promote)
        with pytest.raises(Conflict):
            p.run(number)
    p.run(number)
    three(fresh, "late.csv")
    assert seen(p) == seen(fresh)


def test_arrivals_that_were_replaced_are_not_run_again(pair: Any) -> None:
    p, fresh = pair(
        {"source": {"onOverwrite": "Replace"}, **OLD}, {"source": {"onOverwrite": "Replace"}, **NEW}
    )
    files(p)
    three(p)
    p.batch(p.overwrite("a.csv", "k,x\nn,1\no,500\n"))
    p.apply({"source": {"onOverwrite": "Replace"}, **NEW})
    begin(p.storage, plan(p))
    for request in requests(p):
        do(p, request)
        if p.ledger.last_batch() == 4:
            p.batch(p.overwrite("b.csv", "k,x\np,2\n"))
    assert plan(p).skipped == 2
    fresh.intend(), fresh.run()
    fresh.intend(), fresh.run()
    for name in ("c.csv", "a.csv", "b.csv"):
        fresh.batch(name)
    assert p.rows() == fresh.rows()


def test_what_was_run_again_from_quarantine_is_run_once(pair: Any) -> None:
    p, fresh = pair(OLD, NEW)
    files(p)
    three(p)
    p.apply({"expectations": [{"name": "small", "that": "x < 350"}]})
    assert replay(p.storage, "events", now_us=1) is not None
    p.run()
    p.apply({"expectations": [{"name": "small", "that": "x < 650"}]})
    rebuild(p)
    three(fresh)
    fresh.apply({"expectations": [{"name": "small", "that": "x < 650"}]})
    rebuild(fresh)
    assert p.rows() == fresh.rows()
    assert [(item.batch, item.rows, item.is_open) for item in entries(p.storage, "pipelines", "events")] == [
        (2, 1, True)
    ]
    found = open_of_pipeline(p.ledger, p.ledger.last_result())
    assert (found.files, found.rows) == (0, 1)


def test_a_file_that_was_refused_as_overwritten_and_then_taken_is_taken_again(pipeline: Make) -> None:
    p = pipeline(**OLD)
    p.batch(p.csv("a.csv", "k,x\na,1\n"))
    refused = p.entry(
        p.csv("b.csv", "k,x\nb,2\n"), action=Action.REJECT, rule="file:overwritten", reason="so"
    )
    p.batch(refused)
    p.batch(p.entry("b.csv", action=Action.REPLAY, replays=(2, 0)))
    p.apply(NEW)
    rebuild(p)
    assert [(row["k"], row["z"], row["__batch"]) for row in p.rows()] == [("a", 2, 1), ("b", 4, 3)]
    assert [(item.batch, item.replayed_in) for item in entries(p.storage, "pipelines", "events")] == [(2, 3)]
    assert not open_of_pipeline(p.ledger, p.ledger.last_result())


def test_what_was_dismissed_is_open_again_if_it_is_found_again(pipeline: Make) -> None:
    p = pipeline(**OLD)
    files(p)
    three(p)
    dismiss(p.storage, "pipelines", "events", because="old", by="me", now_us=1)
    assert not open_of_pipeline(p.ledger, p.ledger.last_result())
    p.apply(NEW)
    rebuild(p)
    found = open_of_pipeline(p.ledger, p.ledger.last_result())
    assert (found.files, found.rows) == (0, 5)
    assert all(item.is_open for item in entries(p.storage, "pipelines", "events"))
    dismiss(p.storage, "pipelines", "events", because="new", by="me", now_us=2)
    assert not open_of_pipeline(p.ledger, p.ledger.last_result())


def test_arrivals_that_are_gone_or_have_another_version_are_named_before_anything_starts(
    pipeline: Make,
) -> None:
    p = pipeline(**OLD)
    files(p)
    three(p)
    (p.raw / "a.csv").unlink()
    p.csv("b.csv", "k,x\nother,1\n")
    p.apply(NEW)
    planned = plan(p)
    assert [(each.batch, each.file, each.now is None) for each in planned.gone] == [
        (1, 0, True),
        (2, 0, False),
    ]
    with pytest.raises(
        RequestError, match=r"2 files of 3 .*a\.csv .batch 1, file 0.: is gone.*--without-gone"
    ):
        begin(p.storage, planned)
    assert p.ledger.rebuilds.last() is None
    begin(p.storage, planned, without_gone=True)
    finish(p)
    assert [row["__batch"] for row in p.rows()] == [3]
    assert [(row["__batch"], row["rule"]) for row in p.quarantine() if row["__row"] is None] == [
        (1, "file:gone"),
        (2, "file:gone"),
    ]


def test_the_plan_tells_what_it_takes_and_writes_nothing(pipeline: Make) -> None:
    p = pipeline(**OLD, trigger={"arrivals": {"maxFiles": 2}})
    files(p)
    three(p)
    planned = plan(p)
    assert (planned.batches, planned.files, planned.rebuild.rows) == (3, 3, 8)
    assert planned.rebuild.size_bytes == sum((p.raw / name).stat().st_size for name in os.listdir(p.raw))
    assert planned.rebuild.pieces == ((1, 2), (3, 3))
    assert planned.minutes is not None
    assert planned.minutes > 0
    assert p.ledger.rebuilds.last() is None


def test_a_time_range_replaces_its_batches_and_no_other(pipeline: Make) -> None:
    p = pipeline(**OLD)
    files(p)
    three(p)
    untouched = [row for row in p.rows("k", "x", "y", "__batch") if row["__batch"] != 2]
    p.apply({**OLD, "expectations": [{"name": "small", "that": "x < 6"}]})
    manifests = [p.ledger.manifest(n) for n in (1, 2, 3)]
    begin(p.storage, _ranged(plan(p), 2))
    finish(p)
    assert [row for row in p.rows("k", "x", "y", "__batch") if row["__batch"] != 2] == untouched
    assert [(row["k"], row["x"]) for row in p.rows() if row["__batch"] == 2] == [("a", 5)]
    assert [(row["__batch"], row["__row"]) for row in p.quarantine()] == [(1, 2), (2, 1), (2, 2), (3, 1)]
    found = open_of_pipeline(p.ledger, p.ledger.last_result())
    assert found.rows == 4
    assert [p.ledger.manifest(n) for n in (1, 2, 3)] == manifests
    p.batch(p.csv("d.csv", "k,x\nd,1\n"))
    assert open_of_pipeline(p.ledger, p.ledger.last_result()).rows == 4


def _ranged(planned: HistoryPlan, number: int) -> HistoryPlan:
    """The plan of one batch: those of these tests are all closed at the same time."""
    from dataclasses import replace

    update = {"pieces": ((number, number),), "ranged": True}
    return replace(planned, rebuild=planned.rebuild.model_copy(update=update))


def test_a_range_that_cannot_be_exact_is_refused(pipeline: Make) -> None:
    p = pipeline(**OLD, deduplicate={"keys": ["k"]})
    files(p)
    three(p)
    with pytest.raises(RequestError, match=r"cannot be replaced by itself.*deduplicate"):
        plan(p, from_us=0)
    with pytest.raises(RequestError, match="no batch was closed in this time"):
        plan(p, to_us=5)


def test_a_second_rebuild_takes_the_place_of_the_first(pair: Any) -> None:
    p, fresh = pair(OLD, {**OLD, "transforms": []})
    files(p)
    three(p)
    p.apply(NEW)
    begin(p.storage, plan(p))
    first = next(requests(p))
    do(p, first)
    written = {file["path"] for _, batch in p.ledger.rebuilds.batches(1) for file in batch.part["files"]}
    assert written
    p.apply({**OLD, "transforms": []})
    begin(p.storage, plan(p))
    with pytest.raises(Conflict):
        do(p, first)
    finish(p)
    three(fresh)
    assert seen(p) == seen(fresh)
    assert not written & set(p.storage.names(paths.dataset("events")))


def test_a_rebuild_that_is_given_up_leaves_all_as_it_was(pipeline: Make) -> None:
    p = pipeline(**OLD)
    files(p)
    three(p)
    before = seen(p)
    p.apply(NEW)
    begin(p.storage, plan(p))
    do(p, next(requests(p)))
    written = {file["path"] for _, batch in p.ledger.rebuilds.batches(1) for file in batch.part["files"]}
    cancel(p.storage, "events", because="it was a mistake", now_us=1)
    assert p.ledger.rebuild_progress() is None
    assert seen(p) == before
    assert written
    assert not written & set(p.storage.names(paths.dataset("events")))
    p.batch(p.csv("d.csv", "k,x\nd,1\n"))


def test_a_rebuild_that_is_being_promoted_is_not_given_up(
    pipeline: Make, run_python: Any, command: Any
) -> None:
    p = pipeline(**OLD)
    files(p)
    three(p)
    p.apply(NEW)
    begin(p.storage, plan(p))
    for request in requests(p):
        if isinstance(request, PromoteRebuildRequest):
            break
        do(p, request)
    run_python(*command(request), kill_at="after-decision")
    with pytest.raises(Conflict, match="is being promoted"):
        cancel(p.storage, "events", because="no", now_us=1)
    with pytest.raises(Conflict, match="is being promoted"):
        begin(p.storage, plan(p))
    finish(p)
    assert p.ledger.rebuilds.generation() == 1


def test_a_file_that_ends_the_process_is_found_and_the_rebuild_goes_on(pair: Any) -> None:
    p, _ = pair(OLD, NEW)
    p.batch(*files(p))
    p.apply(NEW)
    begin(p.storage, plan(p))
    trials = p.ledger.rebuilds.trials(1)
    for request in requests(p):
        at = p.ledger.rebuild_progress()
        found = at.isolation
        if at.due is not None and found.first <= 1 < found.stop:
            crash = Trial(first=found.first, stop=found.stop, ended_us=1, crash=CRASH)
            assert trials.append(at.due, found.turn, crash)
        else:
            do(p, request)
    assert [row["__file"] for row in p.rows()] == [0, 0, 2]
    assert [row["rule"] for row in p.quarantine() if row["__row"] is None] == ["file:killed"]
