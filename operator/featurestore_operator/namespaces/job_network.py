"""Where Jobs and workers of a namespace may connect, if whoever installs the operator says so: a NetworkPolicy beside the store.

Policies only add up: it keeps pods from what no other policy of the namespace lets them reach.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from featurestore_operator.jobs.job_manifest import JOB_NAME
from featurestore_operator.jobs.worker_manifest import WORKER_NAME
from featurestore_operator.kube.api_resources import MANAGED
from featurestore_operator.namespaces.managed_redis import PORT, pod_labels

Object = dict[str, Any]


def job_network(
    store: str, namespace: str, owner: Object, rules: Iterable[Object], *, has_redis: bool
) -> Object:
    """The NetworkPolicy. ``rules``: as in ``egress`` of one; the namespace's managed Redis is added to them if it has one."""
    redis = {
        "to": [{"podSelector": {"matchLabels": pod_labels(store)}}],
        "ports": [{"port": PORT, "protocol": "TCP"}],
    }
    pods = {"key": "app.kubernetes.io/name", "operator": "In", "values": [JOB_NAME, WORKER_NAME]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": f"featurestore-{store}-jobs",
            "namespace": namespace,
            "labels": MANAGED,
            "ownerReferences": [owner],
        },
        "spec": {
            "podSelector": {"matchExpressions": [pods]},
            "policyTypes": ["Egress"],
            "egress": [*map(_whole, rules), *([redis] if has_redis else [])],
        },
    }


def _whole(rule: Object) -> Object:
    """The rule as the API server gives it back, with which it is compared."""
    ports = [{"protocol": "TCP", **port} for port in rule.get("ports") or ()]
    return {name: value for name, value in {**rule, "ports": ports}.items() if value}
