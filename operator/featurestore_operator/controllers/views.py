"""One FeatureView in a cluster: observe its builds and what is online; reconcile; start a Job, promote, retire."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from featurestore.arrivals.ledger import Ledger
from featurestore.errors import StorageError
from featurestore.failure import as_failure
from featurestore.online.versions import OnlineVersion
from featurestore.protocol import covered
from featurestore.reconcile.observe import observe_view
from featurestore.reconcile.reconcile import reconcile
from featurestore.reconcile.state import Desired, Observed, ObservedPipeline, ObservedView
from featurestore.reconcile.steps import BuildView, Promote, Publish, Retire
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline, FeatureView
from featurestore.resources.outputs import build_digest
from featurestore.retry import FailureStreak
from featurestore.views.builds import ActiveBuild, promote
from featurestore_operator.controllers.pipelines import Pipelines, ReconcileResult, columns, note
from featurestore_operator.controllers.status_fields import time_of
from featurestore_operator.jobs.attempts import JobAttempts, NextAttempt
from featurestore_operator.jobs.job_manifest import BATCH, Owner
from featurestore_operator.jobs.job_outcome import Running
from featurestore_operator.jobs.launcher import Launcher
from featurestore_operator.kube.api_resources import VIEW_LABEL
from featurestore_operator.namespaces.acceptance import SpecDecision, decide_view
from featurestore_operator.namespaces.open_store import OpenStore

_ROUNDS = 4


class Views:
    """Remembers only which online stores are away: a view's state is a few small objects."""

    def __init__(self, pipelines: Pipelines, launcher: Launcher, clock: Callable[[], int]) -> None:
        self._pipelines = pipelines
        self._launcher = launcher
        self._clock = clock
        self._away: dict[str, FailureStreak] = {}

    def rule(self, found: dict[str, Any], store: OpenStore) -> SpecDecision[FeatureView]:
        """Which spec runs.

        Raises:
            StorageError: storage did not answer.
        """
        return decide_view(found, store.registry, lambda name: columns(store, name))

    def look(
        self,
        found: dict[str, Any],
        accepted: Accepted[FeatureView],
        store: OpenStore,
        jobs: Collection[dict[str, Any]],
    ) -> ReconcileResult:
        """Look, and do what is to be done.

        Raises:
            FeatureStoreError: storage or the API server did not answer.
        """
        namespace, name = found["metadata"]["namespace"], found["metadata"]["name"]
        source = accepted.resource.spec.source.pipeline
        spec = store.registry.accepted_digest("pipelines", source)
        own = [it for it in jobs if it["metadata"]["labels"].get(VIEW_LABEL) == name]
        records = self._launcher.records(namespace, own)
        batches = self._launcher.records(namespace, [it for it in jobs if BATCH in it["metadata"]["labels"]])
        if spec is not None:
            records = self._launcher.withdraw(namespace, records, spec)
        attempts, running = records.attempts, records.running
        now_us = self._clock()
        there: dict[str, ObservedPipeline | FailureStreak] = {}
        if spec is not None:
            there[source] = self._pipelines.observed(namespace, source, store)
        for _ in range(_ROUNDS):
            view = self._observed(store, accepted, there.get(source))
            observed = Observed(there, {name: view} if view else {}, attempts, running, records.waiting)
            plan = reconcile(Desired({}, {name: accepted}), observed, now_us)
            # Only work that is due is left to others: a view that has all there is does not wait for the next batch.
            held = _held(view, accepted, there.get(source), batches, store) if plan.steps else {}
            if held:
                observed = replace(observed, running={**held, **running})
                plan = reconcile(Desired({}, {name: accepted}), observed, now_us)
            done = False
            for step in plan.steps:
                match step:
                    case BuildView() | Publish() if spec is not None:
                        pipeline = Accepted(spec, store.registry.get("pipelines", source, spec))
                        begun = self._start(found, step, records.due(step, now_us), pipeline, store)
                        note(step, begun, running, attempts)
                        done = True
                    case Promote(_, digest, spec_digest):
                        promote(store.storage, name, ActiveBuild(digest, spec_digest))
                        done = True
                    case Retire(_, digest):
                        store.index.delete(name, digest)
                        done = True
            if not done:
                break
        self._launcher.settle(namespace, records, attempts if plan.failing else ())
        return ReconcileResult(
            plan.views[name],
            _facts(accepted, there.get(source), view),
            plan.failing.get(f"views/{name}"),
            plan.wake_us,
        )

    def _start(
        self,
        found: dict[str, Any],
        work: BuildView | Publish,
        due: NextAttempt | FailureStreak,
        pipeline: Accepted[DataPipeline],
        store: OpenStore,
    ) -> str | FailureStreak:
        if isinstance(due, FailureStreak):
            return due
        owner = Owner("FeatureView", work.view, found["metadata"]["uid"])
        return self._launcher.start(work, due, pipeline, owner, store.place, None, 0)

    def _observed(
        self,
        store: OpenStore,
        accepted: Accepted[FeatureView],
        source: ObservedPipeline | FailureStreak | None,
    ) -> ObservedView | None:
        if not isinstance(source, ObservedPipeline):
            return None
        return observe_view(store.storage, accepted, source.uid, self._published(store))

    def _published(
        self, store: OpenStore
    ) -> Callable[[str, Collection[str]], Mapping[str, OnlineVersion] | FailureStreak]:
        """What the online store holds; one that is away is asked again after a while, by whoever looks first."""

        def ask(view: str, wanted: Collection[str]) -> Mapping[str, OnlineVersion] | FailureStreak:
            now_us, before = self._clock(), self._away.get(store.place.namespace)
            if before is not None and before.next_us > now_us:
                return before
            try:
                held = store.published(view, wanted)
            except StorageError as error:
                away = self._away[store.place.namespace] = FailureStreak.after(
                    before, now_us, as_failure(error)
                )
                return away
            self._away.pop(store.place.namespace, None)
            return held

        return ask


