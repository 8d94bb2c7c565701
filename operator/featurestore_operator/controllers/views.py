"""One FeatureView in a cluster: observe its builds and what is online; reconcile; start a Job, promote, retire."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
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
from featurestore.views.commit_teller import CommitTeller
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
    """Remembers only which online stores are unreachable: a view's state is a few small objects.

    ``wake``: has a view, by its namespace and name, looked at again.
    """

    def __init__(
        self,
        pipelines: Pipelines,
        launcher: Launcher,
        clock: Callable[[], int],
        wake: Callable[[str, str], None],
    ) -> None:
        self._pipelines = pipelines
        self._launcher = launcher
        self._clock = clock
        self._unreachable: dict[str, FailureStreak] = {}
        self._teller = CommitTeller(wake)

    def look(self, subject: Subject[FeatureView]) -> ReconcileResult:
        """Look, and do what is to be done.

        Raises:
            FeatureStoreError: storage or the API server did not answer.
        """
        accepted, store = subject.accepted, subject.store
        namespace, name = subject.namespace, subject.name
        source = accepted.resource.spec.source.pipeline
        spec = store.registry.accepted_digest(DataPipeline, source)
        own = [job for job in subject.jobs if job["metadata"]["labels"].get(VIEW_LABEL) == name]
        of_batches = [job for job in subject.jobs if BATCH in job["metadata"]["labels"]]
        attempts = self._launcher.records(namespace, own, subject.retry)
        batches = self._launcher.records(namespace, of_batches)
        if spec is not None:
            attempts = self._launcher.withdraw(namespace, attempts, spec)
        now_us = self._clock()
        rebuild = requested(subject.obj)
        if rebuild:
            request_rebuild(store.storage, name, rebuild, now_us)
        sources: dict[str, ObservedPipeline | FailureStreak] = {}
        if spec is not None:
            sources[source] = self._pipelines.observed(namespace, source, store)
            pipeline = partial(store.registry.get, DataPipeline, source, spec)
            _record_crashes(store, accepted, sources[source], attempts, pipeline)
        applier = JobApplier(
            self._launcher,
            store,
            subject.owner,
            attempts,
            None if spec is None else lambda: Accepted(spec, store.registry.get(DataPipeline, source, spec)),
            now_us,
            running=_under_way(attempts),
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
            under_way = list(_under_way_batches(batches))
            if worker := self._launcher.workers.under_way(namespace, source):
                under_way.append(worker)
            covering = _covering(view, accepted, sources.get(source), under_way, store)
            return replace(observed, running={**covering, **applier.running}) if covering else observed

        plan = converge(desired, observe, applier, lambda: now_us, _ROUNDS)
        # Whether what is under way is late, no change of an object tells.
        again_us = now_us + _LATE_US if applier.running or attempts.waiting else None
        self._launcher.settle(namespace, attempts, applier.attempts if plan.failing else ())
        return ReconcileResult(
            plan.views[name],
            _facts(accepted, sources.get(source), view),
            plan.failing.get(f"views/{name}"),
            min((us for us in (plan.wake_us, again_us) if us is not None), default=None),
            online_version=view.published.get(view.serving.digest) if view and view.serving else None,
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
        view = observe_view(store.storage, accepted, source, self._published(store))
        if store.sink is None:
            self._teller.forget(store.storage)
            return view
        name, builds = accepted.resource.metadata.name, tuple(view.builds.values())
        delivery = self._teller.look(store.storage, store.sink, name, builds, store.place.namespace)
        return replace(view, delivery=delivery)

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
    attempts: JobAttempts,
    pipeline: Callable[[], DataPipeline],
) -> None:
    """Record how Jobs of builds that are behind crashed: it decides what is attempted next."""
    name = accepted.resource.metadata.name
    for attempt in attempts.all:
        kind, _, rest = attempt.step.partition(f"/{name}/")
        outcome = attempt.outcome
        if kind != "build" or not isinstance(outcome, Failed) or not isinstance(source, ObservedPipeline):
            continue
        if not is_crash(outcome.attempt.failure):
            continue
        digest = rest.partition("/")[0]
        build = read_build(store.storage, name, digest)
        version, finished_us = (build.source_version, build.finished_us) if build else (0, 0)
        trials = BuildTrials(store.storage, name, digest, version)
        due = trials.read()
        # A Job that crashed after the build was made, while it published, says nothing of rows.
        is_behind = source.dataset_version is not None and version < source.dataset_version
        is_later = outcome.attempt.last_us > finished_us
        if is_behind and is_later and turn_of(attempt.job) == due.turn and not due.is_over:
            most_memory = pipeline().spec.resources.most_memory
            trials.append(due.turn, crash_trial(attempt.job, outcome, due.isolation, most_memory))


def _under_way(attempts: JobAttempts) -> dict[str, str]:
    """Key of a step to what its Job does. One that brings on a build also publishes it."""
    sentences = attempts.running
    for key, sentence in attempts.running.items():
        kind, view, digest, *_ = key.split("/")
        if kind == "build":
            sentences.setdefault(f"publish/{view}/{digest}", sentence)
    return sentences


def _under_way_batches(attempts: JobAttempts) -> Iterator[tuple[int, str]]:
    """Numbers of the batches that Jobs run, and the Jobs."""
    for attempt in attempts.all:
        if isinstance(attempt.outcome, Running):
            yield int(attempt.job["metadata"]["labels"][BATCH]), f"Job {attempt.name}"


def _covering(
    view: ObservedView | None,
    accepted: Accepted[FeatureView],
    source: ObservedPipeline | FailureStreak | None,
    batches: Iterable[tuple[int, str]],
    store: OpenStore,
) -> dict[str, str]:
    """What brings the view up to date among the ``batches`` that run now, as each does with every view that kept up."""
    if view is None or not isinstance(source, ObservedPipeline):
        return {}
    ledger = Ledger(store.storage, accepted.resource.spec.source.pipeline)
    digest = view.wanted(accepted.resource.spec, source.uid)
    build = view.builds.get(digest)
    for number, who in batches:
        before = ledger.result(number - 1) if number > 1 else None
        version = build.source_version if build else None
        if covered(version, number, before.dataset_version if before else None):
            # How it fares its pipeline tells, which is woken by each change of it.
            return {f"view/{accepted.resource.metadata.name}": f"{who} also brings it up to date"}
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
