"""Writes the status of a resource, and an Event when something begins to fail and when nothing fails any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal

from featurestore.errors import NotFound
from featurestore.reconcile.conditions import Condition
from featurestore.retry import FailureStreak
from featurestore_operator.controllers.status_fields import facts_of, fault, ready, status
from featurestore_operator.kube.api import Api, Terminating
from featurestore_operator.kube.api_resources import OURS
from featurestore_operator.kube.event import event, tell


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
        was, now = fault(before), fault(after)
        if now is not None and (was is None or was[0] != now[0]):
            self._tell(obj, "Warning", *now)
        elif was is not None and now is None:
            _, reason, message = ready(after)
            self._tell(obj, "Normal", reason, message)

    def write_unknown(
        self, obj: dict[str, Any], conditions: Sequence[Condition], failing: FailureStreak
    ) -> None:
        """Report that nothing can be known now; everything else in the status stays."""
        kept, types = obj.get("status") or {}, {condition.type for condition in conditions}
        others = [
            Condition.model_validate(condition) for condition in _ours(kept) if condition["type"] not in types
        ]
        self.write(obj, (*conditions, *others), facts_of(kept), failing)

    def _tell(
        self, obj: dict[str, Any], kind: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        # In a namespace that is being deleted an Event would go with it, before anybody read it.
        with suppress(Terminating):
            tell(self._api, event(obj, kind, reason, message, self._clock(), self._reporter))


def _ours(kept: dict[str, Any]) -> list[dict[str, Any]]:
    """Conditions as the API server keeps them, in our words."""
    return [
        {name: condition[name] for name in ("type", "status", "reason", "message")}
        for condition in kept.get("conditions", ())
    ]
