"""The conditions of a resource in storage, as a laptop's runner has them there: for those who read no API server.

Such are the page of a feature server and the command line. They need no rights in the cluster for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from featurestore.reconcile.conditions import Condition, ResourceStatus, record_status
from featurestore.reconcile.reconcile import PLANNED
from featurestore.registry.registry import Accepted
from featurestore.resources import OnDemandView, Resource
from featurestore.resources.kinds import KINDS
from featurestore.storage.objects import Storage
from featurestore.timestamps import parse_us
from featurestore_operator.controllers.subject import ReconcileResult


def recorder(
    storage: Storage, accepted: Accepted[Resource], outcome: ReconcileResult
) -> Callable[[list[dict[str, Any]]], None] | None:
    """Records conditions, as the API server keeps them, of a resource; None if it has none of its own.

    How a list stands, and a view on demand, what they name says.
    """
    resource = accepted.resource
    folder = KINDS[resource.kind].folder
    if folder not in PLANNED or isinstance(resource, OnDemandView):
        return None

    def record(conditions: list[dict[str, Any]]) -> None:
        failing = outcome.failing
        status = ResourceStatus(
            observed_digest=accepted.digest,
            conditions=tuple(_condition(condition) for condition in conditions),
            failure=failing.failure if failing else None,
            next_attempt_us=failing.next_us if failing else None,
            online_version=outcome.online_version,
        )
        record_status(storage, folder, resource.metadata.name, status)

    return record


def _condition(kept: dict[str, Any]) -> Condition:
    named = {name: kept[name] for name in ("type", "status", "reason", "message")}
    return Condition.model_validate({**named, "sinceUs": parse_us(kept["lastTransitionTime"])})
