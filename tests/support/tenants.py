"""Namespaces that share a cluster and an operator: a controller before a real API server, in the test's own process.

The operator's own identity is that of the process: it reaches all of a bucket. No namespace has a Secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import manifest
from cluster.control_plane import ControlPlane

from featurestore_operator.controllers.controller import Controller
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import FEATURE_STORE_POLICY, JOB, OURS, SECRET
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics
from featurestore_operator.settings import Settings

Object = dict[str, Any]
STEP_US = 11_000_000
"""Longer than policies are kept, and than a pipeline is left alone."""
LOOKS = 4


@dataclass
class Tenants:
    """``now_us``: what the controller takes for the time; each look is later than the one before."""

    plane: ControlPlane
    now_us: int = 1_700_000_000_000_000
    policies: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api = Api(access.configuration(str(self.plane.kubeconfig)), Metrics())
        self.cache = Cache(lambda key, after_s: None)
        self.controller = Controller(
            self.cache, self.api, Settings(identity="it"), Metrics(), clock=lambda: self.now_us
        )

    def close(self) -> None:
        for name in self.policies:
            self.forbid(name)
        self.api.close()

    def store(
        self,
        namespace: str,
        uri: str,
        secret: str | None = None,
        online: Object | None = None,
        **annotations: str,
    ) -> None:
        """The namespace's FeatureStore, at this place. ``secret``: the name of one with the keys."""
        found = manifest.store(namespace)
        found["spec"] = {"offline": {"uri": uri, **_secret_ref(secret)}, "online": online or {"duckdb": {}}}
        found["metadata"]["annotations"] = annotations
        self._apply(found)

    def secret(self, namespace: str, name: str, **keys: str) -> None:
        """A Secret of the namespace."""
        metadata = {"name": name, "namespace": namespace}
        self.api.create(SECRET, {"metadata": metadata, "stringData": keys})

    def pipeline(
        self, namespace: str, uri: str, template: Object | None = None, name: str = "p", **spec: Any
    ) -> None:
        """A pipeline of the namespace, of the files at this place."""
        found = manifest.pipeline(namespace, name)
        found["spec"] |= {
            "source": {"uri": uri, "format": "Parquet"},
            "job": {"template": template or {}},
            **spec,
        }
        self._apply(found)

    def training_set(self, namespace: str, name: str, uri: str) -> None:
        """A training set of labels at this place, of a view that needs no pipeline."""
        features = [{"name": "twice", "type": "int64", "expression": "v * 2"}]
        view = {"onDemand": {"request": [{"name": "v", "type": "int64"}]}, "features": features}
        labels = {"uri": uri, "timestampField": "ts", "columns": ["w"]}
        training_set = {"features": {"names": ["twice:twice"]}, "labels": labels}
        for kind, called, spec in (("FeatureView", "twice", view), ("TrainingSet", name, training_set)):
            metadata = {"name": called, "namespace": namespace}
            self._apply({"apiVersion": manifest.OURS, "kind": kind, "metadata": metadata, "spec": spec})

    def allow(self, name: str, namespaces: Object, **spec: Any) -> None:
        """The administrator's policy: what these namespaces may use."""
        self.policies.append(name)
        kind = {"apiVersion": manifest.OURS, "kind": "FeatureStorePolicy", "metadata": {"name": name}}
        self.plane.kubectl(
            "apply", "-f", "-", stdin=manifest.text({**kind, "spec": {"namespaces": namespaces, **spec}})
        )

    def forbid(self, name: str) -> None:
        """That policy holds no more."""
        self.api.delete(FEATURE_STORE_POLICY, "", name)

    def looked_at(self, namespace: str, kind: str = "FeatureStore", pipeline: str = "p") -> Object:
        """Status of the namespace's store or of a pipeline after the controller looked: condition types to conditions."""
        name = "default" if kind == "FeatureStore" else pipeline
        for _ in range(LOOKS):
            self._look(Key(kind, namespace, name))
        status = self.api.get(OURS[kind], namespace, name).get("status") or {}
        return {it["type"]: it for it in status.get("conditions", ())}

    def delete(self, namespace: str) -> None:
        """The namespace's pipeline is to go, as ``kubectl delete`` says; what follows from it has been done."""
        key = Key("DataPipeline", namespace, "p")
        self.api.delete(OURS[key.kind], namespace, key.name)
        for _ in range(LOOKS):
            if any(it["metadata"]["name"] == key.name for it in self.api.list(OURS[key.kind], namespace)):
                self._look(key)

    def jobs(self, namespace: str) -> list[Object]:
        return self.api.list(JOB, namespace)

    def _apply(self, found: Object) -> None:
        self.plane.kubectl("apply", "-f", "-", stdin=manifest.text(found))
        resource, metadata = OURS[found["kind"]], found["metadata"]
        self.cache.put(resource, self.api.get(resource, metadata["namespace"], metadata["name"]))

    def _look(self, key: Key) -> None:
        """The controller looks, later than before, and knows the object as it is."""
        self.now_us += STEP_US
        self.cache.put(OURS[key.kind], self.api.get(OURS[key.kind], key.namespace, key.name))
        self.controller.handle(key)


def _secret_ref(name: str | None) -> Object:
    return {} if name is None else {"secretRef": {"name": name}}
