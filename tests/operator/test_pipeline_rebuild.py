"""What Jobs of a rebuild tell of its batches, and what they are asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Entry, Manifest
from featurestore.arrivals.rebuild import Rebuild, RebuildProgress, RebuiltBatch
from featurestore.failure import Failure
from featurestore.protocol import JobRequest
from featurestore.reconcile.steps import EngineStep, PromoteRebuild, RunBatch, RunPiece
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline
from featurestore.retry import FailureStreak
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore_operator.controllers.pipeline_rebuild import (
    HistoryRequest,
    begin_rebuild,
    due_step,
    record_crash,
    under_way,
)
from featurestore_operator.jobs.attempts import JobAttempt, JobAttempts
from featurestore_operator.jobs.job_manifest import (
    BATCH,
    REBUILD_LABEL,
    Attempt,
    JobContext,
    Owner,
    job,
)
from featurestore_operator.jobs.job_outcome import Failed, JobOutcome, Running
from featurestore_operator.jobs.memory import MemoryRequest

KILLED = Failed(
    FailureStreak(1, 7, Failure(type="OutOfMemory", problem="killed", where="Job", retryable=True)), 1
)
RUNS = Running("Job is running", waiting=False)
BATCHES = 3
MOST = 2**30
"""What a Job may hold at most, which those here hold already."""


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Three batches of two files each, of which a rebuild runs all as one piece."""
    ledger = Ledger(Storage(str(tmp_path)), "flights")
    for number in range(1, BATCHES + 1):
        entries = tuple(Entry(Arrival(f"/raw/{number}-{file}.csv", "1", 10, 1)) for file in range(2))
        assert ledger.try_append(Manifest("flights", ledger.uid(), number, "0f", number, entries))
        ledger.storage.replace(paths.result("flights", number), b"{}")
    intent = Rebuild(
        pipeline="flights",
        uid=ledger.uid(),
        number=1,
        spec_digest="0f",
        created_us=9,
        last=BATCHES,
        pieces=((1, BATCHES),),
    )
    assert ledger.rebuilds.try_begin(intent)
    return ledger


def passed(ledger: Ledger, number: int) -> None:
    batch = RebuiltBatch(
        number=number, files=2, rows_read=0, rows=0, rows_quarantined=0, rows_dropped=0, ended_us=1
    )
    assert ledger.rebuilds.try_batch(1, batch)


def progress(ledger: Ledger) -> RebuildProgress:
    found = ledger.rebuild_progress()
    assert found is not None
    return found


def manifest(work: EngineStep) -> dict[str, Any]:
    source = {"uri": "s3://raw/*.parquet", "format": "Parquet"}
    pipeline = DataPipeline.model_validate({"metadata": {"name": "flights"}, "spec": {"source": source}})
    attempt, place = (
        Attempt(1, 0, MemoryRequest(2**29, 2**30)),
        JobContext("prod", "s3://f", "jobs:1", "jobs"),
    )
    return job(work, attempt, Accepted("0f", pipeline), Owner("DataPipeline", "flights", "u"), place)


def jobs(*pairs: tuple[EngineStep, JobOutcome]) -> JobAttempts:
    """The first is the oldest."""
    found = [JobAttempt(manifest(work), outcome) for work, outcome in pairs]
    for second, each in enumerate(found):
        each.job["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:{second:02d}Z"
    return JobAttempts(found)


def test_a_job_that_dies_in_a_later_batch_of_its_piece_is_recorded_there_and_once(ledger: Ledger) -> None:
    passed(ledger, 1)
    for _ in range(2):
        record_crash(ledger, jobs((RunPiece("flights", 1, 1), KILLED)), 2**40)
    found = progress(ledger)
    assert (found.due, found.isolation.turn) == (2, 1)
    assert found.isolation.out_of_memory == 1


def test_a_job_that_dies_in_the_batch_that_it_began_with_is_recorded_there_and_once(ledger: Ledger) -> None:
    for turn in (0, 1):
        for _ in range(2):
            record_crash(ledger, jobs((RunPiece("flights", 1, 1, turn), KILLED)), MOST)
    found = progress(ledger)
    assert (found.due, found.isolation.turn, found.isolation.halved) == (1, 2, True)


def test_a_job_that_died_before_another_one_began_says_nothing_of_what_is_due_now(ledger: Ledger) -> None:
    passed(ledger, 1)
    passed(ledger, 2)
    record_crash(ledger, jobs((RunPiece("flights", 1, 1), KILLED), (RunPiece("flights", 1, 2), RUNS)), 2**40)
    record_crash(ledger, jobs((RunPiece("flights", 2, 1), KILLED)), 2**40)
    assert progress(ledger).isolation.turn == 0


def test_what_is_due_is_under_way_while_the_job_of_its_piece_runs(ledger: Ledger) -> None:
    passed(ledger, 1)
    found = progress(ledger)
    step = due_step("flights", found, BATCHES)
    assert step == RunPiece("flights", 1, 2)
    assert under_way(jobs((RunPiece("flights", 1, 1), RUNS)), step, found.rebuild) == RUNS.sentence
    assert under_way(jobs((RunBatch("flights", 4, "0f"), RUNS)), step, found.rebuild) == ""


def test_a_promotion_waits_for_the_batch_that_is_run(ledger: Ledger) -> None:
    for number in range(1, BATCHES + 1):
        passed(ledger, number)
    found = progress(ledger)
    step = due_step("flights", found, BATCHES)
    assert step == PromoteRebuild("flights", 1, BATCHES)
    assert under_way(jobs((RunBatch("flights", 4, "0f"), RUNS)), step, found.rebuild) == RUNS.sentence
    assert under_way(jobs(), step, found.rebuild) == ""


def ask(ledger: Ledger, value: str) -> object:
    source: Any = None
    return begin_rebuild(ledger, source, HistoryRequest(value, without_gone=False, spec="0f"), None, 1)


def test_a_request_before_the_first_batch_is_closed_asks_for_nothing(tmp_path: Path) -> None:
    ledger = Ledger(Storage(str(tmp_path)), "flights")
    ledger.uid()
    assert ask(ledger, "first") is None
    assert ledger.rebuilds.has_begun("first")
    entries = (Entry(Arrival("/raw/1.csv", "1", 10, 1)),)
    assert ledger.try_append(Manifest("flights", ledger.uid(), 1, "0f", 1, entries))
    assert ask(ledger, "second") is None
    assert not ledger.rebuilds.has_begun("second")
    assert ledger.rebuilds.last() is None


def test_a_job_of_a_rebuild_is_no_job_of_a_batch_and_is_asked_for_exactly_its_part() -> None:
    for work, asked in (
        (RunPiece("flights", 2, 5, 1), {"kind": "rebuild", "number": 5, "turn": 1, "rebuild": 2}),
        (PromoteRebuild("flights", 2, 9), {"kind": "promoteRebuild", "rebuild": 2}),
    ):
        made = manifest(work)
        labels = made["metadata"]["labels"]
        assert (labels[REBUILD_LABEL], BATCH in labels) == ("2", False)
        _, text = made["spec"]["template"]["spec"]["containers"][0]["args"]
        request = JobRequest.model_validate_json(text)
        assert (request.pipeline, request.time_limit_s) == ("flights", 3600)
        assert request.request.model_dump(exclude={"base"}) == {
            "root": "s3://f",
            "pipeline": "flights",
            **asked,
        }
