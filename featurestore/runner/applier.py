"""Does the steps of a plan. Each may be repeated; what is done already is found done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from featurestore.arrivals.manifest import Manifest
from featurestore.arrivals.result import BatchResult
from featurestore.errors import Conflict
from featurestore.protocol import BatchRequest, BuildRequest, PublishRequest
from featurestore.reconcile.steps import (
    BuildView,
    CloseBatch,
    Promote,
    Publish,
    Retire,
    RunBatch,
    Step,
    WriteCheckpoint,
)
from featurestore.runner.observer import Observer
from featurestore.runner.worker import Worker
from featurestore.storage.objects import Storage
from featurestore.views.builds import ActiveBuild, BuildResult, PublishResult, promote

Outcome = Manifest | BatchResult | BuildResult | PublishResult | None
Report = Callable[[dict[str, Any]], None]


class Applier:
    """``clock``: UTC microseconds now."""

    def __init__(
        self, storage: Storage, observer: Observer, worker: Worker, clock: Callable[[], int]
    ) -> None:
        self._storage = storage
        self._observer = observer
        self._worker = worker
        self._clock = clock

    def apply(self, step: Step, progress: Report) -> Outcome:
        """What the step gave, None for those that give nothing.

        Raises:
            FeatureStoreError: it failed; ``retryable`` tells whether the same attempt can help.
        """
        root = self._storage.root
        match step:
            case CloseBatch():
                return self._close(step)
            case RunBatch(pipeline, number):
                request = BatchRequest(root=root, pipeline=pipeline, number=number)
                return self._worker.run(request, progress)
            case WriteCheckpoint(pipeline):
                self._observer.ledger(pipeline).checkpoint()
            case BuildView(view, digest, to_version):
                build = BuildRequest(root=root, view=view, digest=digest, to_version=to_version)
                return self._worker.run(build, progress)
            case Publish(view, digest, to_version):
                publish = PublishRequest(root=root, view=view, digest=digest, to_version=to_version)
                return self._worker.run(publish, progress)
            case Promote(view, digest, spec_digest):
                promote(self._storage, view, ActiveBuild(digest, spec_digest))
            case Retire(view, digest):
                self._observer.index().delete(view, digest)
        return None

    def _close(self, step: CloseBatch) -> Manifest:
        inbox = self._observer.inbox(step.pipeline)
        if inbox is None:
            raise Conflict("the open batch is gone", where=step.pipeline)
        return inbox.close(step.number, step.spec_digest, self._clock(), step.lookups)
