"""How what was refused is told: a condition of its own, and no ``Ready`` when nothing was taken."""

from __future__ import annotations

from collections.abc import Mapping

from featurestore.humanize import count
from featurestore.quarantine.tally import OpenQuarantine
from featurestore.reconcile.conditions import Condition, false, true
from featurestore.reconcile.reasons import Reason


def quarantine_condition(name: str, quarantine: OpenQuarantine) -> Condition:
    """Whether nothing waits in quarantine for somebody's decision."""
    if not quarantine:
        return true("QuarantineEmpty", Reason.EMPTY, "Nothing is open in quarantine.")
    return false(
        "QuarantineEmpty",
        Reason.IN_QUARANTINE,
        f"{quarantine} in quarantine: `featurestore quarantine ls {name}` shows why; `quarantine replay` runs them "
        "again, `quarantine dismiss` closes them.",
    )


def with_nothing_taken(ready: Condition, degraded: Condition, message: str) -> tuple[Condition, Condition]:
    """``Ready`` and ``Degraded`` of a resource that took nothing, unless they have something worse to say."""
    if ready.status == "True":
        ready = false("Ready", Reason.NOTHING_TAKEN, message)
    if degraded.status == "False":
        degraded = true("Degraded", Reason.NOTHING_TAKEN, message)
    return ready, degraded


def nothing_taken(
    name: str, number: int, files_refused: Mapping[str, int], rows_refused: Mapping[str, int]
) -> str:
    """That a pipeline's last batch took no row, and which rules its files and rows broke."""
    refused = ", ".join(
        f"{count(n, noun)} ({rule})"
        for noun, rules in (("file", files_refused), ("row", rows_refused))
        for rule, n in sorted(rules.items())
    )
    return f"Batch {number} took no row: {refused}. `featurestore quarantine ls {name}` shows why."
