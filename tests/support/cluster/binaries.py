"""Where the programs are that a cluster is made of; `tests/services` brings them.

Those written in Go are built from source, pinned by the ``go.mod`` files in ``tests/cluster``, into a cache keyed
by version.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "cluster"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "featurestore-tests"


RELEASE = "release"
"""Argument of `tests/services` that brings what only releases need."""
OF_RELEASES = ("oras", "registry", "syft", "operator-verify", "bin/twine")
SCALING = "scaling"
"""Argument that brings what only `make test-all` needs."""
OF_SCALING = ("metrics-server", "scaling")


class MissingError(Exception):
    """What this machine lacks, and what to do about it."""


def version(module: str, folder: str = ".") -> str:
    """``v1.34.4``: the one that ``go.mod`` in this folder of ``tests/cluster`` pins."""
    found = re.search(
        rf"^(?:require |\t){re.escape(module)} (v\S+)", (SOURCE / folder / "go.mod").read_text(), re.M
    )
    assert found, f"go.mod requires {module}"
    return found[1]


def built(name: str) -> Path:
    """Path of a program that is built from source: of Kubernetes, ``versitygw``, ``nats-server``, and others below.

    Raises:
        MissingError: it was not built.
    """
    match name:
        case "dns":
            folder = f"dns-{version('github.com/coredns/coredns', 'dns')}"
        case "gitops":
            folder = f"gitops-{version('sigs.k8s.io/cli-utils', 'gitops')}"
        case "gcs":
            folder = f"gcs-{version('github.com/fsouza/fake-gcs-server', 'gcs')}"
        case "node_modules/.bin/azurite-blob":
            folder = "azurite-3.35.0"
        case "pause":
            folder = "pause-1"
        case "versitygw":
            folder = "versitygw-v1.8.0"
        case "helm":
            folder = "helm-v3.22.0"
        case "nats-server":
            folder = "nats-2.15.2"
        case "bin/feast":
            folder = "feast-0.67"
        case "bin/twine":
            folder = "twine-7"
        case "oras":
            folder = "oras-v1.3.6"
        case "registry":
            folder = "registry-v3.1.2"
        case "syft":
            folder = "syft-v1.57.1"
        case "operator-verify":
            folder = "operator-verify-v0.31.0"
        case "metrics-server" | "scaling":
            folder = f"scaling-{version('sigs.k8s.io/metrics-server', 'scaling')}"
        case _:
            folder = f"kubernetes-{version('k8s.io/kubernetes')}"
    path = CACHE / folder / name
    if not path.exists():
        argument = f" {RELEASE}" if name in OF_RELEASES else f" {SCALING}" if name in OF_SCALING else ""
        raise MissingError(f"{path} is not there: run tests/services{argument}")
    return path


ENVIRONMENTS = {
    "mlflow": "mlflow-3.17",
    "kserve": "kserve-0.21",
    "kubeflow": "kfp-2.17",
    "torch": "torch-2.15",
    "tensorflow": "tensorflow-2.21",
    "ray": "ray-2.60",
    "python": "python-3.13",
    "openlineage": "openlineage-1.54",
    "cloudevents": "cloudevents-2.2",
    "charms": "ops-3.9",
}
"""Platforms that are installed in environments of their own, by the extra that brings them; and another Python."""


def environment_python(extra: str) -> Path:
    """The interpreter that has a platform, and all that our wheel needs.

    Raises:
        MissingError: it was not installed.
    """
    path = CACHE / ENVIRONMENTS[extra] / "bin/python"
    if not path.exists():
        raise MissingError(f"{path} is not there: run tests/services")
    return path


def foreign_definitions() -> Path:
    """Folder of the definitions that the Prometheus Operator, cert-manager and KServe install.

    Raises:
        MissingError: they were not fetched.
    """
    path = CACHE / "definitions-2"
    if not path.exists():
        raise MissingError(f"{path} is not there: run tests/services")
    return path


def training_controllers_folder() -> Path:
    """Folder of the controllers that run trainings, and of the definitions that they need.

    Raises:
        MissingError: they were not built.
    """
    path = CACHE / "training-controllers-1"
    if not path.exists():
        raise MissingError(f"{path} is not there: run tests/services frameworks")
    return path


def kafka_jars() -> Path:
    """Folder of the jars of Kafka.

    Raises:
        MissingError: they were not fetched.
    """
    path = CACHE / "kafka-4.4.0"
    if not path.exists():
        raise MissingError(f"{path} is not there: run tests/services")
    return path


def installed(name: str) -> Path:
    """Path of a program of the system.

    Raises:
        MissingError: it is not on the PATH.
    """
    path = shutil.which(name)
    if path is None:
        raise MissingError(f"{name} is not on the PATH: run tests/services")
    return Path(path)
