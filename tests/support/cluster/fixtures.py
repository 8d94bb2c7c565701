"""Fixtures with a real API server. Each worker of pytest-xdist has its own; a namespace isolates each test."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.binaries import MissingError
from cluster.control_plane import ControlPlane
from cluster.control_plane import control_plane as started
from missing import not_here

CRDS = Path(__file__).parents[3] / "crds"
KINDS = ("featureviews", "datapipelines", "featurestores")
ESTABLISHED_S = 20.0


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real API server that knows our kinds, without controllers and nodes."""
    try:
        with started(tmp_path_factory.mktemp("control-plane")) as plane:
            apply_crds(plane)
            yield plane
    except MissingError as missing:
        not_here(str(missing))


@pytest.fixture(scope="module")
def controllers(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The API server with the controllers of Kubernetes and the scheduler, for the tests of one module."""
    with control_plane.controllers():
        yield control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """Name of a namespace of its own for each test; what is in it of our kinds is deleted at the end."""
    from kubernetes.client import CoreV1Api, CustomObjectsApi

    name = f"test-{uuid.uuid4().hex[:10]}"
    with control_plane.client() as client:
        CoreV1Api(client).create_namespace({"metadata": {"name": name}})
        yield name
        for kind in KINDS:
            CustomObjectsApi(client).delete_collection_namespaced_custom_object(
                "featurestore.dev", "v1alpha1", name, kind
            )
        CoreV1Api(client).delete_namespace(name)


def apply_crds(plane: ControlPlane, folder: Path = CRDS) -> None:
    """Return once the API server serves the kinds of these files."""
    plane.kubectl("apply", "--server-side", f"--filename={folder}")
    deadline = time.monotonic() + ESTABLISHED_S
    while not all(map(_established, json.loads(plane.kubectl("get", "crds", "-o", "json"))["items"])):
        assert time.monotonic() < deadline, plane.kubectl("get", "crds", "-o", "yaml")
        time.sleep(0.05)


def _established(crd: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    conditions = crd.get("status", {}).get("conditions", [])
    return any(it["type"] == "Established" and it["status"] == "True" for it in conditions)
