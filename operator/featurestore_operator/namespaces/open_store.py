"""The FeatureStore of a namespace, opened: its storage root, registry and online store, with its own credentials.

A namespace uses its only FeatureStore, or the one named ``default`` if there are several.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from featurestore.errors import CodeError, NotFound, SpecError
from featurestore.online.index import OnlineIndex, open_index
from featurestore.reconcile.conditions import Condition, false
from featurestore.reconcile.observe import OnlineVersions
from featurestore.reconcile.reasons import Reason
from featurestore.registry.registry import Registry
from featurestore.resources import FeatureStore
from featurestore.resources.metadata import SecretRef
from featurestore.storage.objects import Storage
from featurestore.timestamps import SECOND_US
from featurestore.views.commit_teller import SECRET_KEY, Sink, sink_of
from featurestore_operator.informer.cache import Cache
from featurestore_operator.jobs.job_manifest import JobContext
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import NAMESPACE, SECRET
from featurestore_operator.kube.parse import parse
from featurestore_operator.namespaces.managed_redis import resolved
from featurestore_operator.namespaces.ownership import claim
from featurestore_operator.policies.permissions import NotAllowed, Policies
from featurestore_operator.settings import Settings

DEFAULT = "default"
SECRET_US = 10 * SECOND_US
"""How often a missing Secret is looked for: Secrets are not watched."""
_KEPT_US = 300 * SECOND_US
"""How long credentials are used before their Secret is read again; a failure of storage ends it at once."""


@dataclass(frozen=True, slots=True)
class OpenStore:
    """``resource``: as clients see it, a managed Redis being a URL. ``environ``: has the credentials of storage.

    ``sink``: who is told of commits.
    """

    resource: FeatureStore
    uid: str
    storage: Storage
    registry: Registry
    index: OnlineIndex
    published: OnlineVersions
    sink: Sink | None
    environ: Mapping[str, str] | None
    place: JobContext


Secrets = tuple[Mapping[str, str] | None, Mapping[str, str] | None, Mapping[str, str]]
"""Credentials of storage and of the online store, None for the process's own; and of the sink of events."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """``version``: of the object that it was opened from; ``written``: what that says. ``read_us``: when its Secrets were
    read.
    """

    version: str
    written: FeatureStore
    secrets: Secrets
    store: OpenStore
    read_us: int


class Stores:
    """Opens stores and keeps them. Safe to use from several threads."""

    def __init__(
        self, cache: Cache, api: Api, policies: Policies, settings: Settings, clock: Callable[[], int]
    ) -> None:
        self._cache = cache
        self._api = api
        self._policies = policies
        self._settings = settings
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def find(self, namespace: str) -> dict[str, Any] | Condition:
        """The object of the FeatureStore that the namespace uses, or why there is none."""
        stores = {store["metadata"]["name"]: store for store in self._cache.stores(namespace)}
        if len(stores) == 1:
            return next(iter(stores.values()))
        if not stores:
            message = f"There is no FeatureStore in namespace {namespace!r}: it says where data lives."
            return false("Ready", Reason.STORE_MISSING, message)
        if DEFAULT in stores:
            return stores[DEFAULT]
        names = ", ".join(sorted(stores))
        message = (
            f"Namespace {namespace!r} has several FeatureStores ({names}) and none is named {DEFAULT!r}."
        )
        return false("Ready", Reason.STORE_AMBIGUOUS, message)

    def open(self, namespace: str) -> OpenStore | Condition:
        """The namespace's store, or the condition that says why there is none.

        Raises:
            StorageError: storage cannot be opened.
            TransientError: the API server did not answer.
        """
        feature_store = self.find(namespace)
        if isinstance(feature_store, Condition):
            return feature_store
        version = f"{feature_store['metadata']['uid']}/{feature_store['metadata'].get('generation', 0)}"
        with self._lock:
            kept = self._kept.get(namespace)
        try:
            if kept is not None and kept.version == version and self._clock() - kept.read_us < _KEPT_US:
                self._check(namespace, kept.written)
                return kept.store
            written = parse(FeatureStore, feature_store)
            # Before anything is opened: what is not allowed is not even looked at.
            self._check(namespace, written)
            resource = resolved(written, namespace)
            secrets = self._secrets(namespace, resource)
            if kept is not None and (kept.version, kept.secrets) == (version, secrets):
                # The same one: whatever was remembered of it holds.
                store = kept.store
            else:
                store = self._opened(namespace, feature_store["metadata"]["uid"], resource, secrets)
            claim(store.storage, self._namespace(namespace), feature_store)
        except NotAllowed as error:
            return false("Ready", Reason.NOT_ALLOWED, str(error))
        except (SpecError, CodeError) as error:
            return false("Ready", Reason.STORE_INVALID, str(error))
        except NotFound as error:
            return false("Ready", Reason.SECRET_MISSING, str(error))
        with self._lock:
            self._kept[namespace] = _Kept(version, written, secrets, store, self._clock())
        return store

    def forget(self, namespace: str) -> None:
        """Read its credentials again next time: it may have failed because they were changed."""
        with self._lock:
            kept = self._kept.get(namespace)
            if kept is not None:
                self._kept[namespace] = replace(kept, read_us=-_KEPT_US)

    def credentials(self, namespace: str, ref: SecretRef | None) -> Mapping[str, str] | None:
        """What a Secret holds, by key; None if none is named.

        Raises:
            NotFound: there is no such Secret.
            TransientError: the API server did not answer.
        """
        if ref is None:
            return None
        try:
            secret = self._api.get(SECRET, namespace, ref.name)
        except NotFound as error:
            raise NotFound(
                f"there is no Secret {ref.name!r}",
                where=f"namespace {namespace!r}",
                wanted="the credentials that secretRef names",
                hint=f"kubectl -n {namespace} create secret generic {ref.name} --from-literal=AWS_ACCESS_KEY_ID=…",
            ) from error
        return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}

    def _check(self, namespace: str, written: FeatureStore) -> None:
        """Raises NotAllowed if the store would be opened with what is the operator's alone, such as its network."""
        offline, online = written.spec.offline, written.spec.online
        permissions = self._policies.of(namespace)
        permissions.check_uri(offline.uri, "spec.offline.uri", secret=offline.secret_ref is not None)
        for uri in online.opened:
            permissions.check_uri(uri, f"spec.online.{online.room}", secret=online.secret_ref is not None)
        redis = online.redis
        if redis is not None and redis.managed is not None and redis.managed.image is not None:
            permissions.check_image(redis.managed.image, "spec.online.redis.managed.image")
        if written.spec.events is not None:
            # The operator itself would ask it.
            permissions.check_uri(written.spec.events.sink.url, "spec.events.sink.url", secret=False)

    def _namespace(self, namespace: str) -> dict[str, Any]:
        return self._api.get(NAMESPACE, "", namespace)["metadata"]  # type: ignore[no-any-return]

    def _secrets(self, namespace: str, resource: FeatureStore) -> Secrets:
        events = resource.spec.events
        return (
            self.credentials(namespace, resource.spec.offline.secret_ref),
            # Without a Secret none, and never those of the operator's own environment.
            self.credentials(namespace, resource.spec.online.secret_ref) or {},
            self.credentials(namespace, events.sink.secret_ref if events else None) or {},
        )

    def _opened(self, namespace: str, uid: str, resource: FeatureStore, secrets: Secrets) -> OpenStore:
        offline, online_secret = resource.spec.offline, resource.spec.online.secret_ref
        storage = Storage(offline.uri, secrets[0])
        index = open_index(storage, resource.spec, secrets[1])
        return OpenStore(
            resource=resource,
            uid=uid,
            storage=storage,
            registry=Registry(storage),
            index=index,
            published=OnlineVersions(storage, index),
            sink=sink_of(resource.spec.events, os.environ, secrets[2].get(SECRET_KEY, "")),
            environ=secrets[0],
            place=JobContext(
                namespace=namespace,
                root=storage.root,
                image=self._settings.job_image,
                service_account=self._settings.job_service_account,
                secret=offline.secret_ref.name if offline.secret_ref else None,
                online_secret=online_secret.name if online_secret else None,
            ),
        )
