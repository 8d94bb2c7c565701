"""The loop that laptop, Job and operator share: observe, reconcile, and hand each step to an applier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from featurestore.reconcile.reconcile import reconcile
from featurestore.reconcile.state import Desired, Observed
from featurestore.reconcile.steps import (
    CloseBatch,
    EngineStep,
    Plan,
    Promote,
    Retire,
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

    def run(self, step: EngineStep) -> bool:
        """Have a data engine do what the step requests."""

    def checkpoint(self, step: WriteCheckpoint) -> bool:
        """Sum up the ledger."""

    def promote(self, step: Promote) -> bool:
        """Let readers read a build."""

    def retire(self, step: Retire) -> bool:
        """Remove a build from the online store."""


def apply(step: Step, applier: Applier) -> bool:
    """Whether the step was tried."""
    match step:
        case EngineStep():
            return applier.run(step)
        case CloseBatch():
            return applier.close(step)
        case WriteCheckpoint():
            return applier.checkpoint(step)
        case Promote():
            return applier.promote(step)
        case Retire():
            return applier.retire(step)
    raise AssertionError(f"no applier does {step}")


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
