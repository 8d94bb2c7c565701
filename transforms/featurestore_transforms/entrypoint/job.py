"""A Job in a cluster: one batch and the views that keep up with it, or one view alone.

Each view is brought on by the same ``reconcile`` as everywhere, until nothing is left to be done for it. A view that
fails harms no other, nor the batch: what is undone is seen by whoever looks next, and has a Job of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.result import PartResult
from featurestore.errors import FeatureStoreError, NotFound, StorageError
from featurestore.failure import as_failure
from featurestore.online.index import OnlineIndex, open_index
from featurestore.online.versions import OnlineVersion
from featurestore.protocol import (
    BatchRequest,
    BuildRequest,
    EngineResult,
    JobRequest,
    Progress,
    PublishRequest,
    covered,
)
from featurestore.reconcile.apply import converge
from featurestore.reconcile.observe import OnlineVersions, observe_pipeline, observe_view
from featurestore.reconcile.state import Desired, Observed
from featurestore.registry.registry import Accepted, Registry
from featurestore.resources import FeatureView
from featurestore.retry import FailureStreak
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore.views.builds import BuildResult, read_build, wanted_build
from featurestore_transforms.entrypoint.engine import run
from featurestore_transforms.entrypoint.engine_applier import EngineApplier, Say

_ROUNDS = 20
"""A view is done long before this: build, publish, promote, retire."""


def run_job(
    storage: Storage, request: JobRequest, say: Say, progress: Callable[[Progress], None]
) -> EngineResult | None:
    """What the batch, the rebuild or the view's build became; None for a view of a pipeline that has no dataset yet.

    ``say`` is told each step, for the log.

    Raises:
        FeatureStoreError: the batch failed; or, of a Job for one view, the view.
    """
    registry, asked = Registry(storage), request.request
    if isinstance(asked, BuildRequest | PublishRequest):
        accepted = registry.current(FeatureView, asked.view)
        if accepted is None:
            raise NotFound(f"no view {asked.view!r}", where=storage.root, hint="It was deleted meanwhile")
        return _Views(storage, registry, request.pipeline, say, progress).bring_on(accepted, asked.digest)
    say(request.task)
    result = run(storage, asked, progress)
    say(result.message)
    if not isinstance(asked, BatchRequest) or isinstance(result, PartResult):
        return result
    views = _Views(storage, registry, request.pipeline, say, progress)
    before = views.before(asked.number)
    for name, accepted in registry.all(FeatureView).items():
        if accepted.resource.spec.source.pipeline != request.pipeline:
            continue
        try:
            if covered(views.build_at(accepted), asked.number, before):
                views.bring_on(accepted)
        except FeatureStoreError as error:
            say(f"{name} is left to a Job of its own: {error}")
    return result


class _Views:
    """The views of one pipeline. Its dataset is where it is when this is made."""

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        pipeline: str,
        say: Say,
        progress: Callable[[Progress], None],
    ) -> None:
        self._storage, self._registry, self._pipeline = storage, registry, pipeline
        self._say, self._progress = say, progress
        self._ledger = Ledger(storage, pipeline)
        self._observed = observe_pipeline(self._ledger, self._ledger.last_result(), None)

    def before(self, number: int) -> int | None:
        """Version of the dataset before this batch; None if it is the first."""
        result = self._ledger.result(number - 1) if number > 1 else None
        return result.dataset_version if result else None

    def build_at(self, accepted: Accepted[FeatureView]) -> int | None:
        """Version of the dataset that the view's build holds; None while there is none."""
        build = self._build(accepted)
        return build.source_version if build else None

    def bring_on(self, accepted: Accepted[FeatureView], digest: str | None = None) -> BuildResult | None:
        """Build, publish, promote, retire, until nothing is left to be done; how far the build has come then.

        ``digest``: of the build that is meant; None for all of the view.

        Raises:
            FeatureStoreError: a step failed, or the online store did not answer.
        """
        name = accepted.resource.metadata.name
        index = self._index()
        online = _Online(OnlineVersions(self._storage, index))

        def observe() -> Observed:
            online.failure = None
            view = observe_view(self._storage, accepted, self._observed, online)
            return Observed({"pipelines": {self._pipeline: self._observed}, "views": {name: view}})

        applier = EngineApplier(self._storage, index, self._say, self._progress, digest)
        plan = converge(Desired({"views": {name: accepted}}), observe, applier, current_us, _ROUNDS)
        if any(applier.is_asked(step) for step in plan.steps):
            raise AssertionError(f"{name} does not come to rest: {plan.steps}")
        if online.failure is not None:
            raise online.failure
        return self._build(accepted)

    def _build(self, accepted: Accepted[FeatureView]) -> BuildResult | None:
        digest = wanted_build(self._storage, accepted, self._observed.uid)
        return read_build(self._storage, accepted.resource.metadata.name, digest)

    def _index(self) -> OnlineIndex:
        store = self._registry.store()
        if store is None:
            raise NotFound("there is no feature store", where=self._storage.root, got=paths.STORE)
        return open_index(self._storage, store.spec)


class _Online:
    """What the online store holds. An unreachable one does not stop views from being built for training."""

    def __init__(self, published: OnlineVersions) -> None:
        self._published = published
        self.failure: StorageError | None = None

    def __call__(self, view: str, wanted: Collection[str]) -> Mapping[str, OnlineVersion] | FailureStreak:
        try:
            return self._published(view, wanted)
        except StorageError as error:
            self.failure = error
            return FailureStreak(1, current_us(), as_failure(error))
