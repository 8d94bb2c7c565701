"""Does the steps of a plan on a laptop: those that need the data engine in a warm worker, the others here."""

from __future__ import annotations

from collections.abc import Callable

from featurestore.arrivals.crash import is_from_outside
from featurestore.arrivals.isolation import Isolation, Trial
from featurestore.arrivals.manifest import Manifest
from featurestore.arrivals.result import BatchResult, RebuildResult
from featurestore.errors import Conflict, Crash, OutOfMemory, foreseen
from featurestore.failpoint import hit
from featurestore.failure import as_failure
from featurestore.protocol import EngineResult
from featurestore.reconcile.steps import (
    BuildView,
    CloseBatch,
    EngineStep,
    Promote,
    Retire,
    RunBatch,
    RunPiece,
    Step,
    WriteCheckpoint,
)
from featurestore.registry.project import Project
from featurestore.retry import FailureStreak
from featurestore.runner.guard import Limits
from featurestore.runner.listener import Listener
from featurestore.runner.observer import Observer
from featurestore.runner.outcome import StepOutcome, failure_event, outcome_event
from featurestore.runner.worker import Worker
from featurestore.views.build_trials import BuildTrials
from featurestore.views.builds import ActiveBuild, promote

TRIES = 3
"""A drain gives up on a step that failed so often."""


class WorkerApplier:
    """Tells a listener what each step came to, and remembers which failed. ``clock``: UTC microseconds now.

    ``attempts``: key of a step to its failures in a row. ``refused``: pipeline to the files that went to quarantine.
    """

    def __init__(
        self,
        project: Project,
        observer: Observer,
        worker: Worker,
        listener: Listener,
        clock: Callable[[], int],
    ) -> None:
        self._storage, self._folder = project.storage, str(project.folder)
        self._observer = observer
        self._worker = worker
        self._listener = listener
        self._clock = clock
        self.attempts: dict[str, FailureStreak] = {}
        self.refused: dict[str, int] = {}

    def close(self, step: CloseBatch) -> bool:
        return self._try(step, lambda: self._close(step))

    def run(self, step: EngineStep) -> bool:
        return self._try(step, lambda: self._run(step))

    def checkpoint(self, step: WriteCheckpoint) -> bool:
        return self._try(step, self._observer.ledger(step.pipeline).checkpoint)

    def promote(self, step: Promote) -> bool:
        active = ActiveBuild(step.digest, step.spec_digest)
        return self._try(step, lambda: promote(self._storage, step.view, active))

    def retire(self, step: Retire) -> bool:
        return self._try(step, lambda: self._observer.index().delete(step.view, step.digest))

    def _close(self, step: CloseBatch) -> Manifest:
        backlog = self._observer.backlog(step.pipeline)
        if backlog is None:
            raise Conflict("the open batch is gone", where=step.pipeline)
        return backlog.close(step.number, step.spec_digest, self._clock(), step.lookups)

    def _run(self, step: EngineStep) -> EngineResult:
        match step:
            case RunBatch():
                return self._run_batch(step)
            case RunPiece():
                return self._run_piece(step)
            case BuildView():
                return self._run_build(step)
        return self._ask(step, self._observer.limits(step))

    def _run_batch(self, step: RunBatch) -> EngineResult:
        """Run the batch, or the part of it that is due; a crash is recorded, and decides what is attempted next."""
        ledger = self._observer.ledger(step.pipeline)
        isolation = ledger.isolation(step.number)

        def record(crash: Crash, limits: Limits) -> None:
            if isolation.turn == step.turn and isolation.first < isolation.stop:
                ledger.try_trial(step.number, step.turn, self._trial(step, isolation, crash, limits))

        return self._guarded(step, self._observer.batch_limits(step.pipeline, step.number, isolation), record)

    def _run_build(self, step: BuildView) -> EngineResult:
        """Bring the build up, or read the part of its rows that is due; a crash is recorded as that of a batch."""
        trials = BuildTrials.of(self._storage, step.view, step.digest)
        build_isolation = trials.read()

        def record(crash: Crash, limits: Limits) -> None:
            now = trials.read()
            if now.turn == step.turn and not now.is_over:
                trials.append(step.turn, self._trial(step, now.isolation, crash, limits))

        return self._guarded(step, self._observer.build_limits(step, build_isolation), record)

    def _run_piece(self, step: RunPiece) -> EngineResult:
        """Run the piece; a crash is recorded of the batch that it had come to."""
        ledger = self._observer.ledger(step.pipeline)
        at = ledger.rebuild_progress()
        if at is None or at.due is None:
            raise Conflict("this rebuild needs nothing to be run any more")

        def record(crash: Crash, limits: Limits) -> None:
            now = ledger.rebuild_progress()
            if now is None or now.due is None or now.rebuild.number != step.rebuild:
                return
            isolation = now.isolation
            # Batches that passed before it are kept: it died in the one that is due now.
            began = (now.due, isolation.turn) == (step.number, step.turn) or now.due > step.number
            if began and isolation.first < isolation.stop:
                trial = self._trial(step, isolation, crash, limits)
                ledger.rebuilds.trials(step.rebuild).append(now.due, isolation.turn, trial)

        return self._guarded(step, self._observer.batch_limits(step.pipeline, at.due, at.isolation), record)

    def _guarded(
        self, step: EngineStep, limits: Limits, record: Callable[[Crash, Limits], None]
    ) -> EngineResult:
        try:
            return self._ask(step, limits)
        except Crash as crash:
            hit("before-crash")
            record(crash, limits)
            hit("after-crash")
            raise

    def _trial(self, step: EngineStep, isolation: Isolation, crash: Crash, limits: Limits) -> Trial:
        grows = isinstance(crash, OutOfMemory) and self._observer.may_grow(step, limits)
        return Trial(
            first=isolation.first,
            stop=isolation.stop,
            ended_us=self._clock(),
            crash=as_failure(crash),
            outside=is_from_outside(as_failure(crash)),
            wants_memory=grows,
        )

    def _ask(self, step: EngineStep, limits: Limits) -> EngineResult:
        request = step.request(self._storage.root, self._folder)
        return self._worker.run(request, lambda progress: self._listener.progress(step, progress), limits)

    def _try(self, step: Step, do: Callable[[], StepOutcome]) -> bool:
        """True: whatever came of it, another look shows what is to be done next."""
        self._listener.begin(step)
        try:
            outcome = do()
        except Conflict as error:
            # Another runner was first, which is as good: no news, and no reason to wait ever longer.
            if not isinstance(step, CloseBatch):
                before = self.attempts.get(step.key)
                count = min(before.count + 1, TRIES) if before else 1
                self.attempts[step.key] = FailureStreak(count, self._clock(), as_failure(error))
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is told by the resource that met it
            before = self.attempts.get(step.key)
            attempt = FailureStreak.after(before, self._clock(), as_failure(foreseen(error)))
            self.attempts[step.key] = attempt
            self._listener.happened(failure_event(f"could not {step.description}", *step.subject, attempt))
        else:
            self.attempts.pop(step.key, None)
            if isinstance(outcome, BatchResult) and outcome.files_quarantined:
                known = self.refused.get(outcome.pipeline, 0)
                self.refused[outcome.pipeline] = known + outcome.files_quarantined
            if isinstance(outcome, RebuildResult) and outcome.open_files:
                self.refused[outcome.pipeline] = outcome.open_files
            event = outcome_event(step, outcome, self._clock())
            if event is not None:
                self._listener.happened(event)
        return True
