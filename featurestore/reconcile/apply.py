"""The loop that laptop, Job and operator share: observe, reconcile, and hand each step to an applier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from featurestore.reconcile.reconcile import reconcile
from featurestore.reconcile.state import Desired, Observed
from featurestore.reconcile.steps import (
    BuildView,
    CloseBatch,
    Plan,
    Promote,
    PromoteRebuild,
    Publish,
    Retire,
    RunBatch,
    RunPiece,
    Step,
    WriteCheckpoint,
)


class Applier(Protocol):
    """Does steps, or has them done: by a warm worker, in this process, or by Jobs.

    Each method returns True if the step was tried, so that another look may find more to do; False if it is left to
    somebody else. A step may be repeated; what is done already is found done.
    """

    def close(self, step: CloseBatch) -> bool:
        """Write the manifest of the open batch."""

    def run(self, step: RunBatch) -> bool:
        """Run a batch."""

    def run_piece(self, step: RunPiece) -> bool:
        """Run a piece of a rebuild."""

    def promote_rebuild(self, step: PromoteRebuild) -> bool:
        """Put what a rebuild came to in the place of history."""

    def checkpoint(self, step: WriteCheckpoint) -> bool:
        """Sum up the ledger."""

    def build(self, step: BuildView) -> bool:
        """Bring a build up to its dataset."""

    def publish(self, step: Publish) -> bool:
        """Bring the online store up to a build."""

    def promote(self, step: Promote) -> bool:
        """Let readers read a build."""

    def retire(self, step: Retire) -> bool:
        """Remove a build from the online store."""


def apply(step: Step, applier: Applier) -> bool:
    """Whether the step was tried."""
    match step:
        case CloseBatch():
            return applier.close(step)
        case RunBatch():
            return applier.run(step)
        case RunPiece():
            return applier.run_piece(step)
        case PromoteRebuild():
            return applier.promote_rebuild(step)
        case WriteCheckpoint():
            return applier.checkpoint(step)
        case BuildView():
            return applier.build(step)
        case Publish():
            return applier.publish(step)
        case Promote():
            return applier.promote(step)
        case Retire():
            return applier.retire(step)


def converge(
    desired: Desired,
    observe: Callable[[], Observed],
    applier: Applier,
    clock: Callable[[], int],
    rounds: int,
) -> Plan:
    """Observe, reconcile, apply, until no step is tried, at most ``rounds`` times; the last plan.

    ``clock``: UTC microseconds now.

    Raises:
        FeatureStoreError: what ``observe`` and ``applier`` raise.
    """
    for _ in range(rounds):
        plan = reconcile(desired, observe(), clock())
        tried = [apply(step, applier) for step in plan.steps]
        if not any(tried):
            break
    return plan
