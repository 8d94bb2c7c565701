"""A resource that is a mere list, in a cluster: accepted if it is right, ready when all that it names is there."""

from __future__ import annotations

from typing import Any

from featurestore.reconcile.listed import listed_condition
from featurestore.registry.registry import Accepted
from featurestore.resources import Resource
from featurestore.resources.kinds import KINDS, ResourceKind, references
from featurestore_operator.controllers.pipelines import ReconcileResult, columns
from featurestore_operator.namespaces.acceptance import SpecDecision, decide
from featurestore_operator.namespaces.open_store import OpenStore


def decide_list(kind: ResourceKind, found: dict[str, Any], store: OpenStore) -> SpecDecision[Resource]:
    """Which spec counts.

    Raises:
        StorageError: storage did not answer.
    """
    return decide(kind.model, found, store.registry, lambda name: columns(store, name))


def look_at_list(accepted: Accepted[Resource], store: OpenStore) -> ReconcileResult:
    """Look at the list; there is never anything to do. Whatever it names wakes it.

    Raises:
        StorageError: storage did not answer.
    """
    missing = [
        (KINDS[kind], name)
        for kind, _, name in references(accepted.resource)
        if store.registry.accepted_digest(KINDS[kind].model, name) is None
    ]
    return ReconcileResult((listed_condition(missing),), {}, None, None)
