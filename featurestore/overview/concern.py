"""What needs somebody's attention, the worst first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum

from featurestore.humanize import format_time, sentence
from featurestore.overview.overview import Overview, OverviewItem
from featurestore.overview.summary import PipelineSummary, Summary, ViewSummary
from featurestore.reconcile.conditions import Condition
from featurestore.reconcile.reasons import Reason
from featurestore.resources.status import ConditionStatus


class Severity(IntEnum):
    """How bad it is: something fails; something was refused; something waits."""

    FAILING = 0
    REFUSED = 1
    WAITING = 2


@dataclass(frozen=True, slots=True)
class Concern:
    """``title``: in few words; ``message``: in a sentence. ``since_us``: 0 if that is not known."""

    item: OverviewItem
    severity: Severity
    title: str
    message: str
    since_us: int = 0


_ON_ITS_WAY = {
    *(Reason.WAITING, Reason.WAITING_FOR_DATA, Reason.WAITING_FOR_FILES, Reason.WAITING_FOR_LOOKUP),
    *(Reason.WAITING_FOR_TURN, Reason.BATCH_PENDING, Reason.NO_BATCH_YET, Reason.COLLECTING, Reason.DUE),
    *(Reason.RUNNING, Reason.ISOLATING, Reason.BUILDING, Reason.NOT_BUILT, Reason.PUBLISHING),
    *(Reason.REBUILDING, Reason.PROMOTING, Reason.SUSPENDED, Reason.NOT_OBSERVED),
}


def concerns(overview: Overview, unreadable_online: Collection[str] = ()) -> list[Concern]:
    """All of all resources. ``unreadable_online``: views that are served and could not be read online."""
    listed = [
        each for item in overview.items.values() for each in concerns_of(overview, item, unreadable_online)
    ]
    return sorted(listed, key=lambda each: each.severity)


def concerns_of(
    overview: Overview, item: OverviewItem, unreadable_online: Collection[str] = ()
) -> list[Concern]:
    """Those of one resource. What two conditions say in the same words is told once."""
    summary = item.summary
    if summary is None:
        return [Concern(item, Severity.FAILING, "Cannot be read", item.error)]
    by_message: dict[str, Concern] = {}
    if isinstance(summary, ViewSummary) and item.name in unreadable_online:
        message = "Reads of it fail here now; the log of the server says why."
        by_message[message] = Concern(item, Severity.FAILING, "Cannot be read online", message)
    for condition in _conditions(summary):
        concern = _concern(item, condition)
        if concern is not None:
            by_message.setdefault(concern.message, concern)
    if summary.status is not None and summary.status.failure is not None:
        again = summary.status.next_attempt_us
        message = sentence(summary.status.failure) + (
            f" Next attempt: {format_time(again)}." if again else ""
        )
        by_message = {text: each for text, each in by_message.items() if text not in message}
        by_message[message] = Concern(item, Severity.FAILING, "Last error", message)
    if (
        isinstance(summary, PipelineSummary | ViewSummary)
        and summary.quarantine
        and not _tells_quarantine(summary)
    ):
        message = f"{summary.quarantine} in quarantine."
        by_message[message] = Concern(item, Severity.REFUSED, "Rows or files were refused", message)
    return sorted(by_message.values(), key=lambda each: each.severity)


def mark(overview: Overview, item: OverviewItem, unreadable_online: Collection[str] = ()) -> str:
    """How a resource stands, in a word that style and text go by: of its worst concern."""
    listed = concerns_of(overview, item, unreadable_online)
    if not listed:
        return "ready"
    return _MARKS[listed[0].severity]


_MARKS = {Severity.FAILING: "failing", Severity.REFUSED: "refused", Severity.WAITING: "unknown"}


def _conditions(summary: Summary) -> list[Condition]:
    return [summary.ready, *(summary.status.problems if summary.status else ())]


def _concern(item: OverviewItem, condition: Condition) -> Concern | None:
    title = _words(condition.reason)
    if condition.type != "Ready":
        refused = condition.type == "QuarantineEmpty"
        severity = Severity.REFUSED if refused else Severity.FAILING
        return Concern(item, severity, title, condition.message, condition.since_us)
    if condition.status == ConditionStatus.TRUE:
        return None
    waits = condition.status == ConditionStatus.UNKNOWN or condition.reason in _ON_ITS_WAY
    severity = Severity.WAITING if waits else Severity.FAILING
    return Concern(item, severity, title, condition.message, condition.since_us)


def _tells_quarantine(summary: PipelineSummary | ViewSummary) -> bool:
    return any(
        problem.type == "QuarantineEmpty" for problem in (summary.status.problems if summary.status else ())
    )


def _words(reason: str) -> str:
    """A reason in words.

    >>> _words("InQuarantine")
    'In quarantine'
    """
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in reason)
    return spaced.strip().capitalize()
