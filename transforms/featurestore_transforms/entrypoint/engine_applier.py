"""Does the steps of a plan in this process, which has the data engine."""

from __future__ import annotations

from collections.abc import Callable

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.result import BatchResult, PartResult, PieceResult, RebuildResult
from featurestore.humanize import count
from featurestore.online.index import OnlineIndex
from featurestore.online.publish import run_publish
from featurestore.protocol import (
    BatchRequest,
    BuildRequest,
    Progress,
    PromoteRebuildRequest,
    PublishRequest,
    RebuildRequest,
)
from featurestore.reconcile.steps import (
    BuildView,
    CloseBatch,
    Promote,
    PromoteRebuild,
    Publish,
    Retire,
    RunBatch,
    RunPiece,
    Step,
    WriteCheckpoint,
    describe,
)
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore.views.builds import ActiveBuild, promote
from featurestore_transforms.batch.batch import run_batch
from featurestore_transforms.batch.promotion import promote_rebuild
from featurestore_transforms.batch.rebuilding import run_piece
from featurestore_transforms.views.build import run_build

Say = Callable[[str], None]


class EngineApplier:
    """Each step raises what it fails with. ``say`` is told of each, for the log.

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

    def is_asked(self, step: Step) -> bool:
        """Whether the step is not left to others."""
        return not isinstance(step, BuildView | Publish) or self._digest in (None, step.digest)

    def close(self, step: CloseBatch) -> bool:
        """Left to whoever watches the source."""
        return False

    def run(self, step: RunBatch) -> bool:
        run_one_batch(self._storage, step.pipeline, step.number, step.turn, self._say, self._progress)
        return True

    def run_piece(self, step: RunPiece) -> bool:
        run_one_piece(self._storage, step, self._say, self._progress)
        return True

    def promote_rebuild(self, step: PromoteRebuild) -> bool:
        promote_one_rebuild(self._storage, step, self._say)
        return True

    def checkpoint(self, step: WriteCheckpoint) -> bool:
        self._begin(step)
        Ledger(self._storage, step.pipeline).checkpoint()
        return True

    def build(self, step: BuildView) -> bool:
        if not self.is_asked(step):
            return False
        self._begin(step)
        request = BuildRequest(
            root=self._storage.root, view=step.view, digest=step.digest, to_version=step.to_version
        )
        built = run_build(self._storage, request, self._progress)
        self._say(f"{step.view} has {count(built.rows, 'row')} offline, as commit {built.source_version}")
        return True

    def publish(self, step: Publish) -> bool:
        if not self.is_asked(step):
            return False
        self._begin(step)
        request = PublishRequest(
            root=self._storage.root, view=step.view, digest=step.digest, to_version=step.to_version
        )
        published = run_publish(self._storage, request, current_us())
        self._say(f"{step.view} has {published.entities:,} entities online, as commit {step.commit}")
        return True

    def promote(self, step: Promote) -> bool:
        self._begin(step)
        promote(self._storage, step.view, ActiveBuild(step.digest, step.spec_digest))
        return True

    def retire(self, step: Retire) -> bool:
        self._begin(step)
        self._index.delete(step.view, step.digest)
        return True

    def _begin(self, step: Step) -> None:
        self._say(describe(step))


def run_one_piece(
    storage: Storage, step: RunPiece, say: Say, progress: Callable[[Progress], None]
) -> PieceResult:
    """What the piece of a rebuild came to; ``say`` is told when it begins and ends.

    Raises:
        FeatureStoreError: it failed.
    """
    say(describe(step))
    request = RebuildRequest(
        root=storage.root,
        pipeline=step.pipeline,
        rebuild=step.rebuild,
        number=step.number,
        turn=step.turn,
    )
    result = run_piece(storage, request, progress)
    say(
        f"ran batches {result.first} to {result.last} again: {count(result.rows, 'row')}, "
        f"{count(result.rows_quarantined, 'row')} and {count(result.files_quarantined, 'file')} in quarantine"
    )
    return result


def promote_one_rebuild(storage: Storage, step: PromoteRebuild, say: Say) -> RebuildResult:
    """What history is from now on; ``say`` is told.

    Raises:
        FeatureStoreError: it failed.
    """
    say(describe(step))
    request = PromoteRebuildRequest(root=storage.root, pipeline=step.pipeline, rebuild=step.rebuild)
    result = promote_rebuild(storage, request)
    say(
        f"history up to batch {result.last} is rebuild {result.rebuild}, as commit {result.dataset_version}: "
        f"{count(result.rows, 'row')}"
    )
    return result


def run_one_batch(
    storage: Storage, pipeline: str, number: int, turn: int, say: Say, progress: Callable[[Progress], None]
) -> BatchResult | PartResult:
    """What the batch became, or the part of it that was due; ``say`` is told when it begins and ends.

    Raises:
        FeatureStoreError: it failed.
    """
    say(f"runs batch {number} of {pipeline}")
    request = BatchRequest(root=storage.root, pipeline=pipeline, number=number, turn=turn)
    result = run_batch(storage, request, progress)
    if isinstance(result, PartResult):
        say(f"read files {result.first} to {result.stop - 1} of batch {result.number}, which is being halved")
        return result
    say(
        f"batch {result.number} is commit {result.dataset_version}: {count(result.rows_committed, 'row')}, "
        f"{count(result.rows_quarantined, 'row')} and {count(result.files_quarantined, 'file')} in quarantine"
    )
    return result
