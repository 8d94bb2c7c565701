"""What somebody does already is not planned again, and the conditions say who does it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from featurestore.reconcile.steps import BuildView, Publish, RunBatch

JOB = "Job flights-3-0123456789 is running."
STUCK = "The pod of Job flights-3-0123456789 waits: its image cannot be pulled."


def progressing(conditions: Any) -> tuple[str, str, str]:
    (found,) = (c for c in conditions if c.type == "Progressing")
    return found.status.value, found.reason, found.message


@pytest.fixture
def due(world: Any, make_pipeline: Any, make_view: Any) -> Any:
    """A pipeline whose third batch is to be run, and a view that lacks commit 2."""
    world.accept(make_pipeline())
    world.ledgers["flights"] = replace(world.ledgers["flights"], head=3, done=2, dataset_version=2)
    return world.accept(make_view())


def step(world: Any, kind: type) -> Any:
    return next(step for step in world.plan().steps if isinstance(step, kind))


@pytest.mark.parametrize(
    ("field", "sentence", "reason"), [("running", JOB, "Running"), ("waiting", STUCK, "Waiting")]
)
def test_a_batch_under_way_is_not_planned_again_and_its_sentence_is_shown(
    due: Any, field: str, sentence: str, reason: str
) -> None:
    getattr(due, field)[step(due, RunBatch).key] = sentence
    plan = due.plan()
    assert not [it for it in plan.steps if isinstance(it, RunBatch)]
    assert progressing(plan.pipelines["flights"]) == ("True", reason, sentence)
    ready = plan.pipelines["flights"][0]
    assert (ready.reason, ready.message) == ("BatchPending", "Batch 3 of 3 is being run.")


def test_other_steps_go_on_meanwhile(due: Any) -> None:
    due.running[step(due, RunBatch).key] = JOB
    assert [type(it) for it in due.plan().steps] == [BuildView]


def test_a_failed_batch_that_is_tried_again_is_degraded_until_it_is_done(due: Any, broken: Any) -> None:
    batch = step(due, RunBatch)
    due.fail(batch, broken)
    due.running[batch.key] = JOB
    plan = due.plan()
    degraded = plan.pipelines["flights"][-1]
    assert (degraded.status, degraded.reason) == ("True", "Retrying")
    assert degraded.message.endswith("Failed 1 ×. It is being tried again.")
    assert progressing(plan.pipelines["flights"])[1] == "Running"
    assert plan.wake_us is None, "who does it tells when it is done"


def test_a_step_that_runs_speaks_louder_than_one_that_waits(due: Any) -> None:
    build = step(due, BuildView)
    due.running[build.key], due.waiting["view/delays"] = "It runs.", "It waits."
    assert progressing(due.plan().views["delays"]) == ("True", "Running", "It runs.")


def test_a_view_under_way_as_a_whole_takes_no_step_whichever_is_next(due: Any) -> None:
    due.running["view/delays"] = "Job delays-0123456789 is running."
    for _ in range(3):
        plan = due.plan()
        assert not [it for it in plan.steps if not isinstance(it, RunBatch)]
        assert progressing(plan.views["delays"])[1:] == ("Running", "Job delays-0123456789 is running.")
        # Somebody else brings it on: after each of these something else would be next.
        del due.running["view/delays"]
        done = next(it for it in due.plan().steps if not isinstance(it, RunBatch))
        due.apply(done)
        due.running["view/delays"] = "Job delays-0123456789 is running."
    assert due.shown["delays"].serving is not None


def test_a_publish_under_way_keeps_the_view_from_being_swapped_before_its_time(due: Any) -> None:
    due.apply(step(due, BuildView))
    due.running[step(due, Publish).key] = JOB
    plan = due.plan()
    assert [type(it) for it in plan.steps] == [RunBatch]
    (ready, *_) = plan.views["delays"]
    assert (ready.status, ready.reason) == ("False", "Publishing")
