"""One FeatureView in a cluster: observe its builds and what is online; reconcile; start a Job, promote, retire."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from featurestore.arrivals.crash import is_crash
from featurestore.arrivals.ledger import Ledger
from featurestore.errors import StorageError
from featurestore.failure import as_failure
from featurestore.online.versions import OnlineVersion
from featurestore.protocol import covered
from featurestore.reconcile.apply import converge
from featurestore.reconcile.observe import observe_view
from featurestore.reconcile.reconcile import reconcile
from featurestore.reconcile.state import Desired, Observed, ObservedPipeline, ObservedView
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline, FeatureView
from featurestore.retry import FailureStreak
from featurestore.timestamps import SECOND_US
from featurestore.views.build_trials import BuildTrials
from featurestore.views.builds import read_build
from featurestore.views.rebuilds import request_rebuild
from featurestore_operator.controllers.job_applier import JobApplier
from featurestore_operator.controllers.pipelines import Pipelines
from featurestore_operator.controllers.rebuild_request import requested
from featurestore_operator.controllers.status_fields import time_of
from featurestore_operator.controllers.subject import ReconcileResult, Subject
from featurestore_operator.jobs.attempts import JobAttempts
from featurestore_operator.jobs.job_manifest import BATCH
from featurestore_operator.jobs.job_outcome import Failed, Running, crash_trial, turn_of
from featurestore_operator.jobs.launcher import Launcher
from featurestore_operator.kube.api_resources import VIEW_LABEL
from featurestore_operator.namespaces.open_store import OpenStore

_ROUNDS = 4
_LATE_US = 60 * SECOND_US
"""How often a view is looked at while a Job is under way for it."""


class Views:
    """Remembers only which online stores are unreachable: a view's state is a few small objects."""

    def __init__(self, pipelines: Pipelines, launcher: Launcher, clock: Callable[[], int]) -> None:
        self._pipelines = pipelines
        self._launcher = launcher
        self._clock = clock
        self._unreachable: dict[str, FailureStreak] = {}

    def look(self, subject: Subject[FeatureView]) -> ReconcileResult:
        """Look, and do what is to be done.

        Raises:
            FeatureStoreError: storage or the API server did not answer.
        """
        found, accepted, store = subject.obj, subject.accepted, subject.store
        namespace, name = subject.namespace, subject.name
        source = accepted.resource.spec.source.pipeline
        spec = store.registry.accepted_digest(DataPipeline, source)
        own = [it for it in subject.jobs if it["metadata"]["labels"].get(VIEW_LABEL) == name]
        records = self._launcher.records(namespace, own, subject.retry)
        batches = self._launcher.records(
            namespace, [it for it in subject.jobs if BATCH in it["metadata"]["labels"]]
        )
        if spec is not None:
            records = self._launcher.withdraw(namespace, records, spec)
        now_us = self._clock()
        if requested(found):
            request_rebuild(store.storage, name, requested(found), now_us)
        sources: dict[str, ObservedPipeline | FailureStreak] = {}
        if spec is not None:
            sources[source] = self._pipelines.observed(namespace, source, store)
            pipeline = partial(store.registry.get, DataPipeline, source, spec)
            _record_crashes(store, accepted, sources[source], records, pipeline)
        applier = JobApplier(
            self._launcher,
            store,
            subject.owner,
            records,
            None if spec is None else lambda: Accepted(spec, store.registry.get(DataPipeline, source, spec)),
            now_us,
            running=_under_way(records),
        )
        desired = Desired({"views": {name: accepted}})
        view: ObservedView | None = None

        def observe() -> Observed:
            nonlocal view
            view = self._observed(store, accepted, sources.get(source))
            observed = applier.observed({"pipelines": sources, "views": {name: view} if view else {}})
            if not reconcile(desired, observed, now_us).steps:
                return observed
            # Only work that is due is left to others: a view that has all there is does not wait for the next batch.
            covering = _covering(view, accepted, sources.get(source), batches, store)
            return replace(observed, running={**covering, **applier.running}) if covering else observed

        plan = converge(desired, observe, applier, lambda: now_us, _ROUNDS)
        # Whether what is under way is late, no change of an object tells.
        again_us = now_us + _LATE_US if applier.running or records.waiting else None
        self._launcher.settle(namespace, records, applier.attempts if plan.failing else ())
        return ReconcileResult(
            plan.views[name],
            _facts(accepted, sources.get(source), view),
            plan.failing.get(f"views/{name}"),
            min((us for us in (plan.wake_us, again_us) if us is not None), default=None),
        )

    def ask_online_again(self, namespace: str) -> None:
        """The online store answers again: do not wait any longer before it is asked."""
        self._unreachable.pop(namespace, None)

    def _observed(
        self,
        store: OpenStore,
        accepted: Accepted[FeatureView],
        source: ObservedPipeline | FailureStreak | None,
    ) -> ObservedView | None:
        if not isinstance(source, ObservedPipeline):
            return None
        return observe_view(store.storage, accepted, source, self._published(store))

    def _published(
        self, store: OpenStore
    ) -> Callable[[str, Collection[str]], Mapping[str, OnlineVersion] | FailureStreak]:
        """What the online store holds; one that is unreachable is asked again after a while, by whoever looks first."""

        def ask(view: str, wanted: Collection[str]) -> Mapping[str, OnlineVersion] | FailureStreak:
            now_us, before = self._clock(), self._unreachable.get(store.place.namespace)
            if before is not None and before.next_us > now_us:
                return before
            try:
                versions = store.published(view, wanted)
            except StorageError as error:
                failed = FailureStreak.after(before, now_us, as_failure(error))
                self._unreachable[store.place.namespace] = failed
                return failed
            self._unreachable.pop(store.place.namespace, None)
            return versions

        return ask