def _held(
    view: ObservedView | None,
    accepted: Accepted[FeatureView],
    source: ObservedPipeline | FailureStreak | None,
    batches: JobAttempts,
    store: OpenStore,
) -> dict[str, str]:
    """That a running Job of its pipeline brings the view on, as it does with every view that kept up."""
    if view is None or not isinstance(source, ObservedPipeline):
        return {}
    ledger = Ledger(store.storage, accepted.resource.spec.source.pipeline)
    digest = build_digest(accepted.resource.spec, source.uid)
    build = view.builds.get(digest)
    for record in batches.all:
        if isinstance(record.verdict, Running):
            number = int(record.job["metadata"]["labels"][BATCH])
            before = ledger.result(number - 1) if number > 1 else None
            at = build.source_version if build else None
            if covered(at, number, before.dataset_version if before else None):
                # How the Job fares its pipeline tells, which is woken by each change of it.
                return {f"view/{accepted.resource.metadata.name}": f"Job {record.name} brings it on"}
    return {}


def _facts(
    accepted: Accepted[FeatureView],
    source: ObservedPipeline | FailureStreak | None,
    view: ObservedView | None,
) -> dict[str, Any]:
    """What readers find now: of the build that serves, else of the one that is wanted."""
    if view is None or not isinstance(source, ObservedPipeline):
        return {}
    serving = view.serving.digest if view.serving else None
    digest = serving or build_digest(accepted.resource.spec, source.uid)
    build = view.builds.get(digest)
    if build is None:
        return {}
    return {
        "build": serving,
        "offlineVersion": build.version,
        "onlineVersion": view.published.get(digest),
        "rows": build.rows,
        "entities": view.entities.get(digest),
        "quarantinedRows": build.rows_quarantined,
        "watermark": time_of(build.watermark_us),
    }
