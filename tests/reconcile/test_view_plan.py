"""What the plan does for a view."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from featurestore.reconcile.steps import BuildView, Promote, Publish, Retire
from featurestore.retry import FailureStreak
from featurestore.views.rebuilds import ViewRebuild

HOUR_US = 3_600_000_000


@pytest.fixture
def filled(world: Any, make_pipeline: Any) -> Any:
    """A pipeline whose dataset is at commit 3."""
    world.accept(make_pipeline())
    world.ledgers["flights"] = replace(world.ledgers["flights"], head=3, done=3, dataset_version=3)
    return world


def conditions(plan: Any, name: str = "delays") -> dict[str, Any]:
    return {c.type: c for c in plan.views[name]}


def kinds(world: Any) -> list[str]:
    return [type(step).__name__ for step in world.done]


def test_a_new_view_is_built_published_and_only_then_served(filled: Any, make_view: Any) -> None:
    plan = filled.accept(make_view()).settle()
    assert kinds(filled) == ["BuildView", "Publish", "Promote"]
    said = conditions(plan)
    assert {kind: c.status.value for kind, c in said.items()} == {
        "Ready": "True",
        "Progressing": "False",
        "Materialized": "True",
        "OnlineSynced": "True",
        "QuarantineEmpty": "True",
        "Degraded": "False",
    }
    assert said["Ready"].message == "Offline and online hold commit 3."


def test_a_view_that_is_never_online_is_served_as_soon_as_it_is_built(filled: Any, make_view: Any) -> None:
    plan = filled.accept(make_view(online={"enabled": "Never"})).settle()
    assert kinds(filled) == ["BuildView", "Promote"]
    assert conditions(plan)["OnlineSynced"].reason == "NotWanted"
    assert conditions(plan)["Ready"].status == "True"


def test_a_view_waits_for_the_first_commit(world: Any, make_pipeline: Any, make_view: Any) -> None:
    plan = world.accept(make_pipeline(), make_view()).plan()
    assert plan.steps == ()
    assert conditions(plan)["Ready"].reason == "WaitingForData"


def test_a_view_whose_pipeline_is_gone_says_so(world: Any, make_view: Any) -> None:
    plan = world.accept(make_view()).plan()
    assert plan.steps == ()
    assert conditions(plan)["Ready"].message == "There is no pipeline 'flights'."


def test_a_newer_commit_is_built_and_published_without_a_swap(filled: Any, make_view: Any) -> None:
    filled.accept(make_view()).settle()
    filled.done.clear()
    filled.arrive("flights").settle()
    assert kinds(filled) == ["CloseBatch", "RunBatch", "BuildView", "Publish"]


def test_the_old_definition_serves_until_the_new_one_is_complete_and_online(
    filled: Any, make_view: Any
) -> None:
    filled.accept(make_view()).settle()
    old = filled.wanted("delays")
    filled.done.clear()
    filled.accept(make_view(filter="arr_delay IS NOT NULL"))
    new = filled.wanted("delays")
    digest = filled.views["delays"].digest
    assert filled.plan().steps == (BuildView("delays", new, 3, digest),)
    assert "previous definition" in conditions(filled.plan())["Ready"].message
    filled.settle()
    assert filled.done == [
        BuildView("delays", new, 3, digest),
        Publish("delays", new, 1, 3),
        Promote("delays", new, digest),
        Retire("delays", old),
    ]


def test_a_change_that_leaves_the_rows_as_they_are_only_swaps_the_description(
    filled: Any, make_view: Any
) -> None:
    filled.accept(make_view()).settle()
    filled.done.clear()
    filled.accept(make_view(ttl="30d")).settle()
    assert kinds(filled) == ["Promote"]


def test_a_bad_new_definition_is_reported_and_the_last_good_one_keeps_running(
    filled: Any, make_view: Any, wrong: Any
) -> None:
    filled.accept(make_view()).settle()
    old = filled.wanted("delays")
    filled.accept(make_view(filter="x > 1"))
    (step,) = filled.plan().steps
    filled.fail(step, wrong)
    filled.done.clear()
    filled.arrive("flights")
    filled.now_us += 2_000_000
    for _ in range(4):
        for step in filled.plan().steps:
            filled.apply(step)
    assert kinds(filled) == ["CloseBatch", "RunBatch", "BuildView", "Publish"]
    assert {step.digest for step in filled.done[2:]} == {old}
    said = conditions(filled.plan())["Ready"]
    assert said.reason == "Failed"
    assert "there is no column 'x'" in said.message
    assert "previous definition" in said.message


def test_readers_never_go_back_in_time_by_a_swap(filled: Any, make_view: Any) -> None:
    filled.accept(make_view()).settle()
    old = filled.wanted("delays")
    filled.accept(make_view(filter="arr_delay > 0"))
    (build,) = filled.plan().steps
    filled.apply(build)
    seen = filled.shown["delays"]
    ahead = seen.builds[old].model_copy(update={"source_version": 4})
    filled.ledgers["flights"] = replace(filled.ledgers["flights"], dataset_version=4, head=4, done=4)
    filled.shown["delays"] = replace(
        seen,
        builds={**seen.builds, old: ahead},
        published={**seen.published, build.digest: 1},
    )
    assert not [step for step in filled.plan().steps if isinstance(step, Promote)]


def test_an_online_store_that_was_lost_is_filled_again(filled: Any, make_view: Any) -> None:
    filled.accept(make_view()).settle()
    filled.done.clear()
    filled.shown["delays"] = replace(filled.shown["delays"], published={})
    assert conditions(filled.plan())["Ready"].status == "False"
    filled.settle()
    assert kinds(filled) == ["Publish"]


def test_an_online_store_that_does_not_answer_is_not_an_empty_one(
    filled: Any, make_view: Any, broken: Any
) -> None:
    filled.accept(make_view()).settle()
    failed = FailureStreak(3, filled.now_us, broken)
    filled.shown["delays"] = replace(filled.shown["delays"], published={}, online=failed)
    plan = filled.plan()
    assert plan.steps == ()
    assert plan.wake_us == failed.next_us
    assert conditions(plan)["Ready"].status == "Unknown"
    assert conditions(plan)["OnlineSynced"].reason == "OnlineUnavailable"


def test_a_view_is_built_while_the_online_store_does_not_answer(
    filled: Any, make_view: Any, broken: Any
) -> None:
    filled.accept(make_view())
    failed = FailureStreak(1, filled.now_us, broken)
    filled.shown["delays"] = replace(filled.shown["delays"], online=failed)
    assert [type(step) for step in filled.plan().steps] == [BuildView]


def test_a_view_that_goes_offline_is_taken_out_of_the_online_store(filled: Any, make_view: Any) -> None:
    filled.accept(make_view()).settle()
    filled.done.clear()
    filled.accept(make_view(online={"enabled": "Never"})).settle()
    assert kinds(filled) == ["Promote", "Retire"]
    assert filled.shown["delays"].published == {}


def test_a_view_that_goes_online_is_published_before_its_readers_hear_of_it(
    filled: Any, make_view: Any
) -> None:
    filled.accept(make_view(online={"enabled": "Never"})).settle()
    filled.done.clear()
    filled.accept(make_view()).settle()
    assert kinds(filled) == ["Publish", "Promote"]


def test_a_suspended_view_computes_and_publishes_nothing(filled: Any, make_view: Any) -> None:
    filled.accept(make_view()).settle()
    filled.done.clear()
    plan = filled.accept(make_view(suspend="Suspended")).arrive("flights").settle()
    assert kinds(filled) == ["Promote", "CloseBatch", "RunBatch"]
    assert conditions(plan)["Ready"].reason == "Suspended"


def test_a_failed_publish_is_tried_again_later(filled: Any, make_view: Any, broken: Any) -> None:
    filled.accept(make_view())
    filled.apply(filled.plan().steps[0])
    (step,) = filled.plan().steps
    filled.fail(step, broken)
    plan = filled.plan()
    assert plan.steps == ()
    assert plan.wake_us is not None
    assert conditions(plan)["OnlineSynced"].reason == "Retrying"
    assert filled.settle().steps == ()
    assert filled.now_us < 1_000_000_000 + HOUR_US


def test_what_is_built_is_published_while_the_dataset_keeps_growing(filled: Any, make_view: Any) -> None:
    filled.accept(make_view())
    filled.apply(filled.plan().steps[0])
    filled.ledgers["flights"] = replace(filled.ledgers["flights"], head=4, done=4, dataset_version=4)
    assert [type(step) for step in filled.plan().steps] == [BuildView, Publish]


def test_a_view_that_cannot_be_observed_is_left_alone(filled: Any, make_view: Any, broken: Any) -> None:
    filled.accept(make_view())
    filled.shown["delays"] = FailureStreak(1, filled.now_us, broken)
    plan = filled.plan()
    assert plan.steps == ()
    assert conditions(plan)["Ready"].reason == "NotObserved"


def rebuild(world: Any, number: int = 1) -> str:
    """A request to rebuild the view; the build that is wanted then."""
    request = ViewRebuild(number=number, request="again", requested_us=0)
    world.shown["delays"] = replace(world.shown["delays"], rebuild=request)
    return str(world.wanted("delays"))


def test_a_rebuild_is_made_beside_what_serves_and_promoted_when_it_is_complete(
    filled: Any, make_view: Any
) -> None:
    filled.accept(make_view()).settle()
    old, digest = filled.wanted("delays"), filled.views["delays"].digest
    filled.done.clear()
    new = rebuild(filled)
    said = conditions(filled.plan())
    assert (said["Ready"].status, said["Materialized"].status) == ("True", "True")
    assert (said["Rebuilt"].status, said["Rebuilt"].reason) == ("False", "Building")
    plan = filled.settle()
    assert filled.done == [
        BuildView("delays", new, 3, digest),
        Publish("delays", new, 1, 3),
        Promote("delays", new, digest),
        Retire("delays", old),
    ]
    assert conditions(plan)["Rebuilt"].status == "True"
    assert filled.plan().steps == ()


def test_what_serves_goes_on_with_new_commits_while_it_is_rebuilt(filled: Any, make_view: Any) -> None:
    filled.accept(make_view()).settle()
    old = filled.wanted("delays")
    new = rebuild(filled)
    (build,) = filled.plan().steps
    filled.fail(build)
    filled.done.clear()
    filled.ledgers["flights"] = replace(filled.ledgers["flights"], head=4, done=4, dataset_version=4)
    for _ in range(2):
        for step in filled.plan().steps:
            filled.apply(step)
    assert kinds(filled) == ["BuildView", "Publish"]
    assert {step.digest for step in filled.done} == {old}
    said = conditions(filled.plan())
    assert said["Ready"].message == "Offline and online hold commit 4."
    assert (said["Rebuilt"].reason, said["Degraded"].status) == ("Retrying", "True")
    filled.settle()
    assert filled.shown["delays"].serving.digest == new


def test_a_change_that_leaves_the_rows_as_they_are_is_read_at_once_while_it_is_rebuilt(
    filled: Any, make_view: Any, wrong: Any
) -> None:
    filled.accept(make_view()).settle()
    old = filled.wanted("delays")
    rebuild(filled)
    filled.accept(make_view(ttl="30d"))
    digest = filled.views["delays"].digest
    promote, build = filled.plan().steps
    assert promote == Promote("delays", old, digest)
    filled.apply(promote)
    assert filled.plan().steps == (build,)
    assert conditions(filled.plan())["Ready"].status == "True"


def test_a_rebuild_waits_while_its_view_is_suspended(filled: Any, make_view: Any) -> None:
    filled.accept(make_view()).settle()
    filled.accept(make_view(suspend="Suspended")).settle()
    rebuild(filled)
    plan = filled.plan()
    assert plan.steps == ()
    assert conditions(plan)["Rebuilt"].reason == "Suspended"


def test_a_second_request_while_the_first_is_under_way_begins_again(filled: Any, make_view: Any) -> None:
    filled.accept(make_view()).settle()
    first = rebuild(filled)
    (build,) = filled.plan().steps
    filled.apply(build)
    second = rebuild(filled, 2)
    filled.settle()
    assert filled.shown["delays"].serving.digest == second != first
    assert set(filled.shown["delays"].published) == {second}


def test_a_view_that_never_had_a_build_is_built_once_by_a_request(filled: Any, make_view: Any) -> None:
    filled.accept(make_view())
    new = rebuild(filled)
    filled.settle()
    assert kinds(filled) == ["BuildView", "Publish", "Promote"]
    assert filled.shown["delays"].serving.digest == new


def test_a_rebuild_that_is_done_stays_done_when_the_definition_or_the_dataset_is_another_one(
    filled: Any, make_view: Any
) -> None:
    filled.accept(make_view()).settle()
    rebuild(filled)
    filled.settle()
    filled.accept(make_view(filter="arr_delay > 0"))
    assert conditions(filled.plan())["Rebuilt"].status == "True"
    assert conditions(filled.plan())["Ready"].status == "False"
    filled.settle()
    filled.ledgers["flights"] = replace(filled.ledgers["flights"], uid="uid-flights/1")
    assert conditions(filled.plan())["Rebuilt"].status == "True"
    assert conditions(filled.settle())["Ready"].status == "True"
