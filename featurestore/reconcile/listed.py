"""How a resource stands that is a mere list: nothing is made of it, so it is ready when all that it names is there."""

from __future__ import annotations

from collections.abc import Collection

from featurestore.reconcile.conditions import Condition, false, true
from featurestore.reconcile.reasons import Reason
from featurestore.resources.kinds import ResourceKind


def listed_condition(missing: Collection[tuple[ResourceKind, str]]) -> Condition:
    """``Ready``. ``missing``: kind and name of what it names and is not there."""
    if not missing:
        return true("Ready", Reason.UP_TO_DATE, "All that it refers to exists.")
    names = ", ".join(sorted({f"{kind.noun} {name!r}" for kind, name in missing}))
    return false("Ready", Reason.RESOURCE_MISSING, f"It refers to resources that do not exist: {names}.")
