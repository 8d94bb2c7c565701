"""One FeatureStore in a cluster: what is kept beside it, and whether its storage and its online store answer.

Beside it stand a ConfigMap, by which pods find the store with no access to the API server, and a managed Redis if one
is asked for.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from featurestore.digest import digest
from featurestore.errors import NotFound, SpecError, StorageError
from featurestore.failure import as_failure
from featurestore.humanize import sentence
from featurestore.reconcile.conditions import Condition, false, true
from featurestore.reconcile.reasons import Reason
from featurestore.resources import FeatureStore
from featurestore.resources.kinds import API_VERSION, KINDS
from featurestore.resources.quantity import parse_bytes
from featurestore.timestamps import SECOND_US
from featurestore_operator.controllers.status_writer import StatusWriter
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.access import own_namespace
from featurestore_operator.kube.api import Api, Exists
from featurestore_operator.kube.api_resources import (
    CONFIG_MAP,
    MANAGED,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    ApiResource,
)
from featurestore_operator.kube.object_key import Key
from featurestore_operator.kube.parse import parse
from featurestore_operator.namespaces.managed_redis import objects, secret
from featurestore_operator.namespaces.open_store import SECRET_US, OpenStore, Stores
from featurestore_operator.settings import Settings

_LOOK_US = 30 * SECOND_US
"""How often an online store is asked whether it is there, and the same as before."""
_UNREACHABLE_US = 5 * SECOND_US
"""How often an unreachable one is asked: a managed one has just been started."""
APPLIED = "featurestore.dev/applied"
"""Annotation: digest of the manifest that was applied. The object also has the server's defaults in it."""
_BESIDE = {
    resource_kind.kind: resource_kind
    for resource_kind in (SERVICE, STATEFUL_SET, POD_DISRUPTION_BUDGET, NETWORK_POLICY, CONFIG_MAP)
}


class StoreController:
    """``clock``: UTC microseconds now. ``answers_again``: is told the namespace whose online store was away and answers."""

    def __init__(
        self,
        cache: Cache,
        api: Api,
        stores: Stores,
        settings: Settings,
        status_writer: StatusWriter,
        clock: Callable[[], int],
        answers_again: Callable[[str], None],
    ) -> None:
        self._answers_again = answers_again
        self._away: set[Key] = set()
        self._cache, self._api, self._stores = cache, api, stores
        self._settings, self._status_writer, self._clock = settings, status_writer, clock
        self._servers: dict[Key, str] = {}
        self._recorded: dict[str, OpenStore] = {}

    def look(self, key: Key, obj: dict[str, Any] | None) -> int | None:
        """Look, do what is to be done, say how it stands; when to look again (UTC microseconds).

        Raises:
            FeatureStoreError: storage or the API server did not answer.
        """
        if obj is None:
            self._stores.forget(key.namespace)
            return None
        chosen = self._stores.find(key.namespace)
        if isinstance(chosen, Condition):
            self._status_writer.write(obj, (chosen,), {})
            return None
        if chosen["metadata"]["name"] != key.name:
            message = f"The namespace uses the FeatureStore {chosen['metadata']['name']!r}."
            self._status_writer.write(obj, (false("Ready", Reason.NOT_USED, message),), {})
            return None
        self._keep_password(key, obj)
        store = self._stores.open(key.namespace)
        if isinstance(store, Condition):
            self._status_writer.write(obj, (store,), {})
            return self._clock() + SECRET_US
        # First: readers and Jobs go by it, and need nothing that stands beside it.
        store.registry.accept(store.resource)
        self._keep(obj, store)
        self._wake_removed(key.namespace, store)
        online = self._online(key, store)
        answers = true("OfflineReachable", Reason.ANSWERS, f"{store.storage.root} answers.")
        ready = online.model_copy(update={"type": "Ready"})
        if online.status == "True":
            ready = true("Ready", Reason.ANSWERS, "Storage and online store answer.")
        facts = {
            "pipelines": len(self._cache.names("DataPipeline", key.namespace)),
            "views": len(self._cache.names("FeatureView", key.namespace)),
        }
        self._status_writer.write(obj, (ready, answers, online), facts)
        return self._clock() + (_LOOK_US if online.status == "True" else _UNREACHABLE_US)

    def record(self, store: OpenStore) -> None:
        """Have the store in its registry, where Jobs look for it, whatever becomes of the look at its own object.

        Raises:
            StorageError: storage did not answer.
        """
        namespace = store.place.namespace
        if self._recorded.get(namespace) is not store:
            store.registry.accept(store.resource)
            self._recorded[namespace] = store

    def _keep_password(self, key: Key, obj: dict[str, Any]) -> None:
        """Make the password of a managed Redis, without which the store cannot be opened."""
        try:
            managed = _managed(obj)
        except SpecError:  # Opening it says so.
            return
        if managed is None:
            return
        password = secret(key.name, key.namespace, owner(obj), secrets.token_urlsafe(32))
        # Made once, and never changed: clients know it.
        if self._there(SECRET, password) is None:
            with suppress(Exists):
                self._api.create(SECRET, password)

    def _keep(self, obj: dict[str, Any], store: OpenStore) -> None:
        """Apply the objects beside the store that are missing or differ, whoever removed or changed them."""
        for manifest in beside(obj, store, self._settings):
            resource = _BESIDE[manifest["kind"]]
            existing = self._there(resource, manifest)
            applied = digest(manifest)
            if existing is None or _applied(existing) != applied or not holds(existing, manifest):
                metadata = {**manifest["metadata"], "annotations": {APPLIED: applied}}
                self._api.apply(resource, {**manifest, "metadata": metadata})

    def _there(self, resource: ApiResource, manifest: dict[str, Any]) -> dict[str, Any] | None:
        metadata = manifest["metadata"]
        try:
            return self._api.get(resource, metadata["namespace"], metadata["name"])
        except NotFound:
            return None

    def _online(self, key: Key, store: OpenStore) -> Condition:
        """Whether the online store answers. If it was away, or is not the same as before, all views are looked at again."""
        try:
            server = store.index.instance_id()
        except StorageError as error:
            self._away.add(key)
            return false("OnlineReachable", Reason.ONLINE_UNAVAILABLE, sentence(as_failure(error)))
        again = key in self._away
        if again:
            self._away.discard(key)
            self._answers_again(key.namespace)
        if again or self._servers.get(key) != server:
            if again or key in self._servers:
                for view in self._cache.names("FeatureView", key.namespace):
                    self._cache.wake(Key("FeatureView", key.namespace, view))
            self._servers[key] = server
        return true("OnlineReachable", Reason.ANSWERS, "The online store answers.")

    def _wake_removed(self, namespace: str, store: OpenStore) -> None:
        """Accepted resources that are no longer in the cluster: they were deleted while nobody looked."""
        for kind in KINDS.values():
            if not kind.only_one:
                existing = self._cache.names(kind.name, namespace)
                for name in sorted(set(store.storage.names(f"registry/{kind.folder}")) - {*existing}):
                    self._cache.wake(Key(kind.name, namespace, name))


