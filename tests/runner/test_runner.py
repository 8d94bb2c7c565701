"""The loop: what it does with plans, failures, signals and other runners."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from featurestore.errors import CodeError, StorageError, TransientError
from featurestore.reconcile.conditions import read_status
from featurestore.reconcile.steps import RunBatch
from featurestore.views.builds import read_active_build

STEPS = ["BatchClosed", "BatchCommitted", "Built", "Promoted"]
BROKEN = {"type": "StorageError", "problem": "storage cannot be read", "retryable": True}
SECOND = {"type": "Conflict", "problem": "another publication was first", "retryable": True}
WRONG = {"type": "CodeError", "problem": "the data is wrong", "retryable": False}


def test_a_drain_brings_files_all_the_way_and_ends(place: Any) -> None:
    place.pipeline()
    place.view()
    place.drop("a.csv", "b.csv")
    place.runner().run(draining=True)
    assert place.heard.whats() == STEPS
    assert place.taken() == ["a.csv", "b.csv"]
    assert read_active_build(place.project.storage, "delays") is not None


def test_a_drain_without_anything_to_do_ends(place: Any) -> None:
    place.runner().run(draining=True)
    place.pipeline()
    place.runner().run(draining=True)
    assert place.heard.events == []


def test_a_backlog_is_taken_in_batches(place: Any) -> None:
    place.pipeline(trigger={"arrivals": {"maxFiles": 2}})
    place.drop(*(f"{n}.csv" for n in range(5)))
    place.runner().run(draining=True)
    assert [len(place.ledger().manifest(n).entries) for n in (1, 2, 3)] == [2, 2, 1]
    assert place.ledger().committed_batch() == 3


def test_conditions_are_recorded_for_other_processes(place: Any) -> None:
    place.pipeline()
    place.view()
    place.drop("a.csv")
    place.runner().run(draining=True)
    for kind, name in (("pipelines", "flights"), ("views", "delays")):
        status = read_status(place.project.storage, kind, name)
        assert status is not None
        ready = status.condition("Ready")
        assert (ready.status, ready.reason) == ("True", "UpToDate")
        assert ready.since_us > 0
        assert status.failure is None


def test_a_status_that_cannot_be_recorded_is_told_once_and_stops_nothing(place: Any) -> None:
    place.pipeline()
    place.drop(*(f"{n}.csv" for n in range(3)))
    # A folder where the file would be: storage refuses, and does so to root as well.
    (place.folder / "store/registry/pipelines/flights/status.json/taken").mkdir(parents=True)
    place.runner().run(draining=True)
    assert place.ledger().committed_batch() == 1
    assert place.heard.whats() == ["Failed", "BatchClosed", "BatchCommitted"]


def test_what_fails_once_is_tried_again_and_told(place: Any) -> None:
    place.pipeline()
    place.drop("a.csv")
    place.fail(BROKEN, times=1)
    place.runner().run(draining=True)
    assert place.heard.whats() == ["BatchClosed", "Failed", "BatchCommitted"]
    failed = place.heard.events[1]
    assert failed.message.startswith("could not run batch 1 of flights: storage cannot be read")
    assert "Next attempt at" in failed.message


def test_that_another_runner_was_first_is_no_news_and_the_step_is_looked_at_again(place: Any) -> None:
    place.pipeline()
    place.drop("a.csv")
    place.fail(SECOND, times=2)
    place.runner().run(draining=True)
    assert place.heard.whats() == ["BatchClosed", "BatchCommitted"]


def test_a_drain_gives_up_after_three_attempts_with_the_error(place: Any) -> None:
    place.pipeline()
    place.drop("a.csv")
    place.fail(BROKEN, times=99)
    with pytest.raises(StorageError, match="storage cannot be read"):
        place.runner().run(draining=True)
    assert place.heard.whats() == ["BatchClosed", "Failed", "Failed", "Failed"]
    status = read_status(place.project.storage, "pipelines", "flights")
    assert status.condition("Ready").reason == "Retrying"
    assert status.failure.problem == "storage cannot be read"
    assert status.next_attempt_us > failed_us(place)


def failed_us(place: Any) -> int:
    return int(place.heard.events[-1].time_us)


def test_what_no_retry_can_help_ends_a_drain_at_once_and_the_others_are_done(place: Any) -> None:
    place.pipeline("a")
    place.pipeline("b")
    place.drop("1.csv", pipeline="a")
    place.drop("2.csv", pipeline="b")
    place.fail(WRONG, times=1)
    with pytest.raises(CodeError):
        place.runner().run(draining=True)
    assert (place.ledger("a").committed_batch(), place.ledger("b").committed_batch()) == (0, 1)


def test_a_worker_that_dies_is_started_again(place: Any) -> None:
    place.pipeline()
    place.drop("a.csv")
    (place.folder / "die").touch()
    place.runner().run(draining=True)
    assert place.heard.whats() == ["BatchClosed", "Failed", "BatchCommitted"]
    assert "SIGKILL" in place.heard.events[1].message


def test_a_pipeline_that_waits_for_a_lookup_ends_a_drain_with_an_error_that_says_so(place: Any) -> None:
    place.pipeline("planes")
    lookup = {"pipeline": "planes", "keys": {"tailnum": "tailnum"}, "columns": {"year": "built"}}
    place.pipeline(transforms=[{"lookup": lookup}])
    place.drop("a.csv")
    with pytest.raises(TransientError, match="'planes', which is looked up, has no dataset yet"):
        place.runner().run(draining=True)
    assert place.taken() == []
    place.drop("p.csv", pipeline="planes")
    place.runner().run(draining=True)
    assert place.ledger().manifest(1).lookups == (("planes", 1),)


def test_it_stops_after_the_step_under_way(place: Any) -> None:
    place.pipeline()
    place.drop("a.csv")
    runner = place.runner()
    place.heard.at["BatchClosed"] = runner.stop
    runner.run()
    assert place.heard.whats() == ["BatchClosed"]
    assert (place.ledger().last_batch(), place.ledger().committed_batch()) == (1, 0)


def test_a_runner_that_is_stopped_leaves_how_things_stand_after_its_last_step(place: Any) -> None:
    place.pipeline()
    place.view()
    place.drop("a.csv")
    runner = place.runner()
    place.heard.at["Promoted"] = runner.stop
    runner.run()
    status = read_status(place.project.storage, "views", "delays")
    assert status is not None
    assert status.condition("Ready").reason == "UpToDate"


def test_it_waits_for_files_and_takes_them_as_they_come(place: Any) -> None:
    place.pipeline(trigger={"arrivals": {"pollInterval": "1s", "maxWait": "0s"}})
    place.drop("first.csv")
    runner = place.runner()
    arrivals = iter(["second.csv", "third.csv"])

    def more() -> None:
        name = next(arrivals, None)
        if name is None:
            runner.stop()
        else:
            place.drop(name)

    place.heard.at["BatchCommitted"] = more
    runner.run()
    assert place.taken() == ["first.csv", "second.csv", "third.csv"]


def test_what_is_applied_elsewhere_takes_effect_without_a_restart(place: Any) -> None:
    place.pipeline("planes")
    place.drop("p.csv", pipeline="planes")
    runner = place.runner()

    def committed() -> None:
        if place.ledger("flights").committed_batch():
            runner.stop()
        elif not place.taken():
            place.drop("a.csv")
            place.pipeline("flights")

    place.heard.at["BatchCommitted"] = committed
    runner.run()
    assert place.taken() == ["a.csv"]


def test_a_suspended_pipeline_takes_nothing_until_it_goes_on(place: Any) -> None:
    place.pipeline(suspend="Suspended")
    place.drop("a.csv")
    place.runner().run(draining=True)
    assert place.taken() == []
    place.pipeline()
    place.runner().run(draining=True)
    assert place.taken() == ["a.csv"]


@pytest.mark.parametrize(
    "step", ["after-manifest", "before-promote", "after-promote", "before-checkpoint", "after-checkpoint"]
)
def test_killed_at_any_step_the_next_start_goes_on(place: Any, step: str) -> None:
    place.pipeline(trigger={"arrivals": {"maxFiles": 1}})
    place.view()
    names = [f"{number:03d}.csv" for number in range(3 if "checkpoint" not in step else 101)]
    place.drop(*names)
    killed = place.process(FEATURESTORE_KILL_AT=step)
    killed.communicate(timeout=600)
    assert killed.returncode == -signal.SIGKILL
    place.runner().run(draining=True)
    assert place.taken() == names
    assert place.ledger().committed_batch() == len(names)
    assert read_active_build(place.project.storage, "delays") is not None


def test_two_runners_on_one_store_take_each_file_once(place: Any) -> None:
    place.pipeline(trigger={"arrivals": {"maxFiles": 2}})
    place.view()
    names = [f"{number:03d}.csv" for number in range(40)]
    place.drop(*names)
    runners = [place.process() for _ in range(2)]
    for runner in runners:
        _, said = runner.communicate(timeout=600)
        assert runner.returncode == 0, said
    assert place.taken() == names
    assert place.ledger().committed_batch() == 20
    place.runner().run(draining=True)
    assert not [step for step in place.heard.steps if isinstance(step, RunBatch)]
