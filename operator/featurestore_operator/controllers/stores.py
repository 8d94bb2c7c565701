"""One FeatureStore in a cluster: what is kept beside it, and whether its storage and its online store answer.

Beside it stand a ConfigMap, by which pods find the store with no access to the API server, and a managed Redis and a
feature server if they are asked for.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from featurestore.errors import SpecError, StorageError
from featurestore.failure import as_failure
from featurestore.humanize import sentence
from featurestore.reconcile.conditions import Condition, false, true
from featurestore.reconcile.reasons import Reason
from featurestore.resources import FeatureStore
from featurestore.resources.kinds import KINDS
from featurestore.timestamps import SECOND_US
from featurestore_operator.controllers.servers import Servers, hindrance
from featurestore_operator.controllers.status_writer import StatusWriter
from featurestore_operator.controllers.warm_workers import WarmWorkers
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.access import own_namespace
from featurestore_operator.kube.api import Api, Exists
from featurestore_operator.kube.api_resources import MANAGED, POD, SECRET
from featurestore_operator.kube.object_key import Key
from featurestore_operator.kube.parse import parse
from featurestore_operator.namespaces.job_network import job_network
from featurestore_operator.namespaces.kept_objects import KeptObjects, owner
from featurestore_operator.namespaces.managed_redis import objects, pod_labels, secret
from featurestore_operator.namespaces.open_store import SECRET_US, OpenStore, Stores
from featurestore_operator.settings import Settings

_LOOK_US = 30 * SECOND_US
"""How often an online store is asked whether it is there, and the same as before."""
_UNSETTLED_US = 5 * SECOND_US
"""How often an unreachable one is asked, and servers that start: a managed one has just been started."""


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
        feature_servers: Servers,
        workers: WarmWorkers,
    ) -> None:
        self._feature_servers, self._workers, self._kept = feature_servers, workers, KeptObjects(api)
        self._answers_again = answers_again
        self._away: set[Key] = set()
        self._unbounded: set[Key] = set()
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
            self._feature_servers.forget(key)
            self._unbounded.discard(key)
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
        self._kept.keep(beside(obj, store, self._settings))
        misruled = self._bound_jobs(key, obj)
        serving, server = self._feature_servers.look(key, obj, store)
        workers = self._workers.look(key, obj, store)
        self._wake_removed(key.namespace, store)
        online = self._online(key, obj, store)
        answers = true("OfflineReachable", Reason.ANSWERS, f"{store.storage.root} answers.")
        ready = online.model_copy(update={"type": "Ready"})
        if online.status == "True":
            ready = true("Ready", Reason.ANSWERS, "Storage and online store answer.")
            if serving is not None and serving.status == "False":
                ready = serving.model_copy(update={"type": "Ready"})
        if misruled is not None:
            ready = misruled
        facts = {
            "pipelines": len(self._cache.names("DataPipeline", key.namespace)),
            "views": len(self._cache.names("FeatureView", key.namespace)),
            "serving": server,
        }
        stated = [ready, answers, online, *(each for each in (serving, workers) if each is not None)]
        self._status_writer.write(obj, stated, facts)
        settled = all(condition.reason == Reason.ANSWERS for condition in stated)
        return self._clock() + (_LOOK_US if settled else _UNSETTLED_US)

    def record(self, store: OpenStore) -> None:
        """Have the store in its registry, where Jobs look for it, whatever becomes of the look at its own object.

        Raises:
            StorageError: storage did not answer.
        """
        namespace = store.place.namespace
        if self._recorded.get(namespace) is not store:
            store.registry.accept(store.resource)
            self._recorded[namespace] = store

    def _bound_jobs(self, key: Key, obj: dict[str, Any]) -> Condition | None:
        """Keep the NetworkPolicy of Jobs while the settings ask for it; what is wrong with it if the API server refuses it."""
        rules = self._settings.job_egress
        policy = job_network(key.name, key.namespace, owner(obj), rules, has_redis=_managed(obj) is not None)
        if not rules:
            # Looked for once: it may be of an operator that was told otherwise.
            if key not in self._unbounded:
                self._kept.remove([policy], obj["metadata"]["uid"])
                self._unbounded.add(key)
            return None
        try:
            self._kept.keep([policy])
        except SpecError as error:
            message = f"Jobs may connect everywhere, for the operator's --job-egress is wrong: {sentence(as_failure(error))}."
            return false("Ready", Reason.SPEC_INVALID, message)
        return None

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
        if self._kept.find(SECRET, password) is None:
            with suppress(Exists):
                self._api.create(SECRET, password)

    def _online(self, key: Key, obj: dict[str, Any], store: OpenStore) -> Condition:
        """Whether the online store answers. If it was away, or is not the same as before, all views are looked at again."""
        try:
            server = store.index.instance_id()
        except StorageError as error:
            self._away.add(key)
            why, hindered = sentence(as_failure(error)), self._hindered_redis(key, obj)
            if hindered:
                return false("OnlineReachable", Reason.CANNOT_START, f"{why}. {hindered}")
            return false("OnlineReachable", Reason.ONLINE_UNAVAILABLE, why)
        again = key in self._away
        if again:
            self._away.discard(key)
            self._answers_again(key.namespace)
        if again or self._servers.get(key) != server:
            if again or key in self._servers:
                # The Job of a batch publishes, too.
                for kind in ("FeatureView", "DataPipeline"):
                    for name in self._cache.names(kind, key.namespace):
                        self._cache.wake(Key(kind, key.namespace, name))
            self._servers[key] = server
        return true("OnlineReachable", Reason.ANSWERS, "The online store answers.")

    def _hindered_redis(self, key: Key, obj: dict[str, Any]) -> str:
        """What keeps a managed Redis from starting, if Kubernetes says; "" of any other."""
        if _managed(obj) is None:
            return ""
        for pod in self._api.list(POD, key.namespace, pod_labels(key.name)):
            if why := hindrance(pod):
                return f"Pod {pod['metadata']['name']}: {why}."
        return ""

    def _wake_removed(self, namespace: str, store: OpenStore) -> None:
        """Accepted resources that are no longer in the cluster: they were deleted while nobody looked."""
        for kind in KINDS.values():
            if not kind.only_one:
                existing = self._cache.names(kind.name, namespace)
                for name in sorted(set(store.storage.names(f"registry/{kind.folder}")) - {*existing}):
                    self._cache.wake(Key(kind.name, namespace, name))


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


def _managed(obj: dict[str, Any]) -> Any:
    redis = parse(FeatureStore, obj).spec.online.redis
    return redis.managed if redis is not None else None
