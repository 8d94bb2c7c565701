"""What the plan does for a pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from featurestore.reconcile.steps import CloseBatch, RunBatch, WriteCheckpoint
from featurestore.retry import FailureStreak

SECOND_US = 1_000_000


def ready(plan: Any, name: str = "flights") -> Any:
    return next(c for c in plan.pipelines[name] if c.type == "Ready")


def test_without_files_nothing_is_done_and_the_pipeline_is_ready(world: Any, make_pipeline: Any) -> None:
    plan = world.accept(make_pipeline()).plan()
    assert (plan.steps, plan.wake_us) == ((), None)
    assert (ready(plan).status, ready(plan).reason) == ("True", "WaitingForFiles")


def test_an_open_batch_waits_its_time_and_then_closes(world: Any, make_pipeline: Any) -> None:
    accepted = make_pipeline()
    world.accept(accepted).arrive("flights", 3)
    plan = world.plan()
    assert plan.steps == ()
    assert plan.wake_us == world.now_us + 2 * SECOND_US
    assert ready(plan).message == "3 files wait for batch 1 to close."
    world.now_us = plan.wake_us
    assert world.plan().steps == (CloseBatch("flights", 1, world.pipelines["flights"].digest),)


def test_a_batch_into_which_nothing_more_fits_closes_at_once(world: Any, make_pipeline: Any) -> None:
    world.accept(make_pipeline()).arrive("flights")
    world.ledgers["flights"] = replace(world.ledgers["flights"], full=True)
    assert isinstance(world.plan().steps[0], CloseBatch)


def test_a_batch_of_the_most_files_closes_at_once(world: Any, make_pipeline: Any) -> None:
    world.accept(make_pipeline(trigger={"arrivals": {"maxFiles": 2}})).arrive("flights", 2)
    assert isinstance(world.plan().steps[0], CloseBatch)


def test_a_drain_closes_an_open_batch_at_once(world: Any, make_pipeline: Any) -> None:
    world.accept(make_pipeline()).arrive("flights")
    assert isinstance(world.plan(draining=True).steps[0], CloseBatch)


def test_batches_run_one_after_the_other_in_order(world: Any, make_pipeline: Any) -> None:
    world.accept(make_pipeline()).arrive("flights")
    world.ledgers["flights"] = replace(world.ledgers["flights"], head=7, done=4, dataset_version=4)
    digest = world.pipelines["flights"].digest
    assert world.plan(draining=True).steps == (RunBatch("flights", 5, digest),)
    world.settle()
    ran = [step.number for step in world.done if isinstance(step, RunBatch)]
    assert ran == [5, 6, 7, 8]


def test_a_failed_batch_is_tried_again_later_and_the_condition_says_when(
    world: Any, make_pipeline: Any, broken: Any
) -> None:
    world.accept(make_pipeline())
    world.ledgers["flights"] = replace(world.ledgers["flights"], head=1)
    (step,) = world.plan().steps
    waits = []
    for _ in range(4):
        world.fail(step, broken)
        plan = world.plan()
        assert plan.steps == ()
        waits.append((plan.wake_us - world.now_us) // SECOND_US)
        world.now_us = plan.wake_us
        assert world.plan().steps == (step,)
    assert waits == [1, 2, 4, 8]
    said = ready(world.plan())
    assert said.reason == "Retrying"
    assert said.message == (
        "storage cannot be read: in s3://b. Failed 4 ×. Next attempt at 1970-01-01T00:16:55Z."
    )


def test_a_wrong_spec_waits_long_and_is_tried_at_once_when_the_spec_changes(
    world: Any, make_pipeline: Any, wrong: Any
) -> None:
    world.accept(make_pipeline())
    world.ledgers["flights"] = replace(world.ledgers["flights"], head=1)
    (step,) = world.plan().steps
    world.fail(step, wrong)
    plan = world.plan()
    assert plan.steps == ()
    assert plan.wake_us == world.now_us + 600 * SECOND_US
    assert ready(plan).reason == "Failed"
    assert "as soon as the resource changes" in ready(plan).message
    world.accept(make_pipeline(description="mended"))
    assert [type(step) for step in world.plan().steps] == [RunBatch]


def test_while_a_batch_fails_the_next_one_is_not_closed(world: Any, make_pipeline: Any, broken: Any) -> None:
    world.accept(make_pipeline()).arrive("flights", 3)
    world.ledgers["flights"] = replace(world.ledgers["flights"], head=1)
    world.fail(world.plan().steps[0], broken)
    assert world.plan(draining=True).steps == ()


def test_a_pipeline_waits_for_the_dataset_that_it_looks_up_and_pins_its_version(
    world: Any, make_pipeline: Any
) -> None:
    lookup = {"pipeline": "planes", "keys": {"tailnum": "tailnum"}, "columns": {"year": "built"}}
    world.accept(make_pipeline("planes"), make_pipeline("flights", transforms=[{"lookup": lookup}]))
    plan = world.arrive("flights").plan(draining=True)
    assert plan.steps == ()
    assert ready(plan).reason == "WaitingForLookup"
    assert "'planes'" in ready(plan).message
    world.ledgers["planes"] = replace(world.ledgers["planes"], head=3, done=3, dataset_version=5)
    (step,) = world.plan(draining=True).steps
    assert step.lookups == (("planes", 5),)


def test_tables_that_are_looked_up_come_first(world: Any, make_pipeline: Any) -> None:
    lookup = {"pipeline": "planes", "keys": {"tailnum": "tailnum"}, "columns": {"year": "built"}}
    world.accept(make_pipeline("flights", transforms=[{"lookup": lookup}]), make_pipeline("planes"))
    for name in ("flights", "planes"):
        world.ledgers[name] = replace(world.ledgers[name], head=1, done=0)
    assert [step.pipeline for step in world.plan().steps] == ["planes", "flights"]


def test_a_suspended_pipeline_takes_and_runs_nothing(world: Any, make_pipeline: Any) -> None:
    world.accept(make_pipeline(suspend="Suspended")).arrive("flights")
    world.ledgers["flights"] = replace(world.ledgers["flights"], head=1)
    plan = world.plan(draining=True)
    assert plan.steps == ()
    assert ready(plan).reason == "Suspended"


def test_a_ledger_that_has_grown_is_summed_up(world: Any, make_pipeline: Any) -> None:
    world.accept(make_pipeline())
    world.ledgers["flights"] = replace(world.ledgers["flights"], checkpoint_is_due=True)
    assert world.plan().steps == (WriteCheckpoint("flights"),)
    assert world.settle().steps == ()


def test_a_source_that_cannot_be_listed_is_not_an_empty_one(
    world: Any, make_pipeline: Any, broken: Any
) -> None:
    world.accept(make_pipeline())
    failed = FailureStreak(1, world.now_us, broken)
    world.ledgers["flights"] = replace(world.ledgers["flights"], source=failed)
    plan = world.plan()
    assert plan.wake_us == failed.next_us
    assert ready(plan).reason == "SourceUnavailable"
    assert [c.status for c in plan.pipelines["flights"] if c.type == "SourceReachable"] == ["False"]


def test_batches_go_on_while_the_source_cannot_be_listed(world: Any, make_pipeline: Any, broken: Any) -> None:
    world.accept(make_pipeline())
    failed = FailureStreak(1, world.now_us, broken)
    world.ledgers["flights"] = replace(world.ledgers["flights"], head=1, source=failed)
    assert [type(step) for step in world.plan().steps] == [RunBatch]


def test_a_pipeline_that_cannot_be_observed_is_left_alone(
    world: Any, make_pipeline: Any, broken: Any
) -> None:
    world.accept(make_pipeline())
    world.ledgers["flights"] = FailureStreak(2, world.now_us, broken)
    plan = world.plan(draining=True)
    assert plan.steps == ()
    assert plan.wake_us == world.now_us + 2 * SECOND_US
    assert (ready(plan).status, ready(plan).reason) == ("Unknown", "NotObserved")
