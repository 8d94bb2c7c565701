"""What a resource tells people about itself: typed conditions, of which ``Ready`` sums up the others.

As in Kubernetes: a list keyed by ``type``, each with a status, a reason (one word for machines) and a
message (a sentence for people).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from featurestore.failure import Failure
from featurestore.reconcile.reasons import Reason
from featurestore.resources.model import Model
from featurestore.resources.status import ConditionStatus
from featurestore.storage import paths
from featurestore.storage.json_record import read_record
from featurestore.storage.objects import Storage

ConditionType = Literal[
    "Ready",
    "Progressing",
    "SourceReachable",
    "SchemaAccepted",
    "Materialized",
    "OnlineSynced",
    "QuarantineEmpty",
    "Backlogged",
    "Notified",
    "Rebuilt",
    "Consistent",
    "Drifted",
    "EventsDelivered",
    "Degraded",
    "OfflineReachable",
    "OnlineReachable",
    "Serving",
    "Workers",
    "Stalled",
]


class Condition(Model):
    """``since_us``: when the status last changed; 0 until it is recorded."""

    type: str
    status: ConditionStatus
    reason: str
    message: str
    since_us: int = 0


class ResourceStatus(Model):
    """What the runner last saw of one resource. Facts (rows, commits) are in result records, not here.

    ``observed_digest``: the accepted resource that the conditions are about. ``failure`` and
    ``next_attempt_us``: the last error that stands, and when the step that met it is tried again.
    ``online_version``: version of the view's table that the online store holds.
    """

    observed_digest: str
    conditions: tuple[Condition, ...]
    failure: Failure | None = None
    next_attempt_us: int | None = None
    online_version: int | None = None

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, if there is one."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    @property
    def problems(self) -> tuple[Condition, ...]:
        """The conditions that need attention: a step fails, the last batch met drift, quarantine is open, values drifted
        or differ online, nobody takes its events."""
        wrong = {
            "Degraded": ConditionStatus.TRUE,
            "SchemaAccepted": ConditionStatus.FALSE,
            "QuarantineEmpty": ConditionStatus.FALSE,
            "Consistent": ConditionStatus.FALSE,
            "Drifted": ConditionStatus.TRUE,
            "EventsDelivered": ConditionStatus.FALSE,
        }
        return tuple(
            condition for condition in self.conditions if wrong.get(condition.type) == condition.status
        )


def true(kind: ConditionType, reason: Reason, message: str) -> Condition:
    return Condition(type=kind, status=ConditionStatus.TRUE, reason=reason, message=message)


def false(kind: ConditionType, reason: Reason, message: str) -> Condition:
    return Condition(type=kind, status=ConditionStatus.FALSE, reason=reason, message=message)


def unknown(kind: ConditionType, reason: Reason, message: str) -> Condition:
    return Condition(type=kind, status=ConditionStatus.UNKNOWN, reason=reason, message=message)


def since(
    conditions: Iterable[Condition], before: ResourceStatus | None, now_us: int
) -> tuple[Condition, ...]:
    """The conditions with the time of their last change of status, given those recorded before."""
    dated = []
    for condition in conditions:
        old = before.condition(condition.type) if before else None
        same = old is not None and old.status == condition.status
        dated.append(condition.model_copy(update={"since_us": old.since_us if old and same else now_us}))
    return tuple(dated)


def read_status(storage: Storage, kind: str, name: str) -> ResourceStatus | None:
    """What a runner last recorded of a resource; None if none ever saw it.

    Raises:
        StorageError: storage did not answer, or answered nonsense.
    """
    hint = "`featurestore run` of this version writes it again"
    return read_record(storage, paths.status(kind, name), ResourceStatus, "the status of a resource", hint)


def record_status(storage: Storage, kind: str, name: str, status: ResourceStatus) -> None:
    """Let other processes see it.

    Raises:
        StorageError: storage did not answer.
    """
    data = status.model_dump_json(by_alias=True).encode()
    # Half a dozen are written on the way of a row, and the next look makes each of them anew.
    storage.replace(paths.status(kind, name), data, durable=False)
