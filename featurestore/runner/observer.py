"""What is wanted and what is there, read from the registry, the ledgers, the build records and the online store."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from featurestore.arrivals.backlog import Backlog
from featurestore.arrivals.isolation import Isolation
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.notifications.pending_hints import PendingHints
from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import FeatureStoreError, foreseen
from featurestore.failure import as_failure
from featurestore.online.index import OnlineIndex, open_index
from featurestore.online.versions import OnlineVersion
from featurestore.reconcile.observe import OnlineVersions, observe_pipeline, observe_view
from featurestore.reconcile.reconcile import PLANNED
from featurestore.reconcile.state import (
    Desired,
    Observed,
    ObservedPipeline,
    ObservedResource,
    ObservedView,
)
from featurestore.reconcile.steps import EngineStep
from featurestore.registry.project import Project
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline, FeatureStoreSpec, FeatureView
from featurestore.resources.data_pipeline import Resources, Suspend
from featurestore.resources.job_spec import Job
from featurestore.resources.kinds import ResourceKind
from featurestore.retry import FailureStreak
from featurestore.runner.guard import Limits, laptop_memory
from featurestore.runner.patience import Patience
from featurestore.storage.credentials import source_environ
from featurestore.storage.objects import Storage
from featurestore.views.build_trials import BuildIsolation
from featurestore.views.commit_teller import CommitTeller, Sink, sink_of

T = TypeVar("T")


class Observer:
    """Remembers of earlier looks only what saves work, and which looks failed how often."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._storage = project.storage
        self._index: tuple[FeatureStoreSpec, OnlineIndex] | None = None
        self._asked: tuple[OnlineIndex, OnlineVersions] | None = None
        self._ledgers: dict[str, Ledger] = {}
        self._backlogs: dict[str, tuple[str, Backlog]] = {}
        self._failed: dict[str, FailureStreak] = {}
        self.begun_anew: set[str] = set()
        """Pipelines that were deleted with their data and created again, as the last look found."""
        self._patience = Patience()
        self._hints = PendingHints[str]()
        self._desired = Desired({})
        self.teller = CommitTeller()
        self._sink: Sink | None = None

    def desired(self, now_us: int, *, draining: bool = False) -> Desired:
        """The resources as accepted now; those that cannot be read keep no other from being read.

        Raises:
            StorageError: storage did not answer.
        """
        registry = self._project.registry
        unreadable: dict[str, FailureStreak] = {}
        for folder, kind in PLANNED.items():
            for name, error in registry.unreadable(kind.model).items():
                unreadable[f"{folder}/{name}"] = self._failure(f"{folder}/{name}", error, now_us)
        resources = {folder: registry.all(kind.model) for folder, kind in PLANNED.items()}
        self._desired = Desired(resources, draining, unreadable)
        return self._desired

    def hint(self, hinted: Mapping[str, Iterable[str]]) -> None:
        """Have the next look at each pipeline's source look at these files, which may be new, whenever that look is made."""
        for name, uris in hinted.items():
            self._hints.add(name, uris)

    def observe(self, desired: Desired, attempts: Mapping[str, FailureStreak], now_us: int) -> Observed:
        """What is there. What cannot be observed stands there with its failure."""
        self._forget(desired)
        pipelines: dict[str, ObservedPipeline | FailureStreak] = {}
        for name, accepted in desired.pipelines.items():
            look = self._pipeline(name, accepted, now_us)
            pipelines[name] = self._try(f"pipeline/{name}", look, now_us)
        # One that cannot be read is not one that is not there.
        for key, failure in desired.unreadable.items():
            kind, _, name = key.partition("/")
            if kind == "pipelines":
                pipelines[name] = failure
        views: dict[str, ObservedView | FailureStreak] = {}
        if desired.views:
            self._sink = sink_of(
                (self._project.registry.store() or self._project.store).spec.events, os.environ
            )
        for name, view in desired.views.items():
            source = pipelines.get(view.resource.spec.source.pipeline)
            if isinstance(source, ObservedPipeline):
                views[name] = self._try(f"view/{name}", self._view(name, view, source, now_us), now_us)
        others = {
            folder: self._stored(kind.row, kind.observe, desired, now_us)
            for folder, kind in PLANNED.items()
            if kind.observe is not None
        }
        return Observed({"pipelines": pipelines, "views": views, **others}, attempts)

    def backlog(self, pipeline: str) -> Backlog | None:
        """The backlog of a pipeline that was observed."""
        _, backlog = self._backlogs.get(pipeline, ("", None))
        return backlog

    def explain_empty(self, pipeline: str) -> str:
        """Why nothing is found at a pipeline's source, in a sentence."""
        spec = self._desired.pipelines[pipeline].resource.spec
        try:
            return open_source(spec.source, str(self._project.folder), source_environ()).explain_empty()
        except FeatureStoreError as error:
            return str(error)

    def ledger(self, pipeline: str) -> Ledger:
        """The ledger of a pipeline."""
        return self._ledgers.setdefault(pipeline, Ledger(self._storage, pipeline))

    def batch_limits(self, pipeline: str, number: int, isolation: Isolation) -> Limits:
        """What the attempt at a batch may take that is due.

        Raises:
            StorageError: storage did not answer.
        """
        spec = self._desired.pipelines[pipeline].resource.spec
        limit_s = spec.job.active_deadline.total_seconds()
        limit_s = isolation.time_limit_s(limit_s, isolation.share(self.ledger(pipeline).sizes(number)))
        return Limits(laptop_memory(spec.resources, isolation.out_of_memory), limit_s)

    def build_limits(self, step: EngineStep, build_isolation: BuildIsolation) -> Limits:
        """What the attempt at a view's build may take that is due."""
        whole = self.limits(step, build_isolation.isolation.out_of_memory)
        if whole.time_s is None:
            return whole
        return Limits(
            whole.memory_bytes, build_isolation.isolation.time_limit_s(whole.time_s, build_isolation.share)
        )

    def may_grow(self, step: EngineStep, limits: Limits) -> bool:
        """Whether an attempt that this was too little for may have more memory."""
        most = self._bounds(step)[0].memory_limit
        return most is not None and limits.memory_bytes is not None and limits.memory_bytes < most

    def limits(self, step: EngineStep, out_of_memory: int = 0) -> Limits:
        """What a step may take that reads no file: as its resource says; for how long, as its Job.

        ``out_of_memory``: attempts for which it was too little.
        """
        resources, job = self._bounds(step)
        limit_s = job.active_deadline.total_seconds() if job else None
        return Limits(laptop_memory(resources, out_of_memory), limit_s)

    def _bounds(self, step: EngineStep) -> tuple[Resources, Job | None]:
        """What a step may take, and what its Job is like: of a view, that of its pipeline, while that is there."""
        subject, name = step.subject
        kind = next(planned for planned in PLANNED.values() if planned.row.noun == subject)
        accepted = self._desired.resources[kind.row.folder][name]
        spec = accepted.resource.spec
        if isinstance(accepted.resource, FeatureView):
            source = self._desired.pipelines.get(spec.source.pipeline)
            return spec.resources, source.resource.spec.job if source else None
        return spec.resources, spec.job

    def index(self) -> OnlineIndex:
        """The index of the online store of the FeatureStore as accepted now.

        Raises:
            FeatureStoreError: it cannot be opened.
        """
        store = (self._project.registry.store() or self._project.store).spec
        if self._index is None or self._index[0] != store:
            self._index = (store, open_index(self._storage, store))
        return self._index[1]

    @property
    def next_us(self) -> int | None:
        """When a source is to be looked at again, if no hint comes before."""
        looks = []
        for name, (_, backlog) in self._backlogs.items():
            failed = self._failed.get(f"pipeline/{name}")
            looks.append(backlog.next_us if failed is None else failed.next_us)
        return min(looks, default=None)

    @property
    def unsettled(self) -> bool:
        """Whether files were seen that may still be being written."""
        return any(backlog.unsettled for _, backlog in self._backlogs.values())

    def _forget(self, desired: Desired) -> None:
        """Of a pipeline that is not wanted any more nothing is remembered: it may come back as another one."""
        self.begun_anew.clear()
        for name in [name for name in self._ledgers if name not in desired.pipelines]:
            self._drop(name)

    def _drop(self, pipeline: str) -> None:
        self._ledgers.pop(pipeline, None)
        self._backlogs.pop(pipeline, None)
        self._hints.take(pipeline)

    def _try(self, key: str, look: Callable[[], T], now_us: int) -> T | FailureStreak:
        before = self._failed.get(key)
        if before is not None and now_us < before.next_us:
            return before
        try:
            observed = look()
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is told by the resource that met it
            return self._failure(key, foreseen(error), now_us)
        self._failed.pop(key, None)
        return observed

    def _failure(self, key: str, error: FeatureStoreError, now_us: int) -> FailureStreak:
        """One more failure of a look, or the one that stands until the next is due."""
        before = self._failed.get(key)
        if before is None or now_us >= before.next_us:
            before = self._failed[key] = FailureStreak.after(before, now_us, as_failure(error))
        return before

    def _stored(
        self,
        kind: ResourceKind,
        observe: Callable[[Storage, Accepted[Any]], ObservedResource],
        desired: Desired,
        now_us: int,
    ) -> dict[str, ObservedResource | FailureStreak]:
        """What there is of all of a kind of which storage tells all."""
        return {
            name: self._try(f"{kind.noun}/{name}", partial(observe, self._storage, accepted), now_us)
            for name, accepted in desired.resources.get(kind.folder, {}).items()
        }

    def _pipeline(
        self, name: str, accepted: Accepted[DataPipeline], now_us: int
    ) -> Callable[[], ObservedPipeline]:
        def look() -> ObservedPipeline:
            if not self.ledger(name).is_current():
                self.begun_anew.add(name)
                self._drop(name)
            spec = accepted.resource.spec
            digest, backlog = self._backlogs.get(name, ("", None))
            if backlog is None or digest != accepted.digest:
                # A look at the old source may still be under way, and goes on with the old ledger.
                self._ledgers.pop(name, None)
                source = open_source(spec.source, str(self._project.folder), source_environ())
                backlog = Backlog(self.ledger(name), source, spec.trigger)
                self._backlogs[name] = (accepted.digest, backlog)
            ledger = self.ledger(name)
            active = spec.suspend is Suspend.ACTIVE
            if active:
                begin = partial(self._look_at_source, name, backlog, now_us)
                self._patience.wait(f"{name}/{accepted.digest}", begin, "the source")
            return observe_pipeline(ledger, ledger.last_result(), backlog if active else None)

        return look

    def _look_at_source(self, name: str, backlog: Backlog, now_us: int) -> None:
        # Hints are taken by the look that looks at them: one that is not made, or is still under way, would lose them.
        backlog.look(now_us, self._hints.take(name))

    def _view(
        self, name: str, accepted: Accepted[FeatureView], source: ObservedPipeline, now_us: int
    ) -> Callable[[], ObservedView]:
        def held(view: str, digests: Collection[str]) -> dict[str, OnlineVersion] | FailureStreak:
            return self._try("online", lambda: self._published()(view, digests), now_us)

        def look() -> ObservedView:
            view = observe_view(self._storage, accepted, source, held)
            if self._sink is None:
                self.teller.forget(self._storage)
                return view
            delivery = self.teller.look(self._storage, self._sink, name, tuple(view.builds.values()))
            return replace(view, delivery=delivery)

        return look

    def _published(self) -> OnlineVersions:
        index = self.index()
        if self._asked is None or self._asked[0] is not index:
            self._asked = (index, OnlineVersions(self._storage, index))
        return self._asked[1]
