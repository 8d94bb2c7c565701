"""Workers that stay, as the API server takes them: a Deployment whose pods are what a Job's would be, and a NetworkPolicy.

One Deployment for all pipelines of a store whose pods would be alike: see ``worker_kind`` of a pipeline's spec.
"""

from __future__ import annotations

from typing import Any

from featurestore.digest import digest
from featurestore.protocol import WORKER_PORT
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore_operator.jobs.job_manifest import JobContext, source_secret
from featurestore_operator.jobs.memory import memory
from featurestore_operator.jobs.restricted_pod import (
    ingress_policy,
    operator_pods,
    pod_and_container,
    secrets_of,
)
from featurestore_operator.kube.api_resources import MANAGED, WORKERS_LABEL

WORKER_NAME = "featurestore-worker"
"""What the pods of workers are, by the label ``app.kubernetes.io/name``."""
CONTAINER = "worker"
_GRACE_S = 30
"""How long the batch that runs has when a pod is told to end."""


def workers_name(store: str, kind: str) -> str:
    """Of the Deployment."""
    return f"{store}-worker-{kind}"


def worker_objects(
    store: str,
    spec: DataPipelineSpec,
    replicas: int,
    owner: dict[str, Any],
    place: JobContext,
    secret_versions: list[str],
    operator_namespace: str,
) -> list[dict[str, Any]]:
    """What is applied for the workers of pipelines such as this one. ``secret_versions``: pods read Secrets when they start."""
    name, template = workers_name(store, spec.worker_kind), spec.job.template
    labels = {**MANAGED, "app.kubernetes.io/name": WORKER_NAME, WORKERS_LABEL: spec.worker_kind}
    metadata = {"name": name, "namespace": place.namespace, "labels": labels, "ownerReferences": [owner]}
    selector = {"matchLabels": labels}
    return [
        ingress_policy(metadata, selector, {"from": [operator_pods(operator_namespace)]}, WORKER_PORT),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": replicas,
                "selector": selector,
                "template": {
                    "metadata": {
                        "labels": {**template.labels, **labels},
                        "annotations": {
                            **template.annotations,
                            "featurestore.dev/secrets": digest(secret_versions),
                        },
                    },
                    "spec": _pod(spec, place),
                },
            },
        },
    ]


def _pod(spec: DataPipelineSpec, place: JobContext) -> dict[str, Any]:
    pod, container = pod_and_container(spec.job.template, CONTAINER, place.image, place.service_account)
    asked = memory(spec.resources, None, 0, 0)
    own = {
        "args": ["--worker", place.root, "--kind", spec.worker_kind],
        "envFrom": [
            *secrets_of(place.secret, place.online_secret),
            *source_secret(spec.source.credentials),
            *container["envFrom"],
        ],
        "ports": [{"name": "batches", "containerPort": WORKER_PORT}],
        # Whatever runs: a connection is taken, or turned away, by the process that stays.
        "readinessProbe": {"tcpSocket": {"port": WORKER_PORT}, "periodSeconds": 2, "timeoutSeconds": 5},
        "livenessProbe": {
            "tcpSocket": {"port": WORKER_PORT},
            "initialDelaySeconds": 60,
            "periodSeconds": 20,
            "timeoutSeconds": 10,
        },
        "resources": {
            "requests": {"memory": str(asked.request_bytes), **container["resources"]["requests"]},
            "limits": {"memory": str(asked.limit_bytes)},
        },
    }
    return {**pod, "terminationGracePeriodSeconds": _GRACE_S, "containers": [{**container, **own}]}
