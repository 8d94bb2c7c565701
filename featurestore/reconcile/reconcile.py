"""What to do next, as a function of what is wanted, what is there, and the time.

Level-based: it looks at what is, never at what happened, so a lost event, a restart or a second runner
changes nothing. When all that is wanted is there, the plan has no step.

For a pipeline, in this order: run the batches that have a manifest, one after the other; then close the open
batch. A rebuild goes on beside that, piece by piece, and is promoted between two batches. For a view: bring the build
that serves and the build that is wanted up to the dataset, publish them, promote to the wanted one when it is complete,
and remove from the online store what nothing reads. For a training set: make a version when one is due.

It plans for the resources that are desired, all or a single one, and reads of others only what was observed of
them: of a view its source, of a pipeline those that it looks up. What is under way already is not planned again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from featurestore.reconcile.conditions import ConditionType
from featurestore.reconcile.draft import PlanDraft
from featurestore.reconcile.job_pipeline import job_pipeline
from featurestore.reconcile.pipeline import CONDITIONS as OF_PIPELINES
from featurestore.reconcile.pipeline import plan_pipeline
from featurestore.reconcile.state import Desired, Observed, ObservedResource
from featurestore.reconcile.steps import Plan, RunBatch, RunPiece, Step
from featurestore.reconcile.training_version import CONDITIONS as OF_TRAINING_SETS
from featurestore.reconcile.training_version import (
    job_of_training_set,
    observe_training_set,
    plan_training_set,
)
from featurestore.reconcile.view import CONDITIONS as OF_VIEWS
from featurestore.reconcile.view import plan_view
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline, FeatureView, Resource, TrainingSet
from featurestore.resources.kinds import ResourceKind, kind_of
from featurestore.storage.objects import Storage


@dataclass(frozen=True, slots=True)
class PlannedKind:
    """A kind of which something is made. ``conditions``: what is unknown of one that cannot be observed.

    ``plan`` fills the draft of a resource, given its name. ``observe``: what there is of one; None of a kind whose state
    is not in storage alone, which laptop and operator each observe in a file of its own. ``job``: the pipeline that its
    Jobs are made for, where ``observe`` is given.
    """

    model: type[Resource]
    conditions: tuple[ConditionType, ...]
    plan: Callable[[str, Accepted[Any], PlanDraft], None]
    observe: Callable[[Storage, Accepted[Any]], ObservedResource] | None = None
    job: Callable[[Accepted[Any]], Accepted[DataPipeline]] = job_pipeline

    @property
    def row(self) -> ResourceKind:
        return kind_of(self.model)


PLANNED: dict[str, PlannedKind] = {
    kind.row.folder: kind
    for kind in (
        PlannedKind(
            TrainingSet, OF_TRAINING_SETS, plan_training_set, observe_training_set, job_of_training_set
        ),
        PlannedKind(FeatureView, OF_VIEWS, plan_view),
        PlannedKind(DataPipeline, OF_PIPELINES, plan_pipeline),
    )
}
"""By folder, in the order in which steps are taken: what is made of something stands before it."""


def reconcile(desired: Desired, observed: Observed, now_us: int) -> Plan:
    """The steps to take now, when to look again, and the conditions of every desired resource."""
    drafts: dict[str, dict[str, PlanDraft]] = {folder: {} for folder in PLANNED}
    for folder, kind in PLANNED.items():
        for name in _lookups_first(desired) if folder == "pipelines" else desired.resources.get(folder, {}):
            draft = PlanDraft(f"{kind.row.noun}/{name}", observed, now_us, desired.draining)
            kind.plan(name, desired.resources[folder][name], draft)
            drafts[folder][name] = draft
    for key, failure in desired.unreadable.items():
        folder, _, name = key.partition("/")
        kind = PLANNED[folder]
        draft = PlanDraft(f"{kind.row.noun}/{name}", observed, now_us, desired.draining)
        draft.conditions = draft.unobserved(failure, kind.conditions)
        drafts[folder][name] = draft
    every = [draft for named in drafts.values() for draft in named.values()]
    return Plan(
        # What crashed before comes last: it may take all of its time again.
        steps=tuple(sorted((step for draft in every for step in draft.steps), key=_has_crashed)),
        wake_us=min((us for draft in every for us in draft.wakes), default=None),
        conditions={
            folder: {name: draft.conditions for name, draft in named.items()}
            for folder, named in drafts.items()
        },
        failing={
            f"{folder}/{name}": draft.failure
            for folder, named in drafts.items()
            for name, draft in named.items()
            if draft.failure is not None
        },
    )


def _has_crashed(step: Step) -> bool:
    return isinstance(step, RunBatch | RunPiece) and step.turn > 0


def _lookups_first(desired: Desired) -> list[str]:
    """Pipelines, those that others look up first: so a drain fills tables before it joins them."""
    looked_up = {name for pipeline in desired.pipelines.values() for name in pipeline.resource.spec.looked_up}
    return sorted(desired.pipelines, key=lambda name: (name not in looked_up, name))
