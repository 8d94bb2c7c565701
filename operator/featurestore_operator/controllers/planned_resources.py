"""One resource of which storage tells all, of any such kind, in a cluster: observe; reconcile; start a Job for what is due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from featurestore.reconcile.apply import converge
from featurestore.reconcile.reconcile import PLANNED, PlannedKind
from featurestore.reconcile.state import Desired, Observed, ObservedResource
from featurestore.registry.registry import Accepted
from featurestore.storage.objects import Storage
from featurestore.timestamps import SECOND_US
from featurestore_operator.controllers.job_applier import JobApplier
from featurestore_operator.controllers.subject import ReconcileResult, Subject
from featurestore_operator.jobs.launcher import Launcher

_ROUNDS = 4
_LATE_US = 60 * SECOND_US
"""How often one is looked at while a Job is under way for it."""


class PlannedResources:
    """Those of one kind. Remembers nothing: the state of one is a few small objects. ``observe``: what there is of it."""

    def __init__(
        self,
        kind: PlannedKind,
        observe: Callable[[Storage, Accepted[Any]], ObservedResource],
        launcher: Launcher,
        clock: Callable[[], int],
    ) -> None:
        self._kind, self._observe = kind, observe
        self._launcher, self._clock = launcher, clock

    def look(self, subject: Subject[Any]) -> ReconcileResult:
        """Look, and do what is to be done.

        Raises:
            FeatureStoreError: storage or the API server did not answer.
        """
        row, name, accepted = self._kind.row, subject.name, subject.accepted
        own = [job for job in subject.jobs if job["metadata"]["labels"].get(row.label) == name]
        records = self._launcher.records(subject.namespace, own, subject.retry)
        records = self._launcher.withdraw(subject.namespace, records, accepted.digest)
        now_us, pipeline = self._clock(), self._kind.job(accepted)
        applier = JobApplier(
            self._launcher,
            subject.store,
            subject.owner,
            records,
            lambda: pipeline,
            now_us,
            running=records.running,
        )
        observation = self._observe(subject.store.storage, accepted)

        def observe() -> Observed:
            return applier.observed({row.folder: {name: observation}})

        plan = converge(Desired({row.folder: {name: accepted}}), observe, applier, lambda: now_us, _ROUNDS)
        again_us = now_us + _LATE_US if applier.running or records.waiting else None
        self._launcher.settle(subject.namespace, records, applier.attempts if plan.failing else ())
        return ReconcileResult(
            plan.conditions[row.folder][name],
            dict(observation.facts),
            plan.failing.get(f"{row.folder}/{name}"),
            min((us for us in (plan.wake_us, again_us) if us is not None), default=None),
        )


def planned_looks(
    launcher: Launcher, clock: Callable[[], int]
) -> dict[str, Callable[[Subject[Any]], ReconcileResult]]:
    """Kind to the look at one of it, for all kinds of which storage tells all."""
    return {
        kind.row.name: PlannedResources(kind, kind.observe, launcher, clock).look
        for kind in PLANNED.values()
        if kind.observe is not None
    }
