"""Ready is about what is read: true while that is whole and not late, however much is being done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from featurestore.reconcile.draft import LATE_US, PlanDraft
from featurestore.reconcile.state import Observed
from featurestore.reconcile.steps import BuildView, RunBatch
from featurestore.reconcile.training_version import MakeVersion, ObservedTrainingSet, plan_training_set
from featurestore.registry.registry import Accepted
from featurestore.resources import TrainingSet

STUCK = "Job flights-4-0 cannot start its container: ImagePullBackOff"


def ready(conditions: Any) -> tuple[str, str]:
    (found,) = (it for it in conditions if it.type == "Ready")
    return found.status.value, found.reason


def step(world: Any, kind: type) -> Any:
    return next(it for it in world.plan().steps if isinstance(it, kind))


@pytest.fixture
def due(world: Any, make_pipeline: Any, make_view: Any) -> Any:
    """A pipeline and a view that hold batch 1, and batch 2 is to be run since now."""
    world.accept(make_pipeline())
    ledger = replace(world.ledgers["flights"], head=1, done=1, dataset_version=1, done_us=world.now_us)
    world.ledgers["flights"] = ledger
    world.accept(make_view())
    while steps := world.plan().steps:
        for it in steps:
            world.apply(it)
    assert ready(world.plan().views["delays"]) == ("True", "UpToDate")
    world.ledgers["flights"] = replace(world.ledgers["flights"], head=2, pending_us=world.now_us)
    return world


def test_a_pipeline_stays_ready_while_batches_come_and_are_run(due: Any) -> None:
    assert ready(due.plan().pipelines["flights"]) == ("True", "BatchPending")
    due.apply(step(due, RunBatch))
    assert ready(due.arrive("flights").plan().pipelines["flights"]) == ("True", "Collecting")


def test_a_view_stays_ready_while_it_is_brought_on(due: Any) -> None:
    due.apply(step(due, RunBatch))
    assert ready(due.plan().views["delays"]) == ("True", "Building")
    due.apply(step(due, BuildView))
    assert ready(due.plan().views["delays"]) == ("True", "Publishing")


def test_what_is_late_is_not_ready(due: Any) -> None:
    due.now_us += LATE_US + 1
    assert ready(due.plan().pipelines["flights"]) == ("False", "BatchPending")
    due.apply(step(due, RunBatch))
    assert ready(due.plan().views["delays"]) == ("False", "Building")


def test_what_fails_is_not_ready(due: Any) -> None:
    due.fail(step(due, RunBatch))
    assert ready(due.plan().pipelines["flights"])[0] == "False"
    due.attempts.clear()
    due.apply(step(due, RunBatch))
    due.fail(step(due, BuildView))
    assert ready(due.plan().views["delays"])[0] == "False"


def test_a_view_whose_online_store_lost_all_is_not_ready(due: Any) -> None:
    due.shown["delays"] = replace(due.shown["delays"], published={})
    assert ready(due.plan().views["delays"]) == ("False", "Publishing")


def test_another_definition_is_not_ready_before_it_is_read(due: Any, make_view: Any) -> None:
    due.accept(make_view(ttl="2h"))
    assert ready(due.plan().views["delays"])[0] == "False"


def test_a_job_that_cannot_start_is_not_ready_and_says_why(due: Any) -> None:
    batch = step(due, RunBatch)
    due.waiting[batch.key] = due.stuck[batch.key] = STUCK
    (said,) = (it for it in due.plan().pipelines["flights"] if it.type == "Ready")
    assert (said.status.value, said.reason) == ("False", "CannotStart")
    assert STUCK in said.message
    del due.waiting[batch.key], due.stuck[batch.key]
    due.apply(batch)
    build = step(due, BuildView)
    due.waiting[build.key] = due.stuck[build.key] = STUCK
    assert ready(due.plan().views["delays"]) == ("False", "CannotStart")


def test_a_training_set_whose_job_cannot_start_is_not_ready_and_says_why() -> None:
    observed = ObservedTrainingSet(
        definition="0f",
        number=1,
        begun=False,
        newest=None,
        versions=0,
        is_stale=False,
        checked_us=None,
        waits="",
        pipelines=(),
    )
    spec = {
        "features": {"names": ["delays:delay"]},
        "labels": {"pipeline": "flights", "timestampField": "ts", "columns": ["late"]},
    }
    resource = TrainingSet.model_validate({"kind": "TrainingSet", "metadata": {"name": "set"}, "spec": spec})
    stuck = {MakeVersion("set", 1, "0f").key: STUCK}
    for there, reason in ({}, "Building"), (stuck, "CannotStart"):
        draft = PlanDraft(
            "trainingset/set",
            Observed({"trainingsets": {"set": observed}}, {}, {}, there, {}, there),
            0,
        )
        plan_training_set("set", Accepted("0f", resource), draft)
        assert ready(draft.conditions) == ("False", reason)
        assert bool(there) is any(STUCK in condition.message for condition in draft.conditions)


def test_who_waits_for_its_turn_is_ready_and_says_so(due: Any) -> None:
    due.queued[step(due, RunBatch).key] = "waits for its turn: none is before it"
    plan = due.plan()
    assert ready(plan.pipelines["flights"]) == ("True", "WaitingForTurn")
    assert not [it for it in plan.steps if isinstance(it, RunBatch)]
