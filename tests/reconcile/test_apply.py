"""The loop that laptop, Job and operator share."""

from __future__ import annotations

from typing import Any

import pytest

from featurestore.reconcile.apply import apply, converge
from featurestore.reconcile.state import Desired
from featurestore.reconcile.steps import (
    BuildView,
    CloseBatch,
    EngineStep,
    Promote,
    PromoteRebuild,
    Publish,
    Retire,
    RunBatch,
    RunPiece,
    Step,
    WriteCheckpoint,
)

STEPS: dict[str, Step] = {
    "close": CloseBatch("flights", 1, "spec"),
    "checkpoint": WriteCheckpoint("flights"),
    "promote": Promote("delays", "digest", "spec"),
    "retire": Retire("delays", "digest"),
}


class InWorld:
    """Does the steps in a world of values, but leaves some kinds of steps to others."""

    def __init__(self, world: Any, left: tuple[str, ...] = ()) -> None:
        self._world, self._left = world, left
        self.called: list[tuple[str, Step]] = []

    def __getattr__(self, name: str) -> Any:
        def do(step: Step) -> bool:
            self.called.append((name, step))
            if name in self._left:
                return False
            if self._world is not None:
                self._world.apply(step)
            return True

        return do


ENGINE_STEPS = [
    RunBatch("flights", 1, "spec"),
    RunPiece("flights", 1, 1),
    PromoteRebuild("flights", 1, 1),
    BuildView("delays", "digest", 1, "spec"),
    Publish("delays", "digest", 1, 1),
]


def run(world: Any, applier: Any, rounds: int = 20) -> Any:
    desired = Desired({"pipelines": world.pipelines, "views": world.views}, draining=True)
    return converge(desired, lambda: world.observed, applier, lambda: world.now_us, rounds)


@pytest.mark.parametrize("name", STEPS)
def test_each_step_is_handed_to_the_method_of_its_kind(name: str) -> None:
    applier: Any = InWorld(None)
    assert apply(STEPS[name], applier)
    assert applier.called == [(name, STEPS[name])]


@pytest.mark.parametrize("step", ENGINE_STEPS, ids=lambda step: type(step).__name__)
def test_each_step_of_a_data_engine_is_handed_to_the_method_that_runs_it_and_says_what_it_asks(
    step: EngineStep,
) -> None:
    applier: Any = InWorld(None)
    assert apply(step, applier)
    assert applier.called == [("run", step)]
    assert step.request("s3://f").root == "s3://f"


def test_it_looks_again_until_nothing_is_left_to_be_done(
    world: Any, make_pipeline: Any, make_view: Any
) -> None:
    world.accept(make_pipeline(), make_view()).arrive("flights")
    applier = InWorld(world)
    assert run(world, applier).steps == ()
    assert [type(step) for _, step in applier.called] == [CloseBatch, RunBatch, BuildView, Publish, Promote]


def test_it_ends_at_once_where_every_step_is_left_to_others(world: Any, make_pipeline: Any) -> None:
    world.accept(make_pipeline()).arrive("flights")
    applier = InWorld(world, left=("close",))
    assert [type(step) for step in run(world, applier).steps] == [CloseBatch]
    assert len(applier.called) == 1


def test_it_ends_after_so_many_rounds_and_tells_what_was_last_to_be_done(
    world: Any, make_pipeline: Any
) -> None:
    world.accept(make_pipeline()).arrive("flights")
    assert [type(step) for step in run(world, InWorld(world), rounds=2).steps] == [RunBatch]
