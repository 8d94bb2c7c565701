"""Does the steps of a plan in this process, which has the data engine."""

from __future__ import annotations

from collections.abc import Callable

from featurestore.arrivals.ledger import Ledger
from featurestore.online.index import OnlineIndex
from featurestore.protocol import Progress
from featurestore.reconcile.steps import (
    BuildView,
    CloseBatch,
    EngineStep,
    Promote,
    Publish,
    Retire,
    Step,
    WriteCheckpoint,
)
from featurestore.storage.objects import Storage
from featurestore.views.builds import ActiveBuild, BuildPartResult, promote
from featurestore_transforms.entrypoint.engine import run

Say = Callable[[str], None]


class EngineApplier:
    """Each step raises what it fails with. ``say`` is told of each, for the log.

    Of a build that is halved it reads one part: the next one is another attempt.

    ``digest``: other builds are left to others; None if none is.
    """

    def __init__(
        self,
        storage: Storage,
        index: OnlineIndex,
        say: Say,
        progress: Callable[[Progress], None],
        digest: str | None = None,
    ) -> None:
        self._storage, self._index = storage, index
        self._say, self._progress = say, progress
        self._digest = digest
        self._halved: set[str] = set()

    def is_asked(self, step: Step) -> bool:
        """Whether the step is not left to others."""
        if not isinstance(step, BuildView | Publish):
            return True
        return self._digest in (None, step.digest) and step.digest not in self._halved

    def close(self, step: CloseBatch) -> bool:
        """Left to whoever watches the source."""
        return False

    def run(self, step: EngineStep) -> bool:
        if not self.is_asked(step):
            return False
        self._say(step.description)
        result = run(self._storage, step.request(self._storage.root), self._progress)
        self._say(f"{step.subject[1]}: {result.message}")
        if isinstance(result, BuildPartResult):
            self._halved.add(result.digest)
        return True

    def checkpoint(self, step: WriteCheckpoint) -> bool:
        self._say(step.description)
        Ledger(self._storage, step.pipeline).checkpoint()
        return True

    def promote(self, step: Promote) -> bool:
        self._say(step.description)
        promote(self._storage, step.view, ActiveBuild(step.digest, step.spec_digest))
        return True

    def retire(self, step: Retire) -> bool:
        self._say(step.description)
        self._index.delete(step.view, step.digest)
        return True