def holds(existing: Any, wanted: Any) -> bool:
    """Whether an object has all that is wanted of it, besides what the server or others add.

    >>> holds({"a": {"b": "2Ki", "c": 1}, "d": [2]}, {"a": {"b": "2048"}}), holds({"a": [1, 2]}, {"a": [1]})
    (True, False)
    """
    if isinstance(wanted, dict):
        return isinstance(existing, dict) and all(
            holds(existing.get(name), value) for name, value in wanted.items() if value not in ({}, [], None)
        )
    if isinstance(wanted, list):
        return (
            isinstance(existing, list) and len(existing) == len(wanted) and all(map(holds, existing, wanted))
        )
    return bool(existing == wanted) or _quantity(existing) == _quantity(wanted) is not None


def _quantity(value: Any) -> int | None:
    """The number that a quantity stands for, which the server may write in another way."""
    with suppress(ValueError):
        return parse_bytes(value)
    return None


def owner(obj: dict[str, Any]) -> dict[str, Any]:
    """The owner reference by which the objects beside a store are removed with it."""
    metadata = obj["metadata"]
    return {
        "apiVersion": API_VERSION,
        "kind": "FeatureStore",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }


def beside(obj: dict[str, Any], store: OpenStore, settings: Settings) -> list[dict[str, Any]]:
    """The objects beside a store: a ConfigMap for ``envFrom``, and the parts of a managed Redis."""
    metadata = obj["metadata"]
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"featurestore-{metadata['name']}",
            "namespace": metadata["namespace"],
            "labels": MANAGED,
            "ownerReferences": [owner(obj)],
        },
        "data": {"FEATURESTORE_URI": store.storage.root},
    }
    managed = _managed(obj)
    if managed is None:
        return [config]
    return [
        config,
        *objects(
            metadata["name"],
            metadata["namespace"],
            owner(obj),
            managed,
            settings.redis_image,
            settings.lease_namespace or own_namespace(default="default"),
        ),
    ]


def _applied(existing: dict[str, Any]) -> str | None:
    return (existing["metadata"].get("annotations") or {}).get(APPLIED)


def _managed(obj: dict[str, Any]) -> Any:
    redis = parse(FeatureStore, obj).spec.online.redis
    return redis.managed if redis is not None else None
