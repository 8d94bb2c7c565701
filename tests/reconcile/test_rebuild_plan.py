"""What the plan does while the history of a pipeline is run again, and when it was replaced."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from featurestore.arrivals.rebuild import Rebuild, RebuildProgress
from featurestore.reconcile.steps import BuildView, Promote, PromoteRebuild, RunBatch, RunPiece


@pytest.fixture
def rebuilding(world: Any, make_pipeline: Any) -> Any:
    """Batch 5 is to be run, and batch 3 of a rebuild of four in two pieces."""
    world.accept(make_pipeline())
    rebuild = Rebuild(
        pipeline="flights",
        uid="uid-flights",
        number=1,
        spec_digest="0f",
        created_us=1,
        last=4,
        pieces=((1, 2), (3, 4)),
    )
    world.ledgers["flights"] = replace(
        world.ledgers["flights"],
        head=5,
        done=4,
        dataset_version=4,
        rebuild=RebuildProgress(rebuild, due=3, done=2),
    )
    return world


def all_is_there(world: Any) -> None:
    there = world.ledgers["flights"]
    world.ledgers["flights"] = replace(there, rebuild=replace(there.rebuild, due=None, done=4))


def ready(plan: Any) -> Any:
    return next(c for c in plan.pipelines["flights"] if c.type == "Ready")


def test_pieces_are_run_beside_the_batches_and_the_condition_says_how_far_it_is(rebuilding: Any) -> None:
    digest = rebuilding.pipelines["flights"].digest
    plan = rebuilding.plan()
    assert plan.steps == (RunBatch("flights", 5, digest), RunPiece("flights", 1, 3))
    assert "Rebuilding history: rebuild 1: 1 of 2 pieces." in ready(plan).message


def test_a_piece_that_fails_holds_no_batch_back(rebuilding: Any) -> None:
    batch, piece = rebuilding.plan().steps
    rebuilding.fail(piece)
    plan = rebuilding.plan()
    assert plan.steps == (batch,)
    assert next(c for c in plan.pipelines["flights"] if c.type == "Degraded").status == "True"


def test_no_batch_begins_while_all_is_there_and_is_to_be_promoted(rebuilding: Any) -> None:
    all_is_there(rebuilding)
    (step,) = rebuilding.plan().steps
    assert step == PromoteRebuild("flights", 1, 4)
    rebuilding.running[step.key] = "Job x promotes it."
    assert rebuilding.plan().steps == ()


def test_a_promotion_that_fails_holds_no_batch_back(rebuilding: Any, broken: Any) -> None:
    all_is_there(rebuilding)
    (step,) = rebuilding.plan().steps
    rebuilding.fail(step, broken)
    assert [type(each) for each in rebuilding.plan().steps] == [RunBatch]
    rebuilding.now_us = rebuilding.attempts[step.key].next_us
    assert rebuilding.plan().steps == (step,)


def test_a_suspended_pipeline_is_not_rebuilt(rebuilding: Any, make_pipeline: Any) -> None:
    rebuilding.accept(make_pipeline(suspend="Suspended"))
    assert rebuilding.plan().steps == ()


def test_a_view_follows_when_history_was_replaced_though_batches_go_on(
    world: Any, make_pipeline: Any, make_view: Any
) -> None:
    world.accept(make_pipeline(), make_view(online={"enabled": "Never"})).arrive("flights")
    world.settle()
    old = world.shown["delays"].serving.digest
    there = world.ledgers["flights"]
    world.ledgers["flights"] = replace(there, uid=f"{there.uid}/1", dataset_version=2)
    (step,) = world.plan().steps
    assert isinstance(step, BuildView)
    assert step.digest != old
    world.apply(step)
    world.ledgers["flights"] = replace(world.ledgers["flights"], dataset_version=3)
    steps = world.plan().steps
    assert Promote("delays", step.digest, world.views["delays"].digest) in steps
    assert all(each.digest != old for each in steps)
