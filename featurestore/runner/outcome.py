"""What a step came to, in one line for people."""

from __future__ import annotations

from featurestore.arrivals.manifest import Manifest
from featurestore.arrivals.result import BatchResult
from featurestore.humanize import count, size
from featurestore.reconcile.steps import CloseBatch, Promote, RunBatch, Step, WriteCheckpoint
from featurestore.runner.applier import Outcome
from featurestore.runner.journal import Event, Subject
from featurestore.views.builds import BuildResult, PublishResult


def subject_of(step: Step) -> tuple[Subject, str]:
    """Which resource the step is about."""
    if isinstance(step, CloseBatch | RunBatch | WriteCheckpoint):
        return "pipeline", step.pipeline
    return "view", step.view


def outcome_event(step: Step, outcome: Outcome, now_us: int) -> Event | None:
    """The event of a step that was done; None for what nobody needs to know."""
    match outcome:
        case Manifest():
            size_bytes = sum(entry.arrival.size_bytes for entry in outcome.entries)
            files = count(len(outcome.entries), "file")
            what, message = "BatchClosed", f"batch {outcome.number}: {files}, {size(size_bytes)}"
        case BatchResult():
            what, message = "BatchCommitted", _batch(outcome)
        case BuildResult():
            rows = count(outcome.rows, "row")
            what, message = "Built", f"offline commit {outcome.version}: {rows}{_quarantined(outcome)}"
        case PublishResult():
            entities = f"{outcome.entities:,} " + ("entity" if outcome.entities == 1 else "entities")
            what, message = "Published", f"online commit {outcome.version}: {entities}"
        case None if isinstance(step, Promote):
            what, message = "Promoted", f"readers read build {step.digest}"
        case None:
            return None
    subject, name = subject_of(step)
    return Event(time_us=now_us, subject=subject, name=name, what=what, message=message)


def _batch(result: BatchResult) -> str:
    said = f"batch {result.number} is commit {result.dataset_version}: {count(result.rows_committed, 'row')}"
    if result.rows_quarantined:
        said += f", {count(result.rows_quarantined, 'row')} in quarantine"
    if result.files_quarantined:
        said += f", {count(result.files_quarantined, 'file')} in quarantine"
    if result.broken:
        worst = sorted(result.broken.items(), key=lambda item: (-item[1], item[0]))[:3]
        said += " (" + ", ".join(f"{rule} {number:,} ×" for rule, number in worst) + ")"
    return said


def _quarantined(result: BuildResult) -> str:
    return f", {count(result.rows_quarantined, 'row')} in quarantine" if result.rows_quarantined else ""
