"""Writes the status of a resource, and an Event when it becomes ready or stops being ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from featurestore.errors import NotFound
from featurestore.reconcile.conditions import Condition
from featurestore.reconcile.reasons import Reason
from featurestore.retry import FailureStreak
from featurestore_operator.controllers.status_fields import facts_of, ready, status
from featurestore_operator.kube.api import Api, Exists, Terminating
from featurestore_operator.kube.api_resources import EVENT, OURS
from featurestore_operator.kube.event import event

_CALM = frozenset(
    {
        *(Reason.WAITING_FOR_FILES, Reason.COLLECTING, Reason.BATCH_PENDING, Reason.SUSPENDED),
        *(Reason.WAITING_FOR_TURN, Reason.STARTING, Reason.ERASING),
        *(Reason.WAITING_FOR_DATA, Reason.BUILDING, Reason.NOT_BUILT, Reason.PUBLISHING, Reason.PROMOTING),
    }
)
"""Reasons for not being ready that need no attention."""


class StatusWriter:
    """``clock``: UTC microseconds now. ``reporter``: name of this operator among others."""

    def __init__(self, api: Api, clock: Callable[[], int], reporter: str) -> None:
        self._api, self._clock, self._reporter = api, clock, reporter

    def write(
        self,
        obj: dict[str, Any],
        conditions: Iterable[Condition],
        facts: dict[str, Any],
        failing: FailureStreak | None = None,
        record: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> None:
        """Write the status if it differs from the current one.

        ``facts``: the fields of the status besides its conditions; None leaves one out. ``record``: gets the conditions
        before they are written, so that what it does not do is done when they are to be written again.

        Raises:
            Conflict: another writer was first, or the resource is another one by now.
        """
        before, metadata = obj.get("status") or {}, obj["metadata"]
        after = status(conditions, facts, before, metadata.get("generation", 0), failing, self._clock())
        if after == before:
            return
        if record is not None:
            record(after["conditions"])
        named = {name: metadata[name] for name in ("namespace", "name", "uid")}
        try:
            self._api.apply_status(OURS[obj["kind"]], {"metadata": named, "status": after})
        except NotFound:
            return  # It was deleted meanwhile.
        was, now = ready(before), ready(after)
        # What becomes due and is done is no news while what is read is whole.
        if was[0] != now[0] or (now[0] != "True" and was[1] != now[1]):
            self._announce(obj, now)

    def write_unknown(
        self, obj: dict[str, Any], conditions: Sequence[Condition], failing: FailureStreak
    ) -> None:
        """Report that nothing can be known now; everything else in the status stays."""
        kept, types = obj.get("status") or {}, {condition.type for condition in conditions}
        others = [
            Condition.model_validate(condition) for condition in _ours(kept) if condition["type"] not in types
        ]
        self.write(obj, (*conditions, *others), facts_of(kept), failing)

    def _announce(self, obj: dict[str, Any], now: tuple[str, str, str]) -> None:
        kind: Literal["Normal", "Warning"] = "Normal" if now[0] == "True" or now[1] in _CALM else "Warning"
        try:
            self._api.create(
                EVENT, event(obj, kind, now[1], now[2], "Reconcile", self._clock(), self._reporter)
            )
        except Exists:
            return  # Said already, by an operator that was killed before it knew.
        except Terminating:
            return  # An Event would go with the namespace, before anybody read it.


def _ours(kept: dict[str, Any]) -> list[dict[str, Any]]:
    """Conditions as the API server keeps them, in our words."""
    return [
        {name: condition[name] for name in ("type", "status", "reason", "message")}
        for condition in kept.get("conditions", ())
    ]
