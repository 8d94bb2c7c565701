"""Fixtures with a real Kubernetes: an API server alone, or a cluster with a node.

Tests that ask for them are marked ``api_server`` and ``node``. Each process has one API server for all of its tests; one
process runs all of `pytest -m node`, since a machine can have one node. A namespace isolates each test.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import storage_server
from cluster.access import KubectlError
from cluster.binaries import MissingError
from cluster.control_plane import ControlPlane
from cluster.control_plane import control_plane as started
from cluster.image import base
from cluster.node import Node, check_machine
from cluster.node import node as started_node
from eventually import eventually
from unavailable import unavailable

from featurestore.resources.kinds import KINDS

CRDS = Path(__file__).parents[3] / "crds"
PLURALS = [kind.plural for kind in reversed(KINDS.values())]
"""What names others goes before what is named."""
ESTABLISHED_S = 120.0

ROOMS = {
    "node": ("cluster", "node"),
    "api_server": ("operator", "cluster", "docs", "install", "kubectl", "server"),
}
"""Where the tests of a mark are: what runs those collects no other folder of ``tests``."""


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real API server that knows our kinds, without controllers and nodes."""
    try:
        with started(tmp_path_factory.mktemp("control-plane")) as plane:
            apply_crds(plane)
            yield plane
    except MissingError as missing:
        unavailable(missing)


@pytest.fixture(scope="module")
def controllers(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The API server with the controllers of Kubernetes and the scheduler, for the tests of one module."""
    with control_plane.controllers():
        yield control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """Name of a namespace of its own for each test; what is in it of our kinds is deleted at the end."""
    with namespace_of(control_plane) as name:
        yield name


@pytest.fixture(scope="module")
def untouched_namespace(control_plane: ControlPlane) -> Iterator[str]:
    """Name of a namespace that the tests of a module share because they store nothing (``--dry-run=server``)."""
    with namespace_of(control_plane) as name:
        yield name


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A cluster with a node that runs pods and has the base image; it knows our kinds."""
    try:
        with started_node(tmp_path_factory.mktemp("node")) as running:
            apply_crds(running)
            running.load(base())
            yield running
    except MissingError as missing:
        unavailable(missing)


@pytest.fixture
def no_cluster() -> None:
    """This machine can run a node, and there is none yet: for tests that start their own."""
    try:
        check_machine()
    except MissingError as missing:
        unavailable(missing)


@pytest.fixture
def cluster_namespace(cluster: Node) -> Iterator[str]:
    """Name of a namespace of its own for each test, in the cluster with a node."""
    with namespace_of(cluster) as name:
        yield name


@pytest.fixture(scope="session")
def cluster_s3(cluster: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An S3 server that pods and tests reach: the environment that points at it."""
    with storage_server.s3(tmp_path_factory.mktemp("node-s3"), cluster.address) as environment:
        yield environment


@pytest.fixture(scope="session")
def cluster_redis(cluster: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis server that pods and tests reach."""
    with storage_server.redis(tmp_path_factory.mktemp("node-redis"), cluster.address) as url:
        yield url


# First, because `-m` selects in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"cluster", "no_cluster"} & _fixtures(item):
            _mark(item, "node")
        elif {"control_plane", "installed"} & _fixtures(item):
            _mark(item, "api_server")
    items.sort(key=lambda item: "no_cluster" not in _fixtures(item))


def _mark(item: pytest.Item, name: str) -> None:
    item.add_marker(name)
    room = item.nodeid.split("/")[1]
    if room not in (*ROOMS[name], "frameworks"):
        # It would be left out by the one stage and not be collected by the other.
        raise pytest.UsageError(f"{item.nodeid} is marked {name}: name {room} in ROOMS, in {__file__}")


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


@contextmanager
def namespace_of(plane: ControlPlane) -> Iterator[str]:
    """A namespace until the end of the block. What is in it of our kinds is deleted then, and with it what they own.

    The namespace itself goes where a node runs its pods: elsewhere that costs an API server two requests for each kind.
    """
    from kubernetes.client import ApiException, CoreV1Api, CustomObjectsApi, V1Namespace, V1ObjectMeta

    name = f"test-{uuid.uuid4().hex[:10]}"
    with plane.client() as client:
        CoreV1Api(client).create_namespace(V1Namespace(metadata=V1ObjectMeta(name=name)))
        yield name
        for kind in PLURALS:
            CustomObjectsApi(client).delete_collection_namespaced_custom_object(
                "featurestore.dev", "v1alpha1", name, kind
            )
        if not isinstance(plane, Node):
            return
        try:
            CoreV1Api(client).delete_namespace(name)
        except ApiException as refusal:
            if refusal.status != 404:  # The test may have deleted it.
                raise


def apply_crds(plane: ControlPlane, folder: Path = CRDS) -> None:
    """Return once the API server serves the kinds of these files, from its memory too."""
    plane.kubectl("apply", "--server-side", f"--filename={folder}")
    deadline = time.monotonic() + ESTABLISHED_S
    while not all(map(_established, crds := json.loads(plane.kubectl("get", "crds", "-o", "json"))["items"])):
        assert time.monotonic() < deadline, plane.kubectl("get", "crds", "-o", "yaml")
        time.sleep(0.05)
    for spec in (crd["spec"] for crd in crds):
        for version in (it["name"] for it in spec["versions"] if it["served"]):
            path = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}?resourceVersion=0&limit=1"
            eventually(partial(_is_remembered, plane, path), ESTABLISHED_S)


def _is_remembered(plane: ControlPlane, path: str) -> bool:
    """A kind that is new is "(re)initializing" for a moment after it is established: lists are refused with 429."""
    try:
        plane.kubectl("get", f"--raw={path}")
    except KubectlError:
        return False
    return True


def _established(crd: dict[str, dict[str, list[dict[str, str]] | None]]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or ()
    return any(it["type"] == "Established" and it["status"] == "True" for it in conditions)
