"""The workers beside a FeatureStore: as many as batches wanted at once, and none once nothing was asked of them for a while."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from featurestore.errors import NotFound, SpecError
from featurestore.failure import as_failure
from featurestore.humanize import count, sentence
from featurestore.reconcile.conditions import Condition, false, true
from featurestore.reconcile.reasons import Reason
from featurestore_operator.controllers.servers import hindrance, is_late
from featurestore_operator.informer.cache import Cache
from featurestore_operator.jobs.worker_manifest import worker_objects, workers_name
from featurestore_operator.jobs.workers import BatchWorkers, WorkersWanted, is_ready
from featurestore_operator.kube.access import own_namespace
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import DEPLOYMENT, SECRET, WORKERS_LABEL
from featurestore_operator.kube.object_key import Key
from featurestore_operator.namespaces.kept_objects import KeptObjects, owner
from featurestore_operator.namespaces.open_store import OpenStore
from featurestore_operator.policies.permissions import NotAllowed, Policies
from featurestore_operator.settings import Settings

_JOBS = "Batches have Jobs meanwhile."


class WarmWorkers:
    def __init__(
        self, cache: Cache, api: Api, policies: Policies, workers: BatchWorkers, settings: Settings
    ) -> None:
        self._cache, self._api, self._policies, self._workers = cache, api, policies, workers
        self._settings, self._kept = settings, KeptObjects(api)

    def look(self, key: Key, obj: dict[str, Any], store: OpenStore) -> Condition | None:
        """Keep what is wanted and remove what is idle. How the workers stand; None if there are none, nor are any wanted.

        Raises:
            TransientError: the API server did not answer.
        """
        wanted = self._workers.wanted(key.namespace)
        with_pods = {
            pod["metadata"]["labels"][WORKERS_LABEL] for pod in self._cache.worker_pods(key.namespace)
        }
        idle_us = store.resource.spec.workers.idle_timeout // timedelta(microseconds=1)
        stated = []
        for kind in sorted(wanted.keys() | with_pods):
            if self._workers.is_idle(key.namespace, kind, idle_us):
                self._remove(key, obj, kind)
            elif kind in wanted:
                stated.append(self._keep(key, obj, store, kind, wanted[kind]))
        # The worst of them says it for all.
        return min(stated, key=lambda condition: condition.status == "True", default=None)

    def _keep(
        self, key: Key, obj: dict[str, Any], store: OpenStore, kind: str, wanted: WorkersWanted
    ) -> Condition:
        spec, name = wanted.spec, workers_name(key.name, kind)
        try:
            replicas = min(self._most(key.namespace, name, wanted), store.resource.spec.workers.max_workers)
            self._policies.of(key.namespace).check_template(spec.job.template, "spec.job.template")
            versions = [self._version(key.namespace, secret) for secret in _secrets(store, wanted)]
            namespace = self._settings.lease_namespace or own_namespace(default="default")
            objects = worker_objects(key.name, spec, replicas, owner(obj), store.place, versions, namespace)
            deployment = self._kept.keep(objects, only_own=True)[-1]
        except SpecError as error:
            reason = Reason.NOT_ALLOWED if isinstance(error, NotAllowed) else Reason.SPEC_INVALID
            return false("Workers", reason, f"{sentence(as_failure(error))}. {_JOBS}")
        return self._standing(key.namespace, kind, replicas, deployment)

    def _most(self, namespace: str, name: str, wanted: WorkersWanted) -> int:
        """Workers that are wanted at once; no fewer than there are: another operator, or the one before this, saw more."""
        metadata = {"namespace": namespace, "name": name}
        existing = self._kept.find(DEPLOYMENT, {"metadata": metadata})
        return max(wanted.at_once, existing["spec"].get("replicas", 0) if existing is not None else 0)

    def _standing(self, namespace: str, kind: str, replicas: int, deployment: dict[str, Any]) -> Condition:
        pods = self._cache.worker_pods(namespace, kind)
        names = [pod["metadata"]["name"] for pod in pods if is_ready(pod)]
        if why := self._workers.unanswered(namespace, names):
            return false("Workers", Reason.WORKERS_UNAVAILABLE, f"A worker does not answer. {why}. {_JOBS}")
        if names:
            return true("Workers", Reason.ANSWERS, f"{count(len(names), 'worker')} of {replicas} are ready.")
        refusals = [
            f"No pod can be made: {condition.get('message', '')}"
            for condition in deployment.get("status", {}).get("conditions", ())
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
        ]
        hindrances = [f"Pod {pod['metadata']['name']}: {why}" for pod in pods if (why := hindrance(pod))]
        trouble = next(iter((*refusals, *hindrances)), "")
        reason = Reason.WORKERS_UNAVAILABLE if trouble or is_late(deployment) else Reason.STARTING
        return false("Workers", reason, " ".join(filter(None, ("No worker is ready.", trouble, _JOBS))))

    def _remove(self, key: Key, obj: dict[str, Any], kind: str) -> None:
        name = {"namespace": key.namespace, "name": workers_name(key.name, kind)}
        objects = [{"kind": each, "metadata": name} for each in ("Deployment", "NetworkPolicy")]
        self._kept.remove(objects, obj["metadata"]["uid"])

    def _version(self, namespace: str, secret: str) -> str:
        try:
            return str(self._api.get(SECRET, namespace, secret)["metadata"]["resourceVersion"])
        except NotFound:
            return ""


def _secrets(store: OpenStore, wanted: WorkersWanted) -> list[str]:
    """Names of the Secrets that are variables of the workers."""
    source = wanted.spec.source.credentials
    named = [
        *(store.place.secret, store.place.online_secret, source.name if source else None),
        *(each.secret_ref.name for each in wanted.spec.job.template.env_from if each.secret_ref),
    ]
    return [name for name in named if name]
