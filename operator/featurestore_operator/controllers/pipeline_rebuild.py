"""A pipeline's history that an annotation asks to be run again, in a cluster: begun, told of, and its Jobs read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from featurestore.arrivals.crash import is_crash
from featurestore.arrivals.isolation import Isolation
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.rebuild import Rebuild, RebuildProgress
from featurestore.arrivals.source import ArrivalSource
from featurestore.errors import Conflict, foreseen
from featurestore.failure import Failure, as_failure
from featurestore.humanize import format_time, sentence
from featurestore.rebuild.history_plan import begin, plan_history
from featurestore.reconcile.conditions import Condition, false, true
from featurestore.reconcile.reasons import Reason
from featurestore.reconcile.steps import PromoteRebuild, RunPiece
from featurestore.retry import FailureStreak
from featurestore.timestamps import SECOND_US
from featurestore.views.rebuilds import shorten
from featurestore_operator.controllers.rebuild_request import requested
from featurestore_operator.controllers.status_fields import time_of
from featurestore_operator.jobs.attempts import JobAttempt, JobAttempts
from featurestore_operator.jobs.job_manifest import REBUILD_LABEL
from featurestore_operator.jobs.job_outcome import Failed, Running, crash_trial, piece_of, turn_of

WITHOUT_GONE = "featurestore.dev/rebuild-without-gone"
AGAIN_US = 10 * SECOND_US
"""So soon is looked again when a rebuild waits for what nobody tells of."""


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What an annotation asks for. ``spec``: digest of the spec that counts now."""

    value: str
    without_gone: bool
    spec: str


@dataclass(frozen=True, slots=True)
class RefusedRebuild:
    """A request that cannot be followed now."""

    request: HistoryRequest
    streak: FailureStreak


def request_of(obj: dict[str, Any], spec: str) -> HistoryRequest:
    """What the annotations of a pipeline ask for."""
    annotations = obj["metadata"].get("annotations", {})
    return HistoryRequest(requested(obj), annotations.get(WITHOUT_GONE) == "true", spec)


def begin_rebuild(
    ledger: Ledger,
    source: ArrivalSource,
    request: HistoryRequest,
    before: RefusedRebuild | None,
    now_us: int,
) -> RefusedRebuild | None:
    """Begin what is asked for, unless it was begun before; the refusal that stands, None if none does.

    A rebuild that is refused changes nothing: the pipeline goes on, and the rebuild under way, too. ``before``: the
    refusal that stood, which is tried again in time. Where no batch was closed yet there is no history, and all that
    comes is run under this spec or a later one: the request asks for nothing then.

    Raises:
        StorageError: the storage root did not answer.
    """
    if not request.value or ledger.rebuilds.has_begun(request.value):
        return None
    if ledger.last_batch() == 0:
        ledger.rebuilds.begin_nothing(request.value)
    if ledger.committed_batch() == 0:
        return None
    if before is not None and before.request != request:
        before = None
    if before is not None and before.streak.next_us > now_us:
        return before
    try:
        plan = plan_history(ledger.storage, ledger.pipeline, now_us=now_us, source=source)
        begin(ledger.storage, plan, request=request.value, without_gone=request.without_gone)
    except Conflict:
        # Another operator was first, or the one under way is being promoted: the next look finds which.
        return None
    except Exception as error:  # noqa: BLE001 - whatever a source raises refuses the rebuild, and nothing else
        failure = as_failure(foreseen(error))
        streak = FailureStreak.after(before.streak if before else None, now_us, failure)
        return RefusedRebuild(request, streak)
    return None


def rebuilt(
    ledger: Ledger,
    request: str,
    refused: RefusedRebuild | None,
    progress: RebuildProgress | None,
    failing: FailureStreak | None,
    *,
    suspended: bool,
) -> tuple[Condition | None, dict[str, Any] | None]:
    """Whether readers find what the last rebuild made, else how far it has come; and what the status says of it.

    None if none was asked for. ``failing``: the failure of its next step that stands.

    Raises:
        StorageError: storage did not answer.
    """
    if refused is not None:
        message = f"{shorten(refused.request.value)!r} was not begun: {_explained(refused.streak)}"
        if not refused.request.without_gone:
            message += f' The annotation {WITHOUT_GONE}: "true" leaves out what is gone.'
        known = {"request": shorten(refused.request.value)}
        return false("Rebuilt", _reason(refused.streak.failure), message), known
    last = ledger.rebuilds.last()
    if request and not ledger.rebuilds.has_begun(request):
        return _waiting(ledger, request, suspended=suspended), {"request": shorten(request)}
    if last is None:
        return None, None
    promoted = ledger.rebuilds.generation() == last.number
    facts: dict[str, Any] = {
        "request": shorten(last.request),
        "requestedTime": time_of(last.created_us),
        "pieces": len(last.pieces),
        "rows": last.rows,
        "bytes": last.size_bytes,
        **({"promoted": shorten(last.request)} if promoted else {}),
    }
    asked = f"Rebuild {last.number}, asked for at {format_time(last.created_us)},"
    if promoted:
        done = {"piecesDone": len(last.pieces)}
        return true("Rebuilt", Reason.UP_TO_DATE, f"{asked} is what readers find."), facts | done
    if progress is not None:
        done = {"piecesDone": progress.pieces_done}
        return _under_way(asked, progress, failing, suspended=suspended), facts | done
    decided = ledger.rebuilds.decision(last.number)
    because = decided.because if decided is not None else ""
    return false(
        "Rebuilt", Reason.GIVEN_UP, f"{asked} was given up: {because or 'no reason was given'}."
    ), facts


