"""The conditions of a resource, and which of them need attention."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
_BAD_WHEN_TRUE = frozenset({"Degraded", "Drifted"})
_TOLD_BY_READY = frozenset({"Progressing", "Stalled"})
CALM = frozenset(
    {
        *("WaitingForFiles", "Collecting", "BatchPending", "Suspended", "WaitingForTurn"),
        *("WaitingForData", "Building", "NotBuilt", "Publishing", "Promoting", "NotWanted", "NoBatchYet"),
        *("Starting", "Rolling", "Erasing"),
    }
)
"""Reasons for not being so that need no attention: work is under way, or nothing has come yet."""


def conditions(resource: Object) -> list[Object]:
    """All of them, as the API server has them."""
    listed: list[Object] = (resource.get("status") or {}).get("conditions") or []
    return listed


def condition(resource: Object, kind: str) -> Object:
    """The condition of a type; {} if the resource does not tell."""
    return next((stated for stated in conditions(resource) if stated["type"] == kind), {})


def is_observed(resource: Object) -> bool:
    """Whether an operator has looked at the spec as it is now."""
    status = resource.get("status") or {}
    return bool(status.get("observedGeneration", 0) >= resource["metadata"].get("generation", 0))


def wrong(resource: Object) -> list[Object]:
    """The conditions that need attention, ``Ready`` first."""
    return [stated for stated in conditions(resource) if _is_wrong(stated)]


def _is_wrong(stated: Object) -> bool:
    """
    >>> _is_wrong({"type": "Degraded", "status": "True", "reason": "Failed"})
    True
    >>> _is_wrong({"type": "Drifted", "status": "False", "reason": "WithinThresholds"})
    False
    >>> _is_wrong({"type": "Ready", "status": "False", "reason": "Collecting"})
    False
    """
    if stated["type"] in _TOLD_BY_READY or stated["reason"] in CALM:
        return False
    return bool(stated["status"] == ("True" if stated["type"] in _BAD_WHEN_TRUE else "False")) or (
        stated["status"] == "Unknown"
    )
