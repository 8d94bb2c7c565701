"""What a step came to, in one line for people."""

from __future__ import annotations

from featurestore.arrivals.manifest import Manifest
from featurestore.arrivals.result import BatchResult, PartResult, PieceResult, RebuildResult
from featurestore.humanize import count, format_time, sentence, size
from featurestore.reconcile.steps import (
    CloseBatch,
    Promote,
    PromoteRebuild,
    Publish,
    RunBatch,
    RunPiece,
    Step,
    WriteCheckpoint,
)
from featurestore.retry import FailureStreak
from featurestore.runner.journal import Event, Subject
from featurestore.views.builds import BuildResult, PublishResult

StepOutcome = (
    Manifest | BatchResult | PartResult | PieceResult | RebuildResult | BuildResult | PublishResult | None
)


def subject_of(step: Step) -> tuple[Subject, str]:
    """Which resource the step is about."""
    if isinstance(step, CloseBatch | RunBatch | RunPiece | PromoteRebuild | WriteCheckpoint):
        return "pipeline", step.pipeline
    return "view", step.view


def outcome_event(step: Step, outcome: StepOutcome, now_us: int) -> Event | None:
    """The event of a step that was done; None for what nobody needs to know."""
    match outcome:
        case Manifest():
            files = count(len(outcome.entries), "file")
            what, message = "BatchClosed", f"batch {outcome.number}: {files}, {size(outcome.size_bytes)}"
        case BatchResult():
            what = "BatchRefused" if outcome.took_nothing else "BatchCommitted"
            if outcome.caught and not outcome.took_nothing:
                what = "BatchPartlyRefused"
            message = _batch(outcome)
        case PartResult():
            files = count(outcome.stop - outcome.first, "file")
            what, message = (
                "PartRead",
                f"batch {outcome.number}, halved: {files} read, {count(outcome.rows_read, 'row')}",
            )
        case PieceResult():
            what, message = "PieceRun", _piece(outcome)
        case RebuildResult():
            refused = outcome.open_files or outcome.open_rows
            what, message = "RebuiltPartlyRefused" if refused else "Rebuilt", _rebuilt(outcome)
        case BuildResult():
            rows = count(outcome.rows, "row")
            what = "Built"
            if outcome.rows_quarantined:
                what = "BuildPartlyRefused" if outcome.rows else "BuildRefused"
            message = f"offline commit {outcome.source_version}: {rows}{_quarantined(outcome)}"
        case PublishResult() if isinstance(step, Publish):
            entities = f"{outcome.entities:,} " + ("entity" if outcome.entities == 1 else "entities")
            what = "Published" if outcome.entities else "PublishedNothing"
            message = f"online commit {step.commit}: {entities}"
        case None if isinstance(step, Promote):
            what, message = "Promoted", f"readers read build {step.digest}"
        case None:
            return None
    subject, name = subject_of(step)
    return Event(time_us=now_us, subject=subject, name=name, what=what, message=message)


def failure_event(what: str, subject: Subject, name: str, attempt: FailureStreak) -> Event:
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


def _batch(result: BatchResult) -> str:
    message = (
        f"batch {result.number} is commit {result.dataset_version}: {count(result.rows_committed, 'row')}"
    )
    if result.rows_quarantined:
        message += f", {count(result.rows_quarantined, 'row')} in quarantine"
    if result.files_quarantined:
        message += f", {count(result.files_quarantined, 'file')} in quarantine"
    if result.broken:
        worst = sorted(result.broken.items(), key=lambda item: (-item[1], item[0]))[:3]
        message += " (" + ", ".join(f"{rule} {number:,} ×" for rule, number in worst) + ")"
    if result.files_refused:
        message += (
            " (" + ", ".join(f"{rule} {n:,} ×" for rule, n in sorted(result.files_refused.items())) + ")"
        )
    if result.caught:
        message += f". See `featurestore quarantine ls {result.pipeline}`"
    return message


def _piece(result: PieceResult) -> str:
    if result.last < result.first:
        return (
            f"rebuild {result.rebuild}: batch {result.first}, halved: {count(result.rows_read, 'row')} read"
        )
    batches = f"batch {result.first}"
    if result.last > result.first:
        batches = f"batches {result.first} to {result.last}"
    message = f"rebuild {result.rebuild}: {batches} again, {count(result.rows, 'row')}"
    if result.rows_quarantined:
        message += f", {count(result.rows_quarantined, 'row')} in quarantine"
    if result.files_quarantined:
        message += f", {count(result.files_quarantined, 'file')} in quarantine"
    return message


def _rebuilt(result: RebuildResult) -> str:
    message = (
        f"rebuild {result.rebuild} is promoted, as commit {result.dataset_version}: history up to batch {result.last} "
        f"is what it came to, {count(result.rows, 'row')}. Views are built anew"
    )
    if result.open_files or result.open_rows:
        parts = [count(n, noun) for n, noun in ((result.open_files, "file"), (result.open_rows, "row")) if n]
        message += (
            f". In quarantine: {' and '.join(parts)}, see `featurestore quarantine ls {result.pipeline}`"
        )
    return message


def _quarantined(result: BuildResult) -> str:
    if not result.rows_quarantined:
        return ""
    rows = count(result.rows_quarantined, "row")
    return f", {rows} in quarantine. See `featurestore quarantine ls {result.view}`"
