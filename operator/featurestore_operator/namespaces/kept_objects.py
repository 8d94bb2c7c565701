"""Objects that the operator keeps beside a store: applied where they are missing or differ, whoever changed them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from featurestore.digest import digest
from featurestore.errors import NotFound, SpecError
from featurestore.resources.kinds import API_VERSION
from featurestore.resources.quantity import parse_bytes, parse_cpu
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    ApiResource,
)

APPLIED = "featurestore.dev/applied"
"""Annotation: digest of the manifest that was applied. The object also has the server's defaults in it."""
_KEPT = {
    resource.kind: resource
    for resource in (
        *(SERVICE, SERVICE_ACCOUNT, CONFIG_MAP, STATEFUL_SET, DEPLOYMENT),
        *(HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET, NETWORK_POLICY),
    )
}

_WHOLE = frozenset({"selector", "podSelector", "ingress", "egress"})
"""Fields in which the server adds nothing, and anything that somebody else adds means something else."""
Object = dict[str, Any]


class KeptObjects:
    def __init__(self, api: Api) -> None:
        self._api = api

    def keep(self, manifests: Iterable[Object], *, only_own: bool = False) -> list[Object]:
        """The objects as they are once they have all that the manifests say.

        Raises:
            SpecError: with ``only_own``, one of that name is there and belongs to somebody else.
            FeatureStoreError: the API server did not answer, or refused one.
        """
        return [self._keep(manifest, only_own) for manifest in manifests]

    def remove(self, manifests: Iterable[Object], owner_uid: str) -> None:
        """Delete the objects of these names that belong to this owner: those of others stay.

        Raises:
            FeatureStoreError: the API server did not answer.
        """
        for manifest in manifests:
            existing = self.find(_KEPT[manifest["kind"]], manifest)
            if existing is not None and _owned(existing, owner_uid):
                metadata = existing["metadata"]
                self._api.delete(
                    _KEPT[manifest["kind"]], metadata["namespace"], metadata["name"], metadata["uid"]
                )

    def find(self, resource: ApiResource, manifest: Object) -> Object | None:
        """The object of the manifest's name; None if there is none."""
        metadata = manifest["metadata"]
        try:
            return self._api.get(resource, metadata["namespace"], metadata["name"])
        except NotFound:
            return None

    def _keep(self, manifest: Object, only_own: bool) -> Object:
        resource, applied = _KEPT[manifest["kind"]], digest(manifest)
        existing = self.find(resource, manifest)
        if existing is not None and only_own:
            [mine] = manifest["metadata"]["ownerReferences"]
            if not _owned(existing, mine["uid"]):
                raise SpecError(
                    f"there is a {resource.kind} of this name that belongs to somebody else, and was not touched",
                    where=f"{resource.plural} {manifest['metadata']['name']!r}",
                    wanted="none, or one that the operator has made for this store",
                    hint=f"Delete it, or give the {mine['kind']} another name",
                )
        if existing is not None and _applied(existing) == applied and holds(existing, manifest):
            return existing
        metadata = {**manifest["metadata"], "annotations": {APPLIED: applied}}
        return self._api.apply(resource, {**manifest, "metadata": metadata})


def owner(obj: Object) -> Object:
    """The owner reference by which the objects beside a store are removed with it."""
    metadata = obj["metadata"]
    return {
        "apiVersion": API_VERSION,
        "kind": "FeatureStore",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }


def holds(existing: Any, wanted: Any) -> bool:
    """Whether an object has all that is wanted of it, besides what the server or others add.

    >>> holds({"a": {"b": "2Ki", "c": 1}, "d": [2]}, {"a": {"b": "2048"}}), holds({"a": [1, 2]}, {"a": [1]})
    (True, False)
    >>> holds({"selector": {"a": "b", "c": "d"}}, {"selector": {"a": "b"}})
    False
    """
    if isinstance(wanted, dict):
        return isinstance(existing, dict) and all(
            existing.get(name) == value if name in _WHOLE else holds(existing.get(name), value)
            for name, value in wanted.items()
            if value not in ({}, [], None)
        )
    if isinstance(wanted, list):
        return (
            isinstance(existing, list) and len(existing) == len(wanted) and all(map(holds, existing, wanted))
        )
    return bool(existing == wanted) or _quantity(existing) == _quantity(wanted) is not None


def _quantity(value: Any) -> int | None:
    """The number that a quantity stands for, which the server may write in another way; CPUs in thousandths."""
    if isinstance(value, str) and value.endswith("m"):
        with suppress(ValueError):
            return parse_cpu(value)
    with suppress(ValueError):
        return parse_bytes(value) * 1000
    return None


def _applied(existing: Object) -> str | None:
    return (existing["metadata"].get("annotations") or {}).get(APPLIED)


def _owned(existing: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in existing["metadata"].get("ownerReferences") or ())
