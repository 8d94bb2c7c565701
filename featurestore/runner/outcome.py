"""What a step came to, in one line for people."""

from __future__ import annotations

from featurestore.arrivals.manifest import Manifest
from featurestore.humanize import count, format_time, sentence, size
from featurestore.protocol import EngineResult
from featurestore.reconcile.steps import Promote, Step
from featurestore.retry import FailureStreak
from featurestore.runner.journal import Event

StepOutcome = Manifest | EngineResult | None


def outcome_event(step: Step, outcome: StepOutcome, now_us: int) -> Event | None:
    """The event of a step that was done; None for what nobody needs to know."""
    match outcome:
        case Manifest():
            files = count(len(outcome.entries), "file")
            what, message = "BatchClosed", f"batch {outcome.number}: {files}, {size(outcome.size_bytes)}"
        case None if isinstance(step, Promote):
            what, message = "Promoted", f"readers read build {step.digest}"
        case None:
            return None
        case _:
            what, message = outcome.what, outcome.message
    subject, name = step.subject
    return Event(time_us=now_us, subject=subject, name=name, what=what, message=message)


def failure_event(what: str, subject: str, name: str, attempt: FailureStreak) -> Event:
    """The event of something that failed, with the time of the next attempt."""
    message = f"{what}: {sentence(attempt.failure)}. Next attempt at {format_time(attempt.next_us)}"
    return Event(
        time_us=attempt.last_us,
        subject=subject,
        name=name,
        what="Failed",
        message=message,
        failure=attempt.failure,
    )
