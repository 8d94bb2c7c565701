"""What is wanted and what is there, read from the registry, the ledgers, the build records and the online store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from featurestore import layout
from featurestore.backoff import Attempt
from featurestore.definition import build_digest
from featurestore.errors import FeatureStoreError
from featurestore.ledger import Ledger
from featurestore.observed import Desired, Observed, ObservedBuild, ObservedPipeline, ObservedView
from featurestore.online import OnlineStore, open_online
from featurestore.project import Project
from featurestore.registry import Accepted
from featurestore.resources import DataPipeline, FeatureStoreSpec, FeatureView, FeatureViewSpec
from featurestore.resources.pipeline import Suspend
from featurestore.runner.inbox import Inbox
from featurestore.runner.worker import as_failure
from featurestore.serving import Serving, read_build, read_serving

T = TypeVar("T")


class Observer:
    """Remembers of earlier looks only what saves work, and which looks failed how often."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._storage = project.storage
        self._online: tuple[FeatureStoreSpec, OnlineStore] | None = None
        self._ledgers: dict[str, Ledger] = {}
        self._inboxes: dict[str, tuple[str, Inbox]] = {}
        self._failed: dict[str, Attempt] = {}
        self._gone: dict[str, set[str]] = {}

    def desired(self, *, draining: bool = False) -> Desired:
        """The resources as accepted now.

        Raises:
            StorageError: storage did not answer.
        """
        registry = self._project.registry
        return Desired(registry.pipelines(), registry.views(), draining)

    def observe(
        self,
        desired: Desired,
        attempts: Mapping[str, Attempt],
        now_us: int,
        hinted: Mapping[str, Iterable[str]],
    ) -> Observed:
        """What is there. What cannot be observed stands there with its failure.

        ``hinted``: pipeline to files that may be new.
        """
        pipelines: dict[str, ObservedPipeline | Attempt] = {}
        for name, accepted in desired.pipelines.items():
            look = self._pipeline(name, accepted, now_us, hinted.get(name, ()))
            pipelines[name] = self._try(f"pipeline/{name}", look, now_us)
        views: dict[str, ObservedView | Attempt] = {}
        for name, view in desired.views.items():
            source = pipelines.get(view.resource.spec.source.pipeline)
            if isinstance(source, ObservedPipeline):
                views[name] = self._try(f"view/{name}", self._view(name, view, source.uid, now_us), now_us)
        return Observed(pipelines, views, attempts)

    def inbox(self, pipeline: str) -> Inbox | None:
        """The backlog of a pipeline that was observed."""
        found = self._inboxes.get(pipeline)
        return found[1] if found else None

    def ledger(self, pipeline: str) -> Ledger:
        """The ledger of a pipeline."""
        return self._ledgers.setdefault(pipeline, Ledger(self._storage, pipeline))

    def online(self) -> OnlineStore:
        """The online store of the FeatureStore as accepted now.

        Raises:
            FeatureStoreError: it cannot be opened.
        """
        store = (self._project.registry.store() or self._project.store).spec
        if self._online is None or self._online[0] != store:
            self._online = (store, open_online(self._storage, store))
        return self._online[1]

    @property
    def next_us(self) -> int | None:
        """When a source is to be looked at again, if no hint comes before."""
        return min((inbox.next_us for _, inbox in self._inboxes.values()), default=None)

    @property
    def unsettled(self) -> bool:
        """Whether files were seen that may still be being written."""
        return any(inbox.unsettled for _, inbox in self._inboxes.values())

    def _try(self, key: str, look: Callable[[], T], now_us: int) -> T | Attempt:
        before = self._failed.get(key)
        if before is not None and now_us < before.next_us:
            return before
        try:
            seen = look()
        except FeatureStoreError as error:
            failed = Attempt(before.count + 1 if before else 1, now_us, as_failure(error))
            self._failed[key] = failed
            return failed
        self._failed.pop(key, None)
        return seen

    def _pipeline(
        self, name: str, accepted: Accepted[DataPipeline], now_us: int, hinted: Iterable[str]
    ) -> Callable[[], ObservedPipeline]:
        def look() -> ObservedPipeline:
            ledger, spec = self.ledger(name), accepted.resource.spec
            digest, inbox = self._inboxes.get(name, ("", None))
            if inbox is None or digest != accepted.digest:
                inbox = Inbox(ledger, str(self._project.folder), spec)
                self._inboxes[name] = (accepted.digest, inbox)
            active = spec.suspend is Suspend.ACTIVE
            if active:
                inbox.look(now_us, hinted)
            done = ledger.done()
            result = ledger.result(done) if done else None
            return ObservedPipeline(
                uid=ledger.uid(),
                head=ledger.head(),
                done=done,
                dataset_version=result.dataset_version if result else None,
                checkpoint_is_due=active and ledger.checkpoint_is_due(),
                open=inbox.open,
                full=inbox.full,
                source=inbox.source,
                files_refused=result.files_refused if result else {},
                rows_refused=result.broken if result else {},
            )

        return look

    def _view(
        self, name: str, accepted: Accepted[FeatureView], uid: str, now_us: int
    ) -> Callable[[], ObservedView]:
        def look() -> ObservedView:
            serving = read_serving(self._storage, name)
            digests = {build_digest(accepted.resource.spec, uid)}
            spec: FeatureViewSpec | None = None
            if serving is not None:
                digests.add(serving.digest)
                spec = self._serving_spec(name, serving, accepted)
            builds: dict[str, ObservedBuild] = {}
            for digest in sorted(digests):
                build = read_build(self._storage, name, digest)
                if build is not None:
                    builds[digest] = ObservedBuild(build.source_version, build.version)
            published = self._try("online", lambda: self._published(name, digests), now_us)
            if isinstance(published, Attempt):
                return ObservedView(serving, spec, builds, {}, published)
            return ObservedView(serving, spec, builds, published)

        return look

    def _serving_spec(self, name: str, serving: Serving, accepted: Accepted[FeatureView]) -> FeatureViewSpec:
        if serving.spec_digest == accepted.digest:
            return accepted.resource.spec
        return self._project.registry.get("views", name, serving.spec_digest).spec

    def _published(self, view: str, digests: Iterable[str]) -> dict[str, int]:
        """Digest to version, of the builds of a view that the online store holds."""
        online, held = self.online(), {}
        past = (name.removesuffix(".json") for name in self._storage.names(layout.builds(view)))
        for digest in {*digests, *past} - self._gone.get(view, set()):
            version = online.version(view, digest)
            if version is not None:
                held[digest] = version
            elif digest not in digests:
                self._gone.setdefault(view, set()).add(digest)
        return held
