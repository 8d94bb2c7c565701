"""The plan of one resource while it is being made: its steps, what stands in their way, what is under way."""

from __future__ import annotations

from dataclasses import dataclass, field

from featurestore.humanize import format_time, sentence
from featurestore.reconcile.conditions import Condition, ConditionType, false, true, unknown
from featurestore.reconcile.reasons import Reason
from featurestore.reconcile.state import Observed
from featurestore.reconcile.steps import RunPiece, Step, WriteCheckpoint
from featurestore.retry import FailureStreak
from featurestore.timestamps import SECOND_US

LATE_US = 600 * SECOND_US
"""What is read is whole, and late after so long without what is due."""
Explanation = tuple[Reason, str]
"""A reason and a message."""

NOT_SEEN: Explanation = (Reason.NOT_OBSERVED, "Not looked at yet.")


@dataclass
class PlanDraft:
    """``subject``: ``pipeline/<name>`` or ``view/<name>``; under that key all its steps may be under way at once.

    ``blocked``: why nothing is to be done although something is not there yet; None if all is there.
    """

    subject: str
    observed: Observed
    now_us: int
    draining: bool = False
    steps: list[Step] = field(default_factory=list)
    wakes: list[int] = field(default_factory=list)
    conditions: tuple[Condition, ...] = ()
    blocked: Condition | None = None
    failing: FailureStreak | None = None
    observe_failure: FailureStreak | None = None
    _failing_key: str = ""
    _delayed: FailureStreak | None = None
    _running: list[str] = field(default_factory=list)
    _waiting: list[str] = field(default_factory=list)
    _queued: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.is_under_way(self.subject)

    def is_under_way(self, key: str) -> bool:
        """Whether somebody does the step already; then ``Progressing`` says who."""
        matches = False
        for under_way, messages in (
            (self.observed.running, self._running),
            (self.observed.waiting, self._waiting),
        ):
            for message in (under_way[each] for each in (key, self.subject) if each in under_way):
                matches = True
                if message not in messages:
                    messages.append(message)
        return matches

    def add_step(self, step: Step, failed: FailureStreak | None = None) -> bool:
        """Plan the step, unless it is under way, or failed and its next attempt is not due; then False.

        ``failed``: what storage knows of its failures.
        """
        attempt = self.observed.attempts.get(step.key, failed)
        if attempt is not None:
            self.failing, self._failing_key = attempt, step.key
        if self.is_under_way(step.key):
            return False
        if step.key in self.observed.queued:
            self._queued.append(f"Next: {step.description}, which {self.observed.queued[step.key]}.")
            return False
        if attempt is not None and attempt.next_us > self.now_us:
            self.wakes.append(attempt.next_us)
            self._delayed = attempt
            return False
        self.steps.append(step)
        return True

    def add_piece(self, step: RunPiece, failed: FailureStreak | None) -> bool:
        """As :meth:`add_step`; a failure of what stands in nobody's way is told only if nothing else fails."""
        before = self.failing, self._failing_key
        added = self.add_step(step, failed)
        if before[0] is not None:
            self.failing, self._failing_key = before
        return added

    def note_failed_look(self, attempt: FailureStreak) -> Explanation:
        """Note that a look failed; reason and message."""
        self.observe_failure = attempt
        self.wakes.append(attempt.next_us)
        return self.explain(attempt)

    @property
    def failure(self) -> FailureStreak | None:
        """The failure that stands, of a step or of a look."""
        return self.failing or self.observe_failure

    def explain(self, attempt: FailureStreak, key: str = "") -> Explanation:
        """Reason and message of a failure that stands; ``key``: of the step that met it."""
        failure = f"{sentence(attempt.failure)}. Failed {attempt.count} ×."
        reason = Reason.RETRYING if attempt.failure.retryable else Reason.FAILED
        if key and self.is_under_way(key):
            return reason, f"{failure} It is being tried again."
        again = f"Next attempt at {format_time(attempt.next_us)}"
        return reason, f"{failure} {again}{'' if attempt.failure.retryable else _OR_SOONER}."

    def unready(self, reason: Reason, message: str) -> Condition:
        """``Ready`` is false: for this reason, or for the failure that stands."""
        if self.failing is None:
            return false("Ready", reason, message)
        return false("Ready", *self.explain(self.failing, self._failing_key))

    def unstarted(self) -> Condition | None:
        """``Ready`` is false: Jobs of the only resource that is looked at cannot start. None if there are none."""
        stuck = " ".join(f"{waiting}." for waiting in self.observed.stuck.values())
        return self.unready(Reason.CANNOT_START, stuck) if stuck else None

    def pending(self, reason: Reason, message: str, since_us: int | None) -> Condition:
        """``Ready`` while something is to be done for what is read already: true, unless it fails or is late.

        ``since_us``: when it became due; None if nothing is read yet.
        """
        if self.failing is not None or since_us is None:
            return self.unready(reason, message)
        if self.now_us - since_us > LATE_US:
            return false("Ready", reason, f"{message} It is due since {format_time(since_us)}.")
        return true("Ready", reason, message)

    def progressing(self) -> Condition:
        """Whether work is under way or due."""
        if self._running:
            return true("Progressing", Reason.RUNNING, " ".join(self._running))
        if self._waiting:
            return true("Progressing", Reason.WAITING, " ".join(self._waiting))
        if self._queued:
            return true("Progressing", Reason.WAITING_FOR_TURN, " ".join(self._queued))
        due = [step.description for step in self.steps if not isinstance(step, WriteCheckpoint)]
        if due:
            return true("Progressing", Reason.DUE, f"Next: {', then '.join(due)}.")
        if self._delayed is None and self.blocked is not None:
            return self.blocked
        failed = self._delayed or self.observe_failure
        if failed is not None:
            again = format_time(failed.next_us)
            return false("Progressing", Reason.BACKING_OFF, f"What failed is tried again at {again}.")
        return false("Progressing", Reason.IDLE, "Nothing is to be done.")

    def degraded(self) -> Condition:
        """Whether a failure stands."""
        if self.failing is not None:
            return true("Degraded", *self.explain(self.failing, self._failing_key))
        if self.observe_failure is not None:
            return true("Degraded", *self.explain(self.observe_failure))
        return false("Degraded", Reason.NOTHING_FAILS, "Nothing fails.")

    def unobserved(
        self, attempt: FailureStreak | None, kinds: tuple[ConditionType, ...]
    ) -> tuple[Condition, ...]:
        """A failed look is never read as "nothing there": nothing is done until a look succeeds."""
        message = NOT_SEEN[1] if attempt is None else self.note_failed_look(attempt)[1]
        return tuple(
            self.degraded()
            if kind == "Degraded" and attempt is not None
            else unknown(kind, Reason.NOT_OBSERVED, message)
            for kind in kinds
        )


_OR_SOONER = ", or as soon as the resource changes"
