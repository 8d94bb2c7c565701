"""What the Jobs of a resource say about its steps: which are under way, which failed how often, what is tried next."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from featurestore.reconcile.steps import EngineStep
from featurestore.resources.kinds import KINDS
from featurestore.retry import Cause, FailureStreak, cause_of
from featurestore_operator.jobs.job_manifest import RETRY, WORK, work_digest
from featurestore_operator.jobs.job_outcome import (
    Failed,
    JobOutcome,
    Running,
    Succeeded,
    annotation,
    attempt_of,
    lost,
    step_of,
)
from featurestore_operator.kube.object_key import Key


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The work may be tried now, as attempt ``number`` after ``killed`` OOM kills in a row. ``retry``: the last request
    for one.
    """

    number: int
    killed: int
    retry: str = ""


@dataclass(frozen=True, slots=True)
class JobAttempt:
    """One Job and what became of it."""

    job: dict[str, Any]
    outcome: JobOutcome

    @property
    def name(self) -> str:
        return str(self.job["metadata"]["name"])

    @property
    def is_over(self) -> bool:
        return not isinstance(self.outcome, Running)

    @property
    def waits(self) -> bool:
        """Whether its container has not begun."""
        return isinstance(self.outcome, Running) and self.outcome.waiting

    @property
    def step(self) -> str:
        """Key of the step that it does."""
        return step_of(self.job)

    @property
    def subject(self) -> Key:
        """The resource that it works for: what is made of a pipeline stands after it in the table of kinds."""
        metadata = self.job["metadata"]
        labels = metadata["labels"]
        kind = [kind for kind in KINDS.values() if kind.label in labels][-1]
        return Key(kind.name, metadata["namespace"], labels[kind.label])

    @property
    def outcome_label(self) -> str:
        """``succeeded``, ``failed``, ``out-of-memory`` or ``running``, for metrics."""
        match self.outcome:
            case Succeeded():
                return "succeeded"
            case Failed(killed=killed):
                return "out-of-memory" if killed else "failed"
        return "running"

    @property
    def order(self) -> tuple[str, int]:
        """Later Jobs are greater."""
        return str(self.job["metadata"].get("creationTimestamp", "")), attempt_of(self.job)


def is_stuck(outcome: JobOutcome) -> TypeGuard[Running]:
    """Whether a Job waits for longer than is usual, or until somebody mends something."""
    return isinstance(outcome, Running) and (outcome.stuck or outcome.late)


class JobAttempts:
    """``records``: of all Jobs of a resource. ``retry``: what its annotation asks for; what failed before is due then.
    ``recovered_us``: when storage or the online store answered again; what failed before, for a cause that lies outside of
    the work, is due then.
    """

    def __init__(self, records: Iterable[JobAttempt], retry: str = "", recovered_us: int = 0) -> None:
        self._retry, self._recovered_us = retry, recovered_us
        self.all = sorted(records, key=lambda record: record.order)

    @property
    def attempts(self) -> dict[str, FailureStreak]:
        """Step key to its failures in a row."""
        return {
            step: self._streak(record.job, record.outcome)
            for step, record in self._newest().items()
            if isinstance(record.outcome, Failed)
        }

    @property
    def running(self) -> dict[str, str]:
        """Step key to the sentence that says what its Job does now."""
        return self._under_way(waiting=False)

    @property
    def waiting(self) -> dict[str, str]:
        """Step key to the sentence that says what its Job waits for."""
        return self._under_way(waiting=True)

    @property
    def stuck(self) -> dict[str, str]:
        """Those of ``waiting`` that wait for longer than is usual, or until somebody mends something."""
        return {record.step: record.outcome.sentence for record in self.all if is_stuck(record.outcome)}

    def without(self, left_out: Collection[JobAttempt]) -> JobAttempts:
        """The others."""
        left = (attempt for attempt in self.all if attempt not in left_out)
        return JobAttempts(left, self._retry, self._recovered_us)

    def due(self, work: EngineStep, now_us: int) -> NextAttempt | FailureStreak:
        """The next attempt at work that no Job does now; or the failure after which it is not due yet."""
        named = work_digest(work)
        exact = [record for record in self.all if annotation(record.job, WORK) == named]
        last = exact[-1] if exact else self._newest().get(work.key)
        if last is None:
            return NextAttempt(1, 0, self._retry)
        failed = last.outcome
        if isinstance(failed, Succeeded):
            if not exact:
                return NextAttempt(1, 0, self._retry)
            failed = lost(last.job, now_us)
        if not isinstance(failed, Failed):
            return NextAttempt(attempt_of(last.job), 0, self._retry)
        if self._streak(last.job, failed).next_us > now_us:
            return failed.attempt
        return NextAttempt(failed.attempt.count + 1, failed.killed, self._retry)

    def _streak(self, job: dict[str, Any], failed: Failed) -> FailureStreak:
        """The failures in a row; as of old if another attempt was asked for after them, or what they met answers again."""
        attempt = failed.attempt
        is_asked_for = bool(self._retry) and annotation(job, RETRY) != self._retry
        is_over = attempt.last_us < self._recovered_us and cause_of(attempt.failure) is Cause.OUTSIDE
        return replace(attempt, last_us=0) if is_asked_for or is_over else attempt

    def settled(self, planned: Iterable[str]) -> list[JobAttempt]:
        """Jobs that are over and no longer needed: all but the last failed one of each planned step."""
        wanted = set(planned)
        newest = self._newest()
        return [
            record
            for record in self.all
            if record.is_over
            and not (
                isinstance(record.outcome, Failed) and record.step in wanted and newest[record.step] is record
            )
        ]

    def _under_way(self, *, waiting: bool) -> dict[str, str]:
        return {
            record.step: record.outcome.sentence
            for record in self.all
            if isinstance(record.outcome, Running) and record.outcome.waiting is waiting
        }

    def _newest(self) -> dict[str, JobAttempt]:
        return {record.step: record for record in self.all}
