"""Does the steps of a plan in a cluster: those that need the data engine by Jobs, the others here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from featurestore.arrivals.backlog import Backlog
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.rebuild import RebuildProgress
from featurestore.errors import Conflict
from featurestore.reconcile.state import Observed
from featurestore.reconcile.steps import (
    BuildView,
    CloseBatch,
    EngineStep,
    Promote,
    Retire,
    RunBatch,
    RunPiece,
    WriteCheckpoint,
)
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline
from featurestore.retry import FailureStreak
from featurestore.views.build_trials import BuildTrials
from featurestore.views.builds import ActiveBuild, promote
from featurestore_operator.jobs.attempts import JobAttempts
from featurestore_operator.jobs.job_manifest import Owner
from featurestore_operator.jobs.launcher import Launcher
from featurestore_operator.jobs.memory import Learned
from featurestore_operator.jobs.turns import Queued
from featurestore_operator.namespaces.open_store import OpenStore


class JobApplier:
    """For one look at one resource, the ``owner`` of its Jobs.

    ``jobs``: of the resource. ``pipeline``: whose Jobs they are; it is read when one is started, None if there is no
    such pipeline. ``running``: key of a step to what its Job does; a Job that is started is added. ``attempts``: key
    of a step to its failures in a row, with those that are met here. ``queued``: key of a step to the sentence that
    says after whom it comes. ``backlog``: None while nothing is taken.
    """

    def __init__(
        self,
        launcher: Launcher,
        store: OpenStore,
        owner: Owner,
        jobs: JobAttempts,
        pipeline: Callable[[], Accepted[DataPipeline]] | None,
        now_us: int,
        *,
        running: Mapping[str, str],
        ledger: Ledger | None = None,
        backlog: Backlog | None = None,
        learned: Learned | None = None,
    ) -> None:
        self._launcher, self._store, self._owner = launcher, store, owner
        self._jobs, self._pipeline, self._now_us = jobs, pipeline, now_us
        self._ledger, self._backlog, self._learned = ledger, backlog, learned
        self.running = dict(running)
        self.attempts = jobs.attempts
        self.queued: dict[str, str] = {}

    def observed(self, resources: Mapping[str, Mapping[str, Any]]) -> Observed:
        """What there is, beside what is under way and what failed."""
        jobs = self._jobs
        return Observed(resources, self.attempts, self.running, jobs.waiting, self.queued, jobs.stuck)

    def close(self, step: CloseBatch) -> bool:
        """False also if another operator was first, which is just as good."""
        if self._backlog is None:
            return False
        try:
            self._backlog.close(step.number, step.spec_digest, self._now_us, step.lookups)
        except Conflict:
            return False
        return True

    def run(self, step: EngineStep) -> bool:
        match step:
            case RunBatch():
                return self._run_batch(step)
            case RunPiece():
                return self._run_piece(step)
            case BuildView():
                return self._start(step, killed=lambda: self._trials(step).read().isolation.out_of_memory)
        return self._start(step)

    def checkpoint(self, step: WriteCheckpoint) -> bool:
        if self._ledger is None:
            return False
        self._ledger.checkpoint()
        return True

    def promote(self, step: Promote) -> bool:
        promote(self._store.storage, step.view, ActiveBuild(step.digest, step.spec_digest))
        return True

    def retire(self, step: Retire) -> bool:
        self._store.index.delete(step.view, step.digest)
        return True

    def _run_batch(self, step: RunBatch) -> bool:
        if self._ledger is None:
            return False
        ledger = self._ledger
        return self._start(
            step,
            lambda: ledger.manifest(step.number).size_bytes,
            lambda: ledger.isolation(step.number).out_of_memory,
        )

    def _run_piece(self, step: RunPiece) -> bool:
        if self._ledger is None:
            return False
        progress = self._ledger.rebuild_progress()
        if progress is None or progress.due != step.number:
            return True
        return self._start(
            step, lambda: self._piece_bytes(progress, step.number), lambda: progress.isolation.out_of_memory
        )

    def _trials(self, step: BuildView) -> BuildTrials:
        return BuildTrials.of(self._store.storage, step.view, step.digest)

    def _piece_bytes(self, progress: RebuildProgress, number: int) -> int:
        """Of the largest batch that the Job may come to: they are run one after the other."""
        assert self._ledger is not None
        last = next((last for first, last in progress.rebuild.pieces if first <= number <= last), number)
        return max(self._ledger.manifest(n).size_bytes for n in range(number, last + 1))

    def _start(
        self, work: EngineStep, bytes_in: Callable[[], int] = lambda: 0, killed: Callable[[], int] = lambda: 0
    ) -> bool:
        """Have the work done by a Job, or note the failure after which it is not due yet.

        ``killed``: how often other attempts at the same ran out of memory.
        """
        if self._pipeline is None:
            return False
        begun: str | Queued | FailureStreak
        due = self._jobs.due(work, self._now_us)
        if isinstance(due, FailureStreak):
            begun = due
        else:
            due = replace(due, killed=max(due.killed, killed()))
            begun = self._launcher.start(
                work, due, self._pipeline(), self._owner, self._store.place, self._learned, bytes_in()
            )
        if isinstance(begun, FailureStreak):
            self.attempts[work.key] = begun
        elif isinstance(begun, Queued):
            self.queued[work.key] = begun.sentence
        else:
            self.running[work.key] = begun
        return True