def _waiting(ledger: Ledger, request: str, *, suspended: bool) -> Condition:
    if ledger.committed_batch() == 0:
        return false("Rebuilt", Reason.NO_BATCH_YET, "It is begun once the first batch is committed.")
    if suspended:
        return false("Rebuilt", Reason.SUSPENDED, "It is begun when the pipeline is active.")
    return false("Rebuilt", Reason.WAITING, f"{shorten(request)!r} waits to be begun.")


def _under_way(
    asked: str, progress: RebuildProgress, failing: FailureStreak | None, *, suspended: bool
) -> Condition:
    if suspended:
        return false(
            "Rebuilt", Reason.SUSPENDED, f"{asked} waits while the pipeline is suspended: {progress}."
        )
    if failing is not None:
        return false("Rebuilt", _reason(failing.failure), _explained(failing))
    meanwhile = "Readers find what was there before meanwhile."
    return false("Rebuilt", Reason.REBUILDING, f"{asked} is under way: {progress}. {meanwhile}")


def due_step(pipeline: str, progress: RebuildProgress | None, done: int) -> RunPiece | PromoteRebuild | None:
    """What is to be done next for a rebuild. ``done``: the last batch that is committed."""
    if progress is None:
        return None
    number = progress.rebuild.number
    if progress.due is None:
        return PromoteRebuild(pipeline, number, done)
    return RunPiece(pipeline, number, progress.due, progress.isolation.turn)


def of_rebuild(records: JobAttempts, rebuild: Rebuild | None) -> list[JobAttempt]:
    """The Jobs that work for it, the newest last."""
    if rebuild is None:
        return []
    return [
        attempt
        for attempt in records.all
        if attempt.job["metadata"]["labels"].get(REBUILD_LABEL) == str(rebuild.number)
    ]


def under_way(records: JobAttempts, step: RunPiece | PromoteRebuild | None, rebuild: Rebuild | None) -> str:
    """What is done now of a rebuild, as a sentence; "" if nothing is.

    A Job runs a whole piece, so that what is due moves on while it runs. A promotion comes between two batches.
    """
    for attempt in of_rebuild(records, rebuild):
        if isinstance(attempt.outcome, Running):
            return attempt.outcome.sentence
    if isinstance(step, PromoteRebuild):
        for attempt in records.all:
            if (
                isinstance(attempt.outcome, Running)
                and REBUILD_LABEL not in attempt.job["metadata"]["labels"]
            ):
                return attempt.outcome.sentence
    return ""


def record_crash(ledger: Ledger, records: JobAttempts, most_memory: int) -> None:
    """Record how the last Job of a piece ended, if not by itself: it decides what is attempted next.

    Raises:
        StorageError: storage did not answer.
    """
    if not any(REBUILD_LABEL in attempt.job["metadata"]["labels"] for attempt in records.all):
        return
    progress = ledger.rebuild_progress()
    if progress is None or progress.due is None:
        return
    jobs = of_rebuild(records, progress.rebuild)
    last = jobs[-1] if jobs else None
    if last is None or not isinstance(last.outcome, Failed) or not is_crash(last.outcome.attempt.failure):
        return
    isolation, began = progress.isolation, (piece_of(last.job), turn_of(last.job))
    if not _died_at(began, progress.due, isolation) or isolation.first == isolation.stop:
        return
    trial = crash_trial(last.job, last.outcome, isolation, most_memory)
    ledger.rebuilds.trials(progress.rebuild.number).append(progress.due, isolation.turn, trial)


def _died_at(began: tuple[int, int], due: int, isolation: Isolation) -> bool:
    """Whether a Job that began so died in the batch that is due: batches of its piece that passed are kept."""
    number, turn = began
    return (number, turn) == (due, isolation.turn) or (0 < number < due and isolation.turn == 0)


def _reason(failure: Failure) -> Reason:
    return Reason.RETRYING if failure.retryable else Reason.FAILED


def _explained(streak: FailureStreak) -> str:
    again = f"Next attempt at {format_time(streak.next_us)}"
    sooner = "" if streak.failure.retryable else ", or as soon as the resource changes"
    return f"{sentence(streak.failure)}. Failed {streak.count} ×. {again}{sooner}."
