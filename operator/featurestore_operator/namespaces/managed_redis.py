"""A Redis server for small installations, kept beside its FeatureStore: StatefulSet, Service, Secret, NetworkPolicy, budget.

It holds nothing that cannot be rebuilt: a lost volume costs one publication of every view.
"""

from __future__ import annotations

import base64
from typing import Any

from featurestore.resources import FeatureStore
from featurestore.resources.feature_store import ManagedRedis, Online, Redis
from featurestore.resources.metadata import SecretRef
from featurestore_operator.jobs.restricted_pod import ingress_policy, operator_pods
from featurestore_operator.kube.api_resources import MANAGED

PORT = 6379
PASSWORD = "REDIS_PASSWORD"
_FLOOR_BYTES = 32 * 2**20


def name_of(store: str) -> str:
    return f"{store}-redis"


def pod_labels(store: str) -> dict[str, str]:
    """Labels of its pod, and of all that stands beside it."""
    return {**MANAGED, "app.kubernetes.io/name": "featurestore-redis", "app.kubernetes.io/instance": store}


def resolved(store: FeatureStore, namespace: str) -> FeatureStore:
    """The store as clients see it: a managed Redis is a URL, and a Secret with its password."""
    redis = store.spec.online.redis
    if redis is None or redis.managed is None:
        return store
    name = name_of(store.metadata.name)
    url = Redis(url=f"redis://{name}.{namespace}.svc:{PORT}/0", secret_ref=SecretRef(name=name))
    spec = store.spec.model_copy(update={"online": Online(redis=url)})
    return store.model_copy(update={"spec": spec})


def objects(
    store: str,
    namespace: str,
    owner: dict[str, Any],
    managed: ManagedRedis,
    image: str,
    operator_namespace: str,
) -> list[dict[str, Any]]:
    """What is applied, but for the Secret, which is made once."""
    name = name_of(store)
    labels = pod_labels(store)
    metadata = {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": [owner]}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "redis", "port": PORT, "targetPort": PORT}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": metadata,
            "spec": {
                "serviceName": name,
                "replicas": 1,
                # In order, a pod that cannot start would keep the mended one from taking its place.
                "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": _pod(name, managed, managed.image or image),
                },
            },
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
        },
        # All pods of the namespace, which may know the password, and the operator.
        ingress_policy(
            metadata,
            {"matchLabels": labels},
            {"from": [{"podSelector": {}}, operator_pods(operator_namespace)]},
            PORT,
        ),
    ]


def secret(store: str, namespace: str, owner: dict[str, Any], password: str) -> dict[str, Any]:
    """The password that server and clients share. It is created if absent and never changed."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name_of(store),
            "namespace": namespace,
            "labels": MANAGED,
            "ownerReferences": [owner],
        },
        "type": "Opaque",
        "data": {PASSWORD: base64.b64encode(password.encode()).decode()},
    }


def _pod(name: str, managed: ManagedRedis, image: str) -> dict[str, Any]:
    data = managed.memory
    # What Redis holds besides its data (buffers, fragmentation) needs room, too.
    limit = data + data // 3 + _FLOOR_BYTES
    # In a file, not among the arguments: those are read by whoever lists processes.
    command = (
        "umask 077 && printf 'requirepass %s\\n' \"$REDIS_PASSWORD\" > /tmp/redis.conf && "
        f"exec redis-server /tmp/redis.conf --port {PORT} --maxmemory {data} "
        "--maxmemory-policy noeviction --save '' --appendonly no --dir /tmp"
    )
    ping = {
        "exec": {"command": ["sh", "-c", 'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli ping | grep -q PONG']}
    }
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 10,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 999,
            "runAsGroup": 999,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "containers": [
            {
                "name": "redis",
                "image": image,
                "command": ["sh", "-c", command],
                "envFrom": [{"secretRef": {"name": name}}],
                "ports": [{"name": "redis", "containerPort": PORT}],
                "readinessProbe": {**ping, "periodSeconds": 2},
                "livenessProbe": {**ping, "periodSeconds": 20, "timeoutSeconds": 5},
                "resources": {"requests": {"memory": str(limit)}, "limits": {"memory": str(limit)}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            }
        ],
    }
