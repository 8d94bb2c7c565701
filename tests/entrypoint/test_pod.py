"""How a Job's process ends, and what it leaves for people and for Kubernetes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually
from hypothesis import given
from hypothesis import strategies as st
from job_request import batch_job

from featurestore.failure import Failure
from featurestore.resources.data_pipeline import LEAST_MEMORY
from featurestore_transforms.entrypoint.pod import termination_message

# A function that is busy in the engine for minutes, without ever coming back to Python.
BUSY = """
import pathlib
import polars as pl

def clean(rows):
    print("chatter of a function")
    if pathlib.Path("busy").exists():
        pathlib.Path("begun").touch()
        many = pl.LazyFrame({"a": range(1000)}).join(pl.LazyFrame({"b": range(5_000_000)}), how="cross")
        many.select((pl.col("a") * pl.col("b")).sin().sum()).collect(engine="streaming")
    return rows
"""
PYTHON = {"transforms": [{"python": {"callable": "mine:clean"}}]}


def test_a_pod_that_is_told_to_end_ends_at_once_also_in_the_midst_of_a_query_and_nothing_is_lost(
    site: Any,
) -> None:
    (site.folder / "mine.py").write_text(BUSY)
    (site.folder / "busy").touch()
    site.pipeline(**PYTHON)
    request = batch_job(site.storage.root, "events", site.arrive("1", {"a": 1}))
    process = site.start(request)
    eventually((site.folder / "begun").exists, timeout_s=120)
    process.send_signal(signal.SIGTERM)
    ended = site.end(process)
    assert (ended.code, ended.failure.type, ended.failure.retryable) == (75, "TransientError", True)
    assert "the Job was told to stop" in ended.log
    (site.folder / "busy").unlink()
    assert site.rows() == 0
    assert site.job(number=1).code == 0
    assert site.rows() == 1


@pytest.mark.new_process
def test_a_batch_of_a_few_rows_runs_within_the_least_memory_that_a_pipeline_may_have(site: Any) -> None:
    site.pipeline(resources={"memory": "256Mi"})
    ended = site.job(number=site.arrive("1", {"a": 1}))
    assert ended.result["rowsCommitted"] == 1
    # With the libraries that it maps, which a container may give back.
    assert ended.result["peakBytes"] < LEAST_MEMORY


def test_what_functions_print_stands_in_the_log_and_never_beside_the_result(site: Any) -> None:
    (site.folder / "mine.py").write_text(BUSY)
    site.pipeline(**PYTHON)
    ended = site.job(number=site.arrive("1", {"a": 1}))
    assert ended.result["rowsCommitted"] == 1
    assert "chatter of a function" in ended.log


def test_a_function_that_is_not_installed_fails_the_job_for_good_and_says_that_the_image_lacks_it(
    site: Any,
) -> None:
    site.pipeline(transforms=[{"python": {"callable": "not_there:clean"}}])
    ended = site.job(number=site.arrive("1", {"a": 1}))
    assert (ended.code, ended.failure.type, ended.failure.retryable) == (5, "CodeError", False)
    assert ended.failure.where == "not_there:clean"
    assert "spec.job.template.image names one with your code in it" in ended.failure.hint
    assert "store.yaml" not in ended.failure.hint


def test_storage_that_does_not_answer_is_worth_another_attempt(site: Any) -> None:
    (site.folder / "file").touch()
    request = batch_job(str(site.folder / "file"), "events", 1)
    ended = site.end(site.start(request))
    assert (ended.code, ended.failure.type, ended.failure.retryable) == (75, "StorageError", True)


def test_a_crash_leaves_its_traceback_in_the_log_and_a_failure_that_is_tried_again(site: Any) -> None:
    (site.folder / "mine.py").write_text("def clean(rows):\n    raise GeneratorExit('no more')\n")
    site.pipeline(**PYTHON)
    ended = site.job(number=site.arrive("1", {"a": 1}))
    assert (ended.code, ended.failure.problem, ended.failure.retryable) == (
        1,
        "an unexpected error",
        True,
    )
    assert ended.failure.got == "GeneratorExit: no more"
    assert "Traceback (most recent call last)" in ended.log


@pytest.mark.parametrize(
    "request_text",
    [
        '{"kind": "job"',
        '{"root": "r", "pipeline": "p"}',
        '{"root": "r", "pipeline": "p", "number": 1, "view": "v"}',
    ],
)
def test_a_request_that_cannot_be_read_fails_for_good(site: Any, request_text: str) -> None:
    ended = site.end(site.start(request_text))
    assert (ended.code, ended.failure.type) == (2, "RequestError")


def test_where_no_termination_log_is_kept_none_is_made_and_the_exit_code_is_the_same(site: Any) -> None:
    kept = Path("/dev/termination-log").exists()
    ended = site.job(number=7, FEATURESTORE_TERMINATION_LOG="")
    assert (ended.code, ended.failure) == (3, None)
    assert Path("/dev/termination-log").exists() == kept
    folder = str(site.folder / "no" / "such" / "folder")
    ended = site.job(number=7, FEATURESTORE_TERMINATION_LOG=folder)
    assert ended.code == 3
    assert "the termination log cannot be written" in ended.log


texts = st.text(st.characters(codec="utf-8"), max_size=50).flatmap(
    lambda text: st.integers(0, 300).map(lambda times: text * times)
)


@given(problem=texts, where=texts, got=texts, hint=texts)
def test_any_failure_fits_into_what_kubernetes_keeps_and_can_be_read_there(
    problem: str, where: str, got: str, hint: str
) -> None:
    failure = Failure(type="DataError", problem=problem, where=where, got=got, hint=hint, retryable=False)
    message = termination_message(failure)
    assert len(message) <= 4096
    kept = Failure.model_validate_json(message)
    assert (kept.type, kept.retryable) == ("DataError", False)
    if len(failure.model_dump_json().encode()) <= 4096:
        assert kept == failure
