"""A team's namespace in a cluster: resources are applied to it, conditions read from it, pods run in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import yaml
from cluster.control_plane import ControlPlane
from conditions import Object, ReportsConditions
from eventually import eventually

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

OURS = "apis/featurestore.dev/v1alpha1"
APIS = {"pod": "api/v1", "service": "api/v1", "job": "apis/batch/v1", "deployment": "apis/apps/v1"}


@dataclass(frozen=True)
class Tenant(ReportsConditions):
    """``client``: of somebody who may do everything."""

    patience_s: ClassVar[float] = 100.0
    plane: ControlPlane
    client: ApiClient
    namespace: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.plane.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)

    def apply(self, *manifests: Object) -> None:
        self.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(manifests))

    def secret(self, name: str, **keys: str) -> Object:
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}

    def allow(self, *prefixes: str) -> None:
        """What the cluster's administrator says: these URIs may be opened for the namespace without its keys."""
        spec = {"namespaces": {"names": [self.namespace]}, "uriPrefixes": [*prefixes]}
        metadata = {"name": self.namespace}
        self.apply(
            {
                "apiVersion": OURS.removeprefix("apis/"),
                "kind": "FeatureStorePolicy",
                "metadata": metadata,
                "spec": spec,
            }
        )

    def forbid(self) -> None:
        """Whatever that was, it may not be opened any more."""
        self.kubectl("delete", "featurestorepolicy", self.namespace, "--ignore-not-found")

    def get(self, kind: str, name: str) -> Object:
        return self._asked(f"{self._path(kind)}/{name}")

    def all(self, kind: str, labels: str = "") -> list[Object]:
        """Those of a kind, perhaps only those with these labels."""
        found: list[Object] = self._asked(self._path(kind), {"labelSelector": labels})["items"]
        return found

    def job_pod(self, phase: str = "Running") -> str:
        """Name of the pod of a Job, once it is in this phase."""
        names: list[str] = []

        def are_there() -> bool:
            pods = self.all("pod", "app.kubernetes.io/name=featurestore-job")
            names[:] = [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == phase]
            return bool(names)

        eventually(are_there, 120, self.told)
        return names[0]

    def told(self) -> str:
        found = [it for kind in ("featurestore", "datapipeline", "featureview") for it in self.all(kind)]
        said = [f"{it['metadata']['name']}: {json.dumps(it.get('status'), indent=1)}" for it in found]
        pods = self.kubectl("get", "pods,jobs", "--output=wide")
        logs = self.kubectl(
            "logs", "--selector=app.kubernetes.io/name=featurestore-job", "--tail=-1", "--prefix"
        )
        return "\n".join((*said, pods, logs[-3000:]))

    def run(self, manifest: Object, within_s: float = 180.0) -> str:
        """What a pod prints that ends well."""
        self.apply(manifest)
        name = manifest["metadata"]["name"]
        return self.printed(name, within_s)

    def printed(self, pod: str, within_s: float = 180.0) -> str:
        """What the pod printed, once it has ended well."""

        def succeeded() -> bool:
            phase = self.get("pod", pod)["status"].get("phase")
            assert phase != "Failed", self.kubectl("describe", "pod", pod) + self.log(pod)
            return bool(phase == "Succeeded")

        eventually(succeeded, within_s, lambda: self.kubectl("describe", "pod", pod) + self.log(pod))
        return self.log(pod)

    def log(self, pod: str) -> str:
        return self.kubectl("logs", pod)

    def _path(self, kind: str) -> str:
        return f"/{APIS.get(kind, OURS)}/namespaces/{self.namespace}/{kind}s"

    def _asked(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        # A kubectl for each look would take half of a small machine.
        pool = self.client.rest_client.pool_manager
        answer = pool.request("GET", f"{self.plane.url}{path}", fields=query or {})
        assert answer.status == 200, answer.data
        found: Object = json.loads(answer.data)
        return found


def reader(name: str, image: str, program: str, secrets: Sequence[str], store: str = "default") -> Object:
    """A pod of a model's: the store's ConfigMap and the Secrets are its environment, and the API server it cannot ask."""
    sources = [{"configMapRef": {"name": f"featurestore-{store}"}}]
    sources += [{"secretRef": {"name": it}} for it in secrets]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "model",
                    "image": image,
                    "command": ["python", "-c", program],
                    "envFrom": sources,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
