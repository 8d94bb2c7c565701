"""What the conditions of pipelines and views say, beyond ``Ready``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from featurestore.quarantine.tally import OpenQuarantine
from featurestore.reconcile.pipeline import CONDITIONS as OF_PIPELINES
from featurestore.reconcile.view import CONDITIONS as OF_VIEWS
from featurestore.retry import FailureStreak

LOOKUP = {"lookup": {"pipeline": "planes", "keys": {"tailnum": "tailnum"}, "columns": {"year": "built"}}}


def said(conditions: Any) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status.value, c.reason) for c in conditions}


def message(conditions: Any, kind: str) -> str:
    return str(next(c.message for c in conditions if c.type == kind))


@pytest.fixture
def filled(world: Any, make_pipeline: Any, make_view: Any) -> Any:
    """A pipeline at commit 3, and a view of it that is up to date."""
    world.accept(make_pipeline())
    world.ledgers["flights"] = replace(world.ledgers["flights"], head=3, done=3, dataset_version=3)
    world.accept(make_view()).settle()
    return world


def test_at_rest_nothing_progresses_and_nothing_is_degraded(filled: Any) -> None:
    plan = filled.plan()
    assert said(plan.pipelines["flights"]) == {
        "Ready": ("True", "UpToDate"),
        "Progressing": ("False", "Idle"),
        "SourceReachable": ("True", "Listed"),
        "SchemaAccepted": ("True", "Accepted"),
        "QuarantineEmpty": ("True", "Empty"),
        "Degraded": ("False", "NothingFails"),
    }
    assert said(plan.views["delays"]) == {
        "Ready": ("True", "UpToDate"),
        "Progressing": ("False", "Idle"),
        "Materialized": ("True", "UpToDate"),
        "OnlineSynced": ("True", "UpToDate"),
        "QuarantineEmpty": ("True", "Empty"),
        "Degraded": ("False", "NothingFails"),
    }


def test_whatever_happens_every_type_stands_there_once(
    filled: Any, make_pipeline: Any, make_view: Any, broken: Any
) -> None:
    failed = FailureStreak(1, filled.now_us, broken)
    filled.accept(make_pipeline("dark"), make_view("dark"), make_view("lost", source="nowhere"))
    filled.accept(make_view("blind", source="dark"), make_pipeline("off", suspend="Suspended"))
    filled.ledgers["dark"] = filled.shown["dark"] = failed
    plan = filled.plan()
    assert {tuple(c.type for c in conditions) for conditions in plan.pipelines.values()} == {OF_PIPELINES}
    assert {tuple(c.type for c in conditions) for conditions in plan.views.values()} == {OF_VIEWS}


def test_what_cannot_be_observed_is_unknown_and_degraded_and_never_false(
    filled: Any, make_view: Any, broken: Any
) -> None:
    filled.ledgers["flights"] = FailureStreak(2, filled.now_us, broken)
    plan = filled.plan()
    for conditions in (plan.pipelines["flights"], plan.views["delays"]):
        statuses = said(conditions)
        assert statuses.pop("Degraded") == ("True", "Retrying")
        assert set(statuses.values()) == {("Unknown", "NotObserved")}
        assert "Failed 2 ×. Next attempt at 1970-01-01T00:16:42Z." in message(conditions, "Ready")


def test_work_that_is_due_is_named_in_the_order_in_which_it_is_done(filled: Any, make_view: Any) -> None:
    filled.ledgers["flights"] = replace(filled.ledgers["flights"], head=5, done=4, dataset_version=4)
    plan = filled.plan()
    assert said(plan.pipelines["flights"])["Progressing"] == ("True", "Due")
    assert message(plan.pipelines["flights"], "Progressing") == "Next: run batch 5 of flights."
    assert message(plan.views["delays"], "Progressing") == (
        "Next: build delays up to commit 4 of its dataset."
    )


def test_a_checkpoint_is_no_progress(filled: Any) -> None:
    filled.ledgers["flights"] = replace(filled.ledgers["flights"], checkpoint_is_due=True)
    plan = filled.plan()
    assert plan.steps
    assert said(plan.pipelines["flights"])["Progressing"] == ("False", "Idle")


def test_files_that_wait_for_their_batch_to_close_are_progress(filled: Any) -> None:
    conditions = filled.arrive("flights").plan().pipelines["flights"]
    assert said(conditions)["Progressing"] == ("True", "Collecting")
    assert message(conditions, "Progressing") == "1 file waits for batch 4 to close."


def test_a_failure_stands_in_degraded_with_its_count_and_its_next_attempt(
    filled: Any, broken: Any, wrong: Any
) -> None:
    filled.ledgers["flights"] = replace(filled.ledgers["flights"], head=4)
    (step,) = filled.plan().steps
    for failure, reason, end in (
        (broken, "Retrying", "Next attempt at 1970-01-01T00:16:41Z."),
        (wrong, "Failed", "Next attempt at 1970-01-01T00:36:40Z, or as soon as the resource changes."),
    ):
        filled.fail(step, failure)
        conditions = filled.plan().pipelines["flights"]
        assert said(conditions)["Degraded"] == ("True", reason)
        assert said(conditions)["Progressing"] == ("False", "BackingOff")
        count = filled.attempts[step.key].count
        assert message(conditions, "Degraded").endswith(f"Failed {count} ×. {end}")
    filled.apply(step)
    assert said(filled.plan().pipelines["flights"])["Degraded"] == ("False", "NothingFails")


def test_a_source_that_cannot_be_listed_degrades_until_it_can(filled: Any, broken: Any) -> None:
    before = filled.ledgers["flights"]
    filled.ledgers["flights"] = replace(before, source=FailureStreak(1, filled.now_us, broken))
    assert said(filled.plan().pipelines["flights"]) == {
        "Ready": ("False", "SourceUnavailable"),
        "Progressing": ("False", "BackingOff"),
        "SourceReachable": ("False", "Retrying"),
        "SchemaAccepted": ("True", "Accepted"),
        "QuarantineEmpty": ("True", "Empty"),
        "Degraded": ("True", "Retrying"),
    }
    filled.ledgers["flights"] = before
    assert said(filled.plan().pipelines["flights"])["Degraded"] == ("False", "NothingFails")


def test_an_online_store_that_does_not_answer_degrades_the_view(filled: Any, broken: Any) -> None:
    seen = filled.shown["delays"]
    filled.shown["delays"] = replace(seen, published={}, online=FailureStreak(1, filled.now_us, broken))
    assert said(filled.plan().views["delays"]) == {
        "Ready": ("Unknown", "OnlineUnavailable"),
        "Progressing": ("False", "BackingOff"),
        "Materialized": ("True", "UpToDate"),
        "OnlineSynced": ("Unknown", "OnlineUnavailable"),
        "QuarantineEmpty": ("True", "Empty"),
        "Degraded": ("True", "Retrying"),
    }


def test_drift_in_the_last_batch_is_named_with_rule_and_number(filled: Any) -> None:
    filled.ledgers["flights"] = replace(
        filled.ledgers["flights"],
        files_refused={"schema:missingColumn": 2, "unreadable": 1},
        rows_refused={"schema:typeChanged": 1200, "plausible": 7},
        quarantine=OpenQuarantine(3, 1207, last=True),
    )
    conditions = filled.plan().pipelines["flights"]
    assert said(conditions)["SchemaAccepted"] == ("False", "Drift")
    assert message(conditions, "SchemaAccepted") == (
        "Batch 3 refused 2 files (schema:missingColumn), 1,200 rows (schema:typeChanged), now in quarantine: "
        "`featurestore quarantine ls flights` shows them."
    )
    assert said(conditions)["Ready"] == ("True", "UpToDate")


def test_other_rules_than_those_of_the_schema_are_no_drift(filled: Any) -> None:
    there = filled.ledgers["flights"]
    filled.ledgers["flights"] = replace(there, files_refused={"unreadable": 1}, rows_refused={"plausible": 7})
    assert said(filled.plan().pipelines["flights"])["SchemaAccepted"] == ("True", "Accepted")


def test_a_schema_that_no_batch_has_met_is_unknown(world: Any, make_pipeline: Any) -> None:
    world.accept(make_pipeline())
    assert said(world.plan().pipelines["flights"])["SchemaAccepted"] == ("Unknown", "NoBatchYet")


def test_a_suspended_resource_does_not_progress_and_its_source_is_not_known(
    filled: Any, make_pipeline: Any, make_view: Any
) -> None:
    filled.accept(make_pipeline(suspend="Suspended"), make_view(suspend="Suspended")).settle()
    plan = filled.plan()
    assert said(plan.pipelines["flights"])["Progressing"] == ("False", "Suspended")
    assert said(plan.pipelines["flights"])["SourceReachable"] == ("Unknown", "Suspended")
    assert said(plan.views["delays"])["Progressing"] == ("False", "Suspended")
    assert said(plan.views["delays"])["OnlineSynced"] == ("True", "UpToDate")


def test_a_view_whose_pipeline_is_missing_says_so_and_heals_when_it_comes(
    world: Any, make_pipeline: Any, make_view: Any
) -> None:
    world.accept(make_view(source="planes"))
    plan = world.plan()
    assert plan.steps == ()
    assert said(plan.views["delays"]) == {
        "Ready": ("False", "PipelineMissing"),
        "Progressing": ("False", "PipelineMissing"),
        "Materialized": ("False", "PipelineMissing"),
        "OnlineSynced": ("Unknown", "PipelineMissing"),
        "QuarantineEmpty": ("Unknown", "PipelineMissing"),
        "Degraded": ("False", "NothingFails"),
    }
    world.accept(make_pipeline("planes"))
    assert said(world.plan().views["delays"])["Progressing"] == ("False", "WaitingForData")


@pytest.mark.parametrize("planes", ["absent", "dark", "empty"])
def test_a_pipeline_that_waits_for_what_it_looks_up_says_why(
    world: Any, make_pipeline: Any, broken: Any, planes: str
) -> None:
    world.accept(make_pipeline(transforms=[LOOKUP])).arrive("flights")
    if planes == "dark":
        world.ledgers["planes"] = FailureStreak(1, world.now_us, broken)
    elif planes == "empty":
        world.accept(make_pipeline("planes"))
    plan = world.plan(draining=True)
    reason = "PipelineMissing" if planes == "absent" else "WaitingForLookup"
    conditions = plan.pipelines["flights"]
    assert plan.steps == ()
    assert said(conditions)["Ready"] == said(conditions)["Progressing"] == ("False", reason)
    why = {"absent": "is not there.", "dark": "cannot be observed: storage", "empty": "has no dataset yet."}
    assert f"1 file waits: pipeline 'planes', which is looked up, {why[planes]}" in message(
        conditions, "Ready"
    )
    assert said(conditions)["Degraded"][0] == ("True" if planes == "dark" else "False")


def test_a_batch_of_which_nothing_was_taken_is_not_ready_and_degraded(filled: Any) -> None:
    filled.ledgers["flights"] = replace(
        filled.ledgers["flights"],
        files_refused={"schema:missingColumn": 2},
        took_nothing=True,
        quarantine=OpenQuarantine(2, 0, last=True),
    )
    conditions = filled.plan().pipelines["flights"]
    assert said(conditions)["Ready"] == ("False", "NothingTaken")
    assert said(conditions)["Degraded"] == ("True", "NothingTaken")
    assert said(conditions)["QuarantineEmpty"] == ("False", "InQuarantine")
    assert message(conditions, "Ready").startswith("Batch 3 took no row: 2 files (schema:missingColumn).")


def test_nothing_taken_counts_no_more_once_it_was_dismissed(filled: Any) -> None:
    filled.ledgers["flights"] = replace(
        filled.ledgers["flights"], took_nothing=True, files_refused={"schema:missingColumn": 2}
    )
    conditions = filled.plan().pipelines["flights"]
    assert said(conditions)["Ready"] == ("True", "UpToDate")
    assert said(conditions)["SchemaAccepted"] == ("True", "Accepted")
    assert said(conditions)["Degraded"] == ("False", "NothingFails")
