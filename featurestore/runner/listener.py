"""Whoever shows what the runner does: a terminal, a log, a test."""

from __future__ import annotations

from typing import Any, Protocol

from featurestore.reconcile.steps import Step
from featurestore.runner.journal import Event


class Listener(Protocol):
    """Is called in the runner's thread."""

    def begin(self, step: Step) -> None:
        """A step is being done."""

    def progress(self, step: Step, progress: dict[str, Any]) -> None:
        """How far it has come."""

    def happened(self, event: Event) -> None:
        """Something is done, or failed."""
