"""docs/extending.md is true: steps of a kind that its own file plans are taken, told and run with no other file edited."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from made_up_kind import made_up_kind

from featurestore.cli.describe import describe
from featurestore.cli.get import get
from featurestore.cli.init import init
from featurestore.cli.output import OutputFormat
from featurestore.errors import SpecError
from featurestore.failure import as_failure
from featurestore.protocol import BuildRequest, JobRequest
from featurestore.reconcile.apply import apply
from featurestore.reconcile.conditions import ResourceStatus, false, record_status
from featurestore.reconcile.draft import PlanDraft
from featurestore.reconcile.reasons import Reason
from featurestore.reconcile.reconcile import PLANNED, PlannedKind, reconcile
from featurestore.reconcile.state import Desired, Observed
from featurestore.reconcile.steps import EngineStep, Plan
from featurestore.registry.project import Project, open_project
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline
from featurestore.resources.kinds import KINDS
from featurestore.retry import FailureStreak
from featurestore_operator.jobs.attempts import JobAttempt
from featurestore_operator.jobs.job_manifest import Attempt, JobContext, Owner, job
from featurestore_operator.jobs.job_outcome import Succeeded
from featurestore_operator.jobs.memory import MemoryRequest
from featurestore_operator.kube.object_key import Key

LABEL = "featurestore.dev/list"


@dataclass(frozen=True, slots=True)
class PrintList(EngineStep):
    name: str

    @property
    def subject(self) -> tuple[str, str]:
        return "list", self.name

    @property
    def key(self) -> str:
        return f"print/{self.name}"

    @property
    def description(self) -> str:
        return f"print {self.name}"

    def request(self, root: str, base: str = "/") -> BuildRequest:
        return BuildRequest(root=root, view=self.name, digest="d", to_version=1)


def plan_list(name: str, accepted: Accepted[Any], draft: PlanDraft) -> None:
    if not draft.observed.resources["lists"][name]:
        draft.add_step(PrintList(name))
    draft.conditions = (draft.unready(Reason.BUILDING, "It is to be printed."), draft.progressing())


@pytest.fixture(autouse=True)
def kind(monkeypatch: pytest.MonkeyPatch) -> PlannedKind:
    row = made_up_kind()
    object.__setattr__(row, "label", LABEL)
    monkeypatch.setitem(KINDS, row.name, row)
    kind = PlannedKind(row.model, ("Ready", "Degraded"), plan_list)
    monkeypatch.setitem(PLANNED, "lists", kind)
    return kind


def accepted(kind: PlannedKind) -> Accepted[Any]:
    given = {"metadata": {"name": "favorites"}, "spec": {"features": ["delays:flights"]}}
    return Accepted("0f", kind.model.model_validate(given))


def planned(kind: PlannedKind, *, done: bool = False) -> Plan:
    desired = Desired({"lists": {"favorites": accepted(kind)}})
    return reconcile(desired, Observed({"lists": {"favorites": done}}), 0)


def test_its_steps_are_planned_and_told(kind: PlannedKind) -> None:
    plan = planned(kind)
    assert plan.steps == (PrintList("favorites"),)
    ready, progressing = plan.conditions["lists"]["favorites"]
    assert (ready.status, progressing.message) == ("False", "Next: print favorites.")
    assert planned(kind, done=True).steps == ()


def test_one_that_cannot_be_read_is_unknown_and_fails(kind: PlannedKind) -> None:
    failure = FailureStreak(1, 0, as_failure(SpecError("it cannot be read", where="lists/favorites")))
    plan = reconcile(Desired({}, unreadable={"lists/favorites": failure}), Observed(), 0)
    ready, degraded = plan.conditions["lists"]["favorites"]
    assert (ready.status, degraded.status) == ("Unknown", "True")
    assert plan.failing == {"lists/favorites": failure}


def test_whoever_runs_steps_of_a_data_engine_runs_its(kind: PlannedKind) -> None:
    class Engine:
        def __init__(self) -> None:
            self.ran: list[EngineStep] = []

        def run(self, step: EngineStep) -> bool:
            self.ran.append(step)
            return True

    engine: Any = Engine()
    (step,) = planned(kind).steps
    assert apply(step, engine)
    assert engine.ran == [step]


def test_its_job_is_labelled_with_it_asked_what_the_step_asks_and_counted_for_it() -> None:
    step = PrintList("favorites")
    source = {"source": {"uri": "s3://raw/*.parquet", "format": "Parquet"}}
    pipeline = DataPipeline.model_validate({"metadata": {"name": "flights"}, "spec": source})
    made = job(
        step,
        Attempt(1, 0, MemoryRequest(2**30, 2**30)),
        Accepted("1e", pipeline),
        Owner("FeatureList", "favorites", "uid"),
        JobContext("prod", "s3://features", "image", "account"),
    )
    assert made["metadata"]["labels"][LABEL] == "favorites"
    assert made["metadata"]["name"].startswith("favorites-")
    _, text = made["spec"]["template"]["spec"]["containers"][0]["args"]
    asked = JobRequest.model_validate_json(text)
    assert (asked.task, asked.request) == ("print favorites", step.request("s3://features"))
    assert JobAttempt(made, Succeeded()).subject == Key("FeatureList", "prod", "favorites")


def test_the_command_line_shows_what_a_runner_recorded_of_it(tmp_path: Path, kind: PlannedKind) -> None:
    project = project_in(tmp_path)
    digest = project.registry.accept(accepted(kind).resource)
    row = PLANNED["lists"].row
    assert "NotObserved" in describe(project, row.noun, "favorites", None, 0)
    said = (false("Ready", Reason.BUILDING, "It is to be printed."),)
    record_status(
        project.storage, "lists", "favorites", ResourceStatus(observed_digest=digest, conditions=said)
    )
    assert "It is to be printed." in describe(project, row.noun, "favorites", None, 0)
    assert get(project, "lists", None, None, 0).splitlines()[1].split()[:2] == ["favorites", "False"]
    shown = json.loads(get(project, "lists", "favorites", OutputFormat.JSON, 0))
    assert [it["reason"] for it in shown["status"]["conditions"]] == ["Building"]


def project_in(folder: Path) -> Project:
    init(folder / "project")
    return open_project(folder / "project", {}, folder / "project")
