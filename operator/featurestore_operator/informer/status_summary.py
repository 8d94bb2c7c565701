"""What a status says in numbers: the little of an object that is asked for of all objects at once, for metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from featurestore.timestamps import SECOND_US, parse_us


class StatusSummary(NamedTuple):
    """Times are UTC seconds; None where the status does not say. ``rebuild_left``: pieces of the last rebuild."""

    ready: bool
    watermark_s: float | None = None
    rows: int | None = None
    pending_files: int | None = None
    lag: int | None = None
    oldest_pending_s: float | None = None
    backlogged: int | None = None
    batch: int | None = None
    quarantined_files: int | None = None
    quarantined_rows: int | None = None
    rebuild_left: int | None = None
    drifted: int | None = None
    inconsistent: int | None = None
    untold: int | None = None

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> StatusSummary:
        """The status of one of our resources, as the API server has it.

        >>> StatusSummary.of({"status": {"rows": 7, "watermark": "1970-01-01T00:01:00Z"}})[:3]
        (False, 60.0, 7)
        """
        status = item.get("status") or {}
        conditions = status.get("conditions") or ()
        return cls(
            any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions),
            _seconds(status.get("watermark")),
            status.get("rows"),
            status.get("pendingFiles"),
            status.get("lag"),
            _seconds(status.get("oldestPendingTime")),
            None if "pendingFiles" not in status else _told(conditions, "Backlogged", "True") or 0,
            status.get("batch"),
            status.get("quarantinedFiles"),
            status.get("quarantinedRows"),
            _left(status.get("rebuild")),
            _told(conditions, "Drifted", "True"),
            _told(conditions, "Consistent", "False"),
            _told(conditions, "EventsDelivered", "False"),
        )


def _told(conditions: Iterable[Mapping[str, Any]], kind: str, bad: str) -> int | None:
    """1 if the condition has the status that is bad, 0 if it has the other one; None where it is not known."""
    status = next((condition["status"] for condition in conditions if condition["type"] == kind), None)
    return None if status not in ("True", "False") else int(status == bad)


def _left(rebuild: Mapping[str, Any] | None) -> int | None:
    """Pieces that are to be run, and 0 only once readers find what it made."""
    if rebuild is None:
        return None
    if rebuild.get("promoted") is not None:
        return 0
    return max(1, int(rebuild.get("pieces", 1)) - int(rebuild.get("piecesDone", 0)))


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else parse_us(moment) / SECOND_US
