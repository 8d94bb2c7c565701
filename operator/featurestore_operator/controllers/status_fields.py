"""The status of a resource as the API server keeps it, and whether it differs from the current one.

Nothing is written at rest: a status holds no time of the last look, and no number that changes by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from featurestore.humanize import format_time
from featurestore.reconcile.conditions import Condition, true
from featurestore.reconcile.reasons import Reason
from featurestore.resources.status import NEVER
from featurestore.retry import FailureStreak
from featurestore.timestamps import SECOND_US

_LONGEST = 4096
_MADE = frozenset({"conditions", "observedGeneration", "nextAttemptTime"})


def conditions(
    stated: Iterable[Condition], before: dict[str, Any], generation: int, now_us: int
) -> list[dict[str, Any]]:
    """The conditions as the API server keeps them; each dated with the last change of its status."""
    old = {condition["type"]: condition for condition in before.get("conditions", ())}
    return [
        {
            "type": condition.type,
            "status": condition.status.value,
            "reason": condition.reason,
            "message": _cut(condition.message),
            "lastTransitionTime": _since(old.get(condition.type), condition, now_us),
            "observedGeneration": generation,
        }
        for condition in stated
    ]


def status(
    stated: Iterable[Condition],
    facts: dict[str, Any],
    before: dict[str, Any],
    generation: int,
    failing: FailureStreak | None,
    now_us: int,
) -> dict[str, Any]:
    """The whole status. ``facts``: its other fields; None leaves one out."""
    return {
        "observedGeneration": generation,
        "conditions": conditions(_with_stalled(stated), before, generation, now_us),
        **({"nextAttemptTime": format_time(failing.next_us)} if failing else {}),
        **{name: value for name, value in facts.items() if value is not None},
    }


_STALLED = frozenset(
    {
        *(Reason.FAILED, Reason.SPEC_INVALID, Reason.NOT_ALLOWED),
        *(Reason.STORE_INVALID, Reason.STORE_AMBIGUOUS),
    }
)
"""Reasons for not being ready that stay until somebody changes something."""


def _with_stalled(stated: Iterable[Condition]) -> list[Condition]:
    """And ``Stalled`` if it is so: tools of GitOps wait no longer then. It is there only while it is so, as they want it.

    https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
    """
    conditions = [condition for condition in stated if condition.type != "Stalled"]
    for condition in conditions:
        if condition.type == "Ready" and condition.status == "False" and condition.reason in _STALLED:
            return [*conditions, true("Stalled", Reason.FAILED, condition.message)]
    return conditions


def facts_of(status: dict[str, Any]) -> dict[str, Any]:
    """The fields of a status that are facts: what was known when it was written."""
    return {name: value for name, value in status.items() if name not in _MADE}


_FIRST_US, _LAST_US = -62_135_596_800 * SECOND_US, 253_402_300_799 * SECOND_US
"""The first and the last second of the years 1 to 9999."""


def time_of(us: int | None) -> str | None:
    """RFC 3339, to the second; None for None. The API server takes no years of five digits: the last one it takes
    stands for them.
    """
    return None if us is None else format_time(min(max(us, _FIRST_US), _LAST_US))


def ready(status: dict[str, Any]) -> tuple[str, str, str]:
    """Status, reason and message of ``Ready``; empty strings if it was never written."""
    for condition in status.get("conditions", ()):
        if condition["type"] == "Ready":
            return condition["status"], condition["reason"], condition["message"]
    return "", "", ""


_CALM = frozenset(
    {
        *(Reason.WAITING_FOR_FILES, Reason.COLLECTING, Reason.BATCH_PENDING, Reason.SUSPENDED),
        *(
            Reason.WAITING,
            Reason.WAITING_FOR_LOOKUP,
            Reason.WAITING_FOR_TURN,
            Reason.STARTING,
            Reason.ERASING,
        ),
        *(Reason.WAITING_FOR_DATA, Reason.BUILDING, Reason.NOT_BUILT, Reason.PUBLISHING, Reason.PROMOTING),
    }
)
"""Reasons for not being ready that need no attention."""


def fault(status: dict[str, Any]) -> tuple[str, str] | None:
    """Reason and message of what needs attention; None if nothing does: what becomes due and is done is no fault."""
    by_type = {condition["type"]: condition for condition in status.get("conditions", ())}
    is_ready, degraded, workers = (by_type.get(name) for name in ("Ready", "Degraded", "Workers"))
    if is_ready and is_ready["lastTransitionTime"] == NEVER:
        return None  # It was not looked at yet.
    if is_ready and is_ready["status"] != "True" and is_ready["reason"] not in _CALM:
        return is_ready["reason"], is_ready["message"]
    if degraded and degraded["status"] == "True":
        return degraded["reason"], degraded["message"]
    if workers and workers["reason"] == Reason.WORKERS_UNAVAILABLE:
        return workers["reason"], workers["message"]
    return None


def _since(old: dict[str, Any] | None, now: Condition, now_us: int) -> str:
    if old is not None and old["status"] == now.status.value and str(old["lastTransitionTime"]) != NEVER:
        return str(old["lastTransitionTime"])
    return format_time(now_us)


def _cut(message: str) -> str:
    return message if len(message) <= _LONGEST else message[: _LONGEST - 1] + "…"
