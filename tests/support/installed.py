"""The operator as a user installs it: by kubectl and an overlay that names the images."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from cluster.access import KubectlError
from cluster.node import Node
from installation import DEPLOY, NAMESPACE

OPERATOR = f"system:serviceaccount:{NAMESPACE}:featurestore-operator"
PODS = "--selector=app.kubernetes.io/name=featurestore-operator"
READY_S = 600


@dataclass(frozen=True)
class Installed:
    """``job_image``: of its Jobs. ``ready_s``: from ``kubectl apply`` to pods that are ready."""

    node: Node
    job_image: str
    ready_s: float

    def log(self) -> str:
        """What all of its pods have said."""
        return self.node.kubectl("logs", PODS, "--tail=-1", f"--namespace={NAMESPACE}")


def install(node: Node, folder: Path, operator: str, job: str, redis: str) -> Installed:
    """The operator that these images make, once it is ready. ``folder``: an empty one, for the overlay."""
    overlay(folder, operator, {"JOB_IMAGE": job, "REDIS_IMAGE": redis})
    started = time.monotonic()
    node.kubectl("apply", "--server-side", "--kustomize", folder)
    rollout = ("rollout", "status", "deployment/featurestore-operator", f"--timeout={READY_S}s")
    try:
        node.kubectl(*rollout, f"--namespace={NAMESPACE}")
    except KubectlError as late:
        told = node.kubectl("describe", "pods,replicasets", f"--namespace={NAMESPACE}")
        raise AssertionError(f"{late}\n{told}") from None
    return Installed(node, job, time.monotonic() - started)


def overlay(folder: Path, operator: str, settings: dict[str, str]) -> None:
    """Write the kustomization that docs/install.md has, into an empty folder."""
    name, _, tag = operator.rpartition(":")
    # Paths in a kustomization are relative.
    base = os.path.relpath(DEPLOY, folder.resolve())
    variables = [{"name": f"FEATURESTORE_OPERATOR_{key}", "value": value} for key, value in settings.items()]
    container = {"name": "operator", "env": variables}
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "featurestore-operator"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    content = {
        "resources": [base],
        "images": [{"name": "featurestore-operator", "newName": name, "newTag": tag}],
        "patches": [
            {"target": {"kind": "Deployment", "name": "featurestore-operator"}, "patch": json.dumps(patch)}
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
