"""A resource that is a mere list, in a cluster: accepted if it is right, ready when all that it names is there."""

from __future__ import annotations

from typing import Any

from featurestore.reconcile.conditions import Condition
from featurestore.reconcile.listed import MemberState, list_state
from featurestore.registry.registry import Accepted
from featurestore.resources import Resource
from featurestore.resources.kinds import ResourceKind
from featurestore.resources.status import ConditionStatus
from featurestore.timestamps import parse_us
from featurestore_operator.controllers.status_fields import ready, time_of
from featurestore_operator.controllers.subject import ReconcileResult
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.object_key import Key
from featurestore_operator.namespaces.open_store import OpenStore


def look_at_list(accepted: Accepted[Resource], store: OpenStore, cache: Cache) -> ReconcileResult:
    """Look at the list; there is never anything to do. Whatever it names wakes it.

    Raises:
        StorageError: storage did not answer.
    """

    def member_state(kind: ResourceKind, name: str) -> MemberState | None:
        obj = cache.get(Key(kind.name, store.place.namespace, name))
        return None if obj is None else _state_of(obj.get("status") or {})

    state = list_state(accepted, store.registry, member_state)
    facts = {**state.facts, "watermark": time_of(state.watermark_us)}
    return ReconcileResult((state.ready,), facts, None, None)


def _state_of(status: dict[str, Any]) -> MemberState | None:
    """How an object stands by its own status; None before it has one."""
    value, reason, message = ready(status)
    if not value:
        return None
    watermark = status.get("watermark")
    return MemberState(
        Condition(type="Ready", status=ConditionStatus(value), reason=reason, message=message),
        None if watermark is None else parse_us(watermark),
    )
