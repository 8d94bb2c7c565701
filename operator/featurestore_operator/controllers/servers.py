"""The feature server beside a FeatureStore: kept while ``spec.serving`` asks for it, removed when it no longer does."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from featurestore.errors import FeatureStoreError, NotFound, SpecError
from featurestore.failure import as_failure
from featurestore.humanize import count, sentence
from featurestore.reconcile.conditions import Condition, false, true
from featurestore.reconcile.reasons import Reason
from featurestore.resources.serving import Serving, ServingAuth
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import DEPLOYMENT, POD, SECRET, SERVICE
from featurestore_operator.kube.object_key import Key
from featurestore_operator.namespaces.kept_objects import KeptObjects, owner
from featurestore_operator.namespaces.managed_server import (
    account_of,
    name_of,
    server_objects,
    url_of,
)
from featurestore_operator.namespaces.open_store import OpenStore
from featurestore_operator.namespaces.token_reviewers import TokenReviewers
from featurestore_operator.policies.permissions import NotAllowed, Policies

_BY_HAND = (
    "Servers can find out who reads only once an administrator lets them: kubectl create clusterrolebinding "
    "featurestore-server-{namespace} --clusterrole=system:auth-delegator --serviceaccount={namespace}:{account}"
)
_LOADS = {"Resource": "their CPU", "Pods": "requests a second"}
"""What makes servers more, by the type of a metric of the autoscaler."""


class Servers:
    def __init__(self, cache: Cache, api: Api, policies: Policies, *, everywhere: bool) -> None:
        self._cache, self._api, self._policies = cache, api, policies
        self._kept = KeptObjects(api)
        self._reviewers = TokenReviewers(api, cache, everywhere=everywhere)
        self._without: dict[Key, int] = {}

    def look(
        self, key: Key, obj: dict[str, Any], store: OpenStore
    ) -> tuple[Condition | None, dict[str, Any] | None]:
        """How the server stands, and what the status says of it; None and None if none is wanted.

        Raises:
            TransientError: the API server did not answer.
        """
        serving = store.resource.spec.serving
        if serving is None:
            self._remove(key, obj, store)
            return None, None
        self._without.pop(key, None)
        facts = dict((obj.get("status") or {}).get("serving") or {"readyReplicas": 0})
        facts["url"] = url_of(key.name, key.namespace, serving)
        try:
            return self._keep(key, obj, store, serving, facts), facts
        except NotAllowed as error:
            return false("Serving", Reason.NOT_ALLOWED, f"{error}. What runs is left as it is."), facts
        except SpecError as error:
            refused = f"{sentence(as_failure(error))}. What runs is left as it is."
            return false("Serving", Reason.SPEC_INVALID, refused), facts

    def forget(self, key: Key) -> None:
        """The store is gone: Kubernetes removes what belonged to it, but for what is in no namespace."""
        self._without.pop(key, None)
        if not self._cache.names("FeatureStore", key.namespace):
            with suppress(FeatureStoreError):  # The next look at any store takes it away.
                self._reviewers.set(key.namespace, None)

    def _keep(
        self, key: Key, obj: dict[str, Any], store: OpenStore, serving: Serving, facts: dict[str, Any]
    ) -> Condition:
        permissions = self._policies.of(key.namespace)
        asks = serving.auth is ServingAuth.KUBERNETES
        permissions.check_template(serving.template, "spec.serving.template", mounts_token=asks)
        permissions.check_replicas(serving.replicas.max, "spec.serving.replicas.max")
        versions = [
            self._version(key.namespace, secret) for secret in (store.place.secret, store.place.online_secret)
        ]
        wanted = server_objects(store.resource, serving, owner(obj), store.place, versions)
        by_kind = {kept["kind"]: kept for kept in self._kept.keep(wanted, only_own=True)}
        account = account_of(key.name, serving) if asks else None
        bound = self._reviewers.set(key.namespace, account) or not asks
        deployment = by_kind["Deployment"]
        replicas = deployment["spec"].get("replicas", 1)
        if replicas < serving.replicas.min:
            # A new one begins with one replica, and the autoscaler looks at it after a while.
            floor = {"spec": {"replicas": serving.replicas.min}}
            deployment = self._api.patch(DEPLOYMENT, key.namespace, name_of(key.name), floor)
        by_hand = _BY_HAND.format(namespace=key.namespace, account=account) if not bound else ""
        facts["readyReplicas"] = deployment.get("status", {}).get("readyReplicas", 0)
        not_followed = unmeasured(by_kind["HorizontalPodAutoscaler"])
        return self._standing(key, deployment, facts, serving, not_followed, by_hand)

    def _version(self, namespace: str, secret: str | None) -> str:
        if secret is None:
            return ""
        try:
            return str(self._api.get(SECRET, namespace, secret)["metadata"]["resourceVersion"])
        except NotFound:
            return ""

    def _standing(
        self,
        key: Key,
        deployment: dict[str, Any],
        facts: dict[str, Any],
        serving: Serving,
        not_followed: str,
        by_hand: str,
    ) -> Condition:
        ready, wanted = facts["readyReplicas"], deployment["spec"].get("replicas", 1)
        if not ready:
            why = self._why(key, deployment)
            reason = Reason.SERVER_UNAVAILABLE if why or is_late(deployment) else Reason.STARTING
            return false("Serving", reason, f"No feature server is ready. {why} {by_hand}".rstrip())
        answers = f"{count(ready, 'feature server')} of {wanted} answer at {facts['url']}."
        if serving.auth is ServingAuth.NONE:
            answers += " Whoever reaches them reads every feature (auth: None)."
        if not_followed:
            answers += f" {not_followed}"
        if _rolls(deployment):
            new = deployment.get("status", {}).get("updatedReplicas", 0)
            rolling = f"{answers} Of those that the spec asks for now, {new} of {wanted} are there."
            hindered = self._why(key, deployment)
            return true("Serving", Reason.ROLLING, f"{rolling} {hindered} {by_hand}".rstrip())
        return true("Serving", Reason.ANSWERS, f"{answers} {by_hand}".rstrip())

    def _why(self, key: Key, deployment: dict[str, Any]) -> str:
        """What keeps pods from being made or from starting, if Kubernetes says."""
        for condition in deployment.get("status", {}).get("conditions", ()):
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                return f"No pod can be made: {condition.get('message', '')}"
        labels = deployment["spec"]["selector"]["matchLabels"]
        for pod in self._api.list(POD, key.namespace, labels):
            if why := hindrance(pod):
                return f"Pod {pod['metadata']['name']}: {why}"
        return ""

    def _remove(self, key: Key, obj: dict[str, Any], store: OpenStore) -> None:
        """Remove what there is of a server that is not wanted; looked for once for each spec, and after a restart."""
        metadata = obj["metadata"]
        if self._without.get(key) == metadata.get("generation", 0):
            return
        self._reviewers.set(key.namespace, None)
        wanted = server_objects(store.resource, Serving(), owner(obj), store.place, [])
        service = wanted[0]
        if self._kept.find(SERVICE, service) is not None:
            # The Service at last: while it is there, the others are looked for.
            self._kept.remove(reversed(wanted), metadata["uid"])
        self._without[key] = metadata.get("generation", 0)


def unmeasured(autoscaler: dict[str, Any]) -> str:
    """What the number of servers should follow and does not, since nothing in the cluster measures it; "" if all is measured,
    or if no autoscaler has looked yet."""
    spec, status = autoscaler["spec"], autoscaler.get("status", {})
    if spec["minReplicas"] == spec["maxReplicas"] or not status.get("conditions"):
        return ""
    # What cannot be had stands there without its type.
    measured = {metric.get("type") for metric in status.get("currentMetrics") or ()}
    missing = [_LOADS[metric["type"]] for metric in spec["metrics"] if metric["type"] not in measured]
    if not missing:
        return ""
    name = autoscaler["metadata"]["name"]
    return f"Their number does not follow {' and '.join(missing)}: nothing measures it (kubectl describe hpa {name})."


def is_late(deployment: dict[str, Any]) -> bool:
    """Whether Kubernetes has given up waiting for pods to be ready."""
    conditions = deployment.get("status", {}).get("conditions", ())
    return any(
        condition["type"] == "Progressing" and condition["status"] == "False" for condition in conditions
    )


def _rolls(deployment: dict[str, Any]) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    is_observed = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    counts = {status.get(field, 0) for field in ("replicas", "updatedReplicas", "readyReplicas")}
    return not is_observed or counts != {wanted}


def hindrance(pod: dict[str, Any]) -> str:
    """Why a pod does not serve; "" if it does, or is only starting."""
    status = pod.get("status", {})
    for container in status.get("containerStatuses", ()):
        state = container.get("state", {})
        waiting = state.get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            ended = container.get("lastState", {}).get("terminated", {}).get("message", "")
            return f"{waiting['reason']}: {ended.strip()[-500:] or waiting.get('message', '')}".rstrip(": ")
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"finds no node: {condition.get('message', '')}"
    return ""
