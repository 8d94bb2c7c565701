"""A plan for one resource is the part of the whole plan that is about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from featurestore.reconcile.reconcile import reconcile
from featurestore.reconcile.state import Desired
from featurestore.reconcile.steps import CloseBatch

LOOKUP = {"lookup": {"pipeline": "planes", "keys": {"tailnum": "tailnum"}, "columns": {"year": "built"}}}


@pytest.fixture
def busy(world: Any, make_pipeline: Any, make_view: Any, broken: Any) -> Any:
    """Two pipelines of which one looks the other up, and views of both, all with something to do."""
    world.accept(make_pipeline("planes"), make_pipeline("flights", transforms=[LOOKUP]))
    world.ledgers["planes"] = replace(world.ledgers["planes"], head=2, done=2, dataset_version=7)
    world.ledgers["flights"] = replace(world.ledgers["flights"], head=1, done=1, dataset_version=1)
    world.accept(make_view("delays"), make_view("wings", source="planes"))
    build = next(step for step in world.plan().steps if getattr(step, "view", "") == "wings")
    world.fail(build, broken)
    return world.arrive("flights", 600)


@pytest.mark.parametrize("name", ["delays", "wings"])
def test_a_view_is_planned_from_itself_and_what_was_observed_of_its_source(busy: Any, name: str) -> None:
    whole = busy.plan()
    source = busy.views[name].resource.spec.source.pipeline
    observed = replace(
        busy.observed,
        resources={"pipelines": {source: busy.ledgers[source]}, "views": {name: busy.shown[name]}},
    )
    alone = reconcile(Desired({"views": {name: busy.views[name]}}), observed, busy.now_us)
    assert alone.views == {name: whole.views[name]}
    assert alone.pipelines == {}
    assert alone.steps == tuple(step for step in whole.steps if getattr(step, "view", "") == name)
    key = f"views/{name}"
    assert alone.failing == {it: attempt for it, attempt in whole.failing.items() if it == key}
    assert (alone.wake_us is not None) == (name == "wings")


def test_a_pipeline_is_planned_from_itself_and_what_was_observed_of_those_it_looks_up(busy: Any) -> None:
    whole = busy.plan()
    observed = replace(busy.observed, resources={"pipelines": busy.ledgers})
    alone = reconcile(Desired({"pipelines": {"flights": busy.pipelines["flights"]}}), observed, busy.now_us)
    assert alone.pipelines == {"flights": whole.pipelines["flights"]}
    assert alone.views == {}
    (step,) = alone.steps
    assert isinstance(step, CloseBatch)
    assert step in whole.steps
    assert step.lookups == (("planes", 7),)
