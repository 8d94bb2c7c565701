"""What to do next, as a function of what is wanted, what is there, and the time.

Level-based: it looks at what is, never at what happened, so a lost event, a restart or a second runner
changes nothing. When all that is wanted is there, the plan has no step.

For a pipeline, in this order: run the batches that have a manifest, one after the other; then close the open
batch. A rebuild goes on beside that, piece by piece, and is promoted between two batches. For a view: bring the build
that serves and the build that is wanted up to the dataset, publish them, promote to the wanted one when it is complete,
and remove from the online store what nothing reads.

It plans for the resources that are desired, all or a single one, and reads of others only what was observed of
them: of a view its source, of a pipeline those that it looks up. What is under way already is not planned again.
"""

from __future__ import annotations

from featurestore.reconcile.draft import PlanDraft
from featurestore.reconcile.pipeline import CONDITIONS as OF_PIPELINES
from featurestore.reconcile.pipeline import plan_pipeline
from featurestore.reconcile.state import Desired, Observed
from featurestore.reconcile.steps import Plan, RunBatch, RunPiece, Step
from featurestore.reconcile.view import CONDITIONS as OF_VIEWS
from featurestore.reconcile.view import plan_view


def reconcile(desired: Desired, observed: Observed, now_us: int) -> Plan:
    """The steps to take now, when to look again, and the conditions of every desired resource."""
    pipelines = {name: PlanDraft(f"pipeline/{name}", observed, now_us) for name in desired.pipelines}
    views = {name: PlanDraft(f"view/{name}", observed, now_us) for name in desired.views}
    for name, part in pipelines.items():
        plan_pipeline(name, desired.pipelines[name], part, draining=desired.draining)
    for name, part in views.items():
        plan_view(name, desired.views[name], part)
    for key, failure in desired.unreadable.items():
        kind, _, name = key.partition("/")
        drafts, conditions = (pipelines, OF_PIPELINES) if kind == "pipelines" else (views, OF_VIEWS)
        drafts[name] = part = PlanDraft(f"{kind.removesuffix('s')}/{name}", observed, now_us)
        part.conditions = part.unobserved(failure, conditions)
    every = [*views.values(), *(pipelines[name] for name in _lookups_first(desired))]
    return Plan(
        # What crashed before comes last: it may take all of its time again.
        steps=tuple(sorted((step for part in every for step in part.steps), key=_has_crashed)),
        wake_us=min(
            (us for part in (*pipelines.values(), *views.values()) for us in part.wakes), default=None
        ),
        pipelines={name: part.conditions for name, part in pipelines.items()},
        views={name: part.conditions for name, part in views.items()},
        failing={
            f"{kind}/{name}": part.failure
            for kind, named in (("pipelines", pipelines), ("views", views))
            for name, part in named.items()
            if part.failure is not None
        },
    )


def _has_crashed(step: Step) -> bool:
    return isinstance(step, RunBatch | RunPiece) and step.turn > 0


def _lookups_first(desired: Desired) -> list[str]:
    """Pipelines, those that others look up first: so a drain fills tables before it joins them."""
    looked_up = {name for it in desired.pipelines.values() for name in it.resource.spec.looked_up}
    return sorted(desired.pipelines, key=lambda name: (name not in looked_up, name))
