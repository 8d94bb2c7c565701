"""What the pods of Jobs and of servers have in common: the restricted Pod Security Standard, and what a template says.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

from __future__ import annotations

from typing import Any

from featurestore.resources.pod_template import PodTemplate

_PLACEMENT = ("nodeSelector", "tolerations", "affinity", "priorityClassName", "imagePullSecrets")
CPU = "500m"
"""What a pod requests whose template says nothing: it keeps one processor half busy, and fits on a small node."""


def pod_and_container(
    template: PodTemplate, name: str, image: str, account: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parts of a pod's spec, and of its only container, which has a folder for what it writes.

    ``name``: of the container. ``image``, ``account``: where the template names none.
    """
    fields = template.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    pod = {
        "serviceAccountName": template.service_account_name or account,
        "automountServiceAccountToken": False,
        # Services of the namespace are no variables of ours.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **{field: fields[field] for field in _PLACEMENT if field in fields},
        "volumes": [{"name": "scratch", "emptyDir": {}}, *fields.get("volumes", [])],
    }
    container = {
        "name": name,
        "image": template.image or image,
        **({"imagePullPolicy": fields["imagePullPolicy"]} if "imagePullPolicy" in fields else {}),
        "env": [{"name": "TMPDIR", "value": "/scratch"}, *fields.get("env", [])],
        "envFrom": fields.get("envFrom", []),
        "resources": {"requests": {"cpu": fields.get("cpu", CPU)}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}, *fields.get("volumeMounts", [])],
    }
    return pod, container


def secrets_of(*names: str | None) -> list[dict[str, Any]]:
    """Secrets that are variables as a whole; None is none."""
    return [{"secretRef": {"name": name}} for name in names if name]


def ingress_policy(
    metadata: dict[str, Any], selector: dict[str, Any], clients: dict[str, Any], port: int
) -> dict[str, Any]:
    """The NetworkPolicy that lets nobody but these clients connect to pods, and to one port only. ``clients``: all if empty."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": selector,
            "policyTypes": ["Ingress"],
            "ingress": [{**clients, "ports": [{"port": port, "protocol": "TCP"}]}],
        },
    }


def operator_pods(namespace: str) -> dict[str, Any]:
    """Who may connect, in a NetworkPolicy: the pods of the operator in this namespace."""
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "featurestore-operator"}},
    }
