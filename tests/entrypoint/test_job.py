"""What one Job does: a batch and the views that keep up with it, or one view."""

from __future__ import annotations

from typing import Any

import pytest
from examples import sample
from job_request import STEPS
from server import free_port

from featurestore.resources import FeatureStore
from featurestore.views.builds import read_build


def test_one_job_brings_a_file_all_the_way_to_readers(site: Any) -> None:
    site.view("things")
    ended = site.job(number=site.arrive("1", {"a": 1, "b": 2}))
    assert (ended.code, ended.failure) == (0, None), ended.log
    assert site.online("things", "a", "b", "c") == [1, 2, None]
    assert (ended.result["kind"], ended.result["rowsCommitted"]) == ("batch", 2)
    said = [
        "run batch 1 of events",
        "batch 1 is commit 1: 2 rows",
        "build things up to commit 1 of its dataset",
        "things: offline commit 1: 2 rows",
        "things: online commit 1: 2 entities",
        "done",
    ]
    places = [ended.log.find(words) for words in said]
    assert -1 not in places, ended.log
    assert places == sorted(places)


def test_a_job_that_is_run_again_changes_nothing_and_tells_the_same(site: Any) -> None:
    site.view("things")
    number = site.arrive("1", {"a": 1})
    first, served = site.job(number=number), site.serving("things")
    again = site.job(number=number)
    assert (again.code, again.result) == (0, first.result)
    assert (site.rows(), site.serving("things")) == (1, served)


@pytest.mark.slow
def test_a_view_that_must_be_filled_from_the_start_holds_back_no_batch_and_gets_its_own_job(
    site: Any,
) -> None:
    site.view("things")
    site.job(number=site.arrive("1", {"a": 1}))
    late = site.view("late", filter="v > 0")
    ended = site.job(number=site.arrive("2", {"a": 2}))
    assert ended.code == 0
    assert site.online("things", "a") == [2]
    assert site.serving("late") is None
    alone = site.job(view="late")
    assert (alone.result["kind"], alone.result["digest"], alone.result["rows"]) == ("build", late, 2)
    assert site.online("late", "a") == [2]


def test_a_view_that_fails_harms_neither_the_batch_nor_other_views(site: Any) -> None:
    site.view("bad", features=[{"name": "x", "type": "int64", "column": "absent"}])
    site.view("things")
    ended = site.job(number=site.arrive("1", {"a": 1}))
    assert (ended.code, ended.failure) == (0, None)
    assert site.online("things", "a") == [1]
    assert "bad is left to a Job of its own: " in ended.log


def test_the_failure_of_a_view_alone_is_the_failure_of_its_job(site: Any) -> None:
    site.job(number=site.arrive("1", {"a": 1}))
    site.view("bad", features=[{"name": "x", "type": "int64", "column": "absent"}])
    ended = site.job(view="bad")
    assert (ended.code, ended.failure.type, ended.failure.retryable) == (2, "SpecError", False)
    assert "absent" in ended.failure.model_dump_json()
    assert ended.result is None


def test_an_online_store_that_is_away_keeps_no_view_from_being_built(site: Any) -> None:
    away = {
        "offline": {"uri": "elsewhere"},
        "online": {"redis": {"url": f"redis://127.0.0.1:{free_port()}/0"}},
    }
    site.registry.accept(FeatureStore.model_validate({"metadata": {"name": "default"}, "spec": away}))
    digest = site.view("things")
    ended = site.job(number=site.arrive("1", {"a": 1}))
    assert (ended.code, ended.failure) == (0, None)
    assert "things is left to a Job of its own: " in ended.log
    assert read_build(site.storage, "things", digest).source_version == ended.result["datasetVersion"]
    alone = site.job(view="things")
    assert (alone.code, alone.failure.retryable) == (75, True)
    assert "online store did not answer" in alone.failure.problem


def test_a_changed_definition_is_built_beside_swapped_in_and_the_old_one_leaves_the_online_store(
    site: Any,
) -> None:
    old = site.view("things")
    site.job(number=site.arrive("1", {"a": 1, "b": -1}))
    new = site.view("things", filter="v > 0")
    assert site.index.version("things", old) is not None
    assert site.job(view="things").code == 0
    assert site.serving("things").digest == new
    assert site.index.version("things", old) is None
    assert site.online("things", "a", "b") == [1, None]


def test_a_view_of_a_pipeline_without_a_dataset_waits_and_that_is_no_failure(site: Any) -> None:
    site.view("things")
    ended = site.job(view="things")
    assert (ended.code, ended.result, ended.failure) == (0, None, None)


def test_a_view_that_was_deleted_meanwhile_ends_its_job_for_good(site: Any) -> None:
    ended = site.job(view="things")
    assert (ended.code, ended.failure.type) == (3, "NotFound")


@pytest.mark.slow
@pytest.mark.parametrize("step", sample(STEPS, 2))
def test_a_job_that_is_killed_at_any_step_is_finished_by_the_next(site: Any, step: str) -> None:
    site.view("things")
    number = site.arrive("1", {"a": 1, "b": 2})
    killed = site.job(number=number, FEATURESTORE_KILL_AT=step)
    assert killed.code == -9
    ended = site.job(number=number)
    assert (ended.code, ended.failure) == (0, None), ended.log
    assert (site.rows(), site.online("things", "a", "b")) == (2, [1, 2])