def _record_crashes(
    store: OpenStore,
    accepted: Accepted[FeatureView],
    source: ObservedPipeline | FailureStreak,
    records: JobAttempts,
    pipeline: Callable[[], DataPipeline],
) -> None:
    """Record how Jobs of builds that are behind crashed: it decides what is attempted next."""
    name = accepted.resource.metadata.name
    for it in records.all:
        kind, _, digest = it.step.partition(f"/{name}/")
        if kind != "build" or not isinstance(it.outcome, Failed) or not isinstance(source, ObservedPipeline):
            continue
        ended, digest = it.outcome.attempt, digest.partition("/")[0]
        if not is_crash(ended.failure):
            continue
        build = read_build(store.storage, name, digest)
        at, since_us = (build.source_version, build.finished_us) if build else (0, 0)
        trials = BuildTrials(store.storage, name, digest, at)
        found = trials.read()
        # A Job that crashed after the build was made, while it published, says nothing of rows.
        behind = source.dataset_version is not None and at < source.dataset_version
        if behind and ended.last_us > since_us and turn_of(it.job) == found.turn and not found.is_over:
            most_memory = pipeline().spec.resources.most_memory
            trials.append(found.turn, crash_trial(it.job, it.outcome, found.isolation, most_memory))


def _under_way(records: JobAttempts) -> dict[str, str]:
    """Key of a step to what its Job does. One that brings on a build also publishes it."""
    found = records.running
    for key, said in records.running.items():
        kind, view, digest, *_ = key.split("/")
        if kind == "build":
            found.setdefault(f"publish/{view}/{digest}", said)
    return found


def _covering(
    view: ObservedView | None,
    accepted: Accepted[FeatureView],
    source: ObservedPipeline | FailureStreak | None,
    batches: JobAttempts,
    store: OpenStore,
) -> dict[str, str]:
    """The running Job of its pipeline that brings the view up to date, as it does with every view that kept up."""
    if view is None or not isinstance(source, ObservedPipeline):
        return {}
    ledger = Ledger(store.storage, accepted.resource.spec.source.pipeline)
    digest = view.wanted(accepted.resource.spec, source.uid)
    build = view.builds.get(digest)
    for record in batches.all:
        if isinstance(record.outcome, Running):
            number = int(record.job["metadata"]["labels"][BATCH])
            before = ledger.result(number - 1) if number > 1 else None
            at = build.source_version if build else None
            if covered(at, number, before.dataset_version if before else None):
                # How the Job fares its pipeline tells, which is woken by each change of it.
                return {f"view/{accepted.resource.metadata.name}": f"Job {record.name} brings it on"}
    return {}


def _rebuild(
    accepted: Accepted[FeatureView], source: ObservedPipeline, view: ObservedView
) -> dict[str, Any] | None:
    if view.rebuild is None:
        return None
    serving = view.serving.digest if view.serving else None
    digest = view.wanted(accepted.resource.spec, source.uid)
    if serving is not None and view.rebuild.is_read(serving):
        digest = serving
    build = view.builds.get(digest)
    commit, rows = (build.source_version, build.rows) if build else (None, None)
    return view.rebuild.facts(digest, serving, commit, rows)


def _facts(
    accepted: Accepted[FeatureView],
    source: ObservedPipeline | FailureStreak | None,
    view: ObservedView | None,
) -> dict[str, Any]:
    """What readers find now, in the build that serves, else in the wanted one."""
    if view is None or not isinstance(source, ObservedPipeline):
        return {}
    facts = {"rebuild": _rebuild(accepted, source, view)}
    serving = view.serving.digest if view.serving else None
    digest = serving or view.wanted(accepted.resource.spec, source.uid)
    build = view.builds.get(digest)
    if build is None:
        return facts
    return {
        **facts,
        "build": serving,
        "offlineCommit": build.source_version,
        "onlineCommit": build.source_version if view.published.get(digest) == build.version else None,
        "rows": build.rows,
        "entities": view.entities.get(digest),
        "quarantinedRows": view.quarantine.rows,
        "watermark": time_of(build.watermark_us),
    }
