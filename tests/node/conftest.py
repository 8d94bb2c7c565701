"""The product on a node: built from this checkout, installed as a user installs it, once for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import flights
import pytest
from cluster.fixtures import namespace_of
from cluster.node import Node
from installed import Installed, install
from product import job_image, operator_image, redis_image
from tenant import Tenant

RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is asked of all tests here is asked after them."""
    items.sort(key=lambda item: "of_all" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def installed(cluster: Node, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The operator of this checkout on the node, and no other one."""
    folder = tmp_path_factory.mktemp("overlay")
    return install(cluster, folder, operator_image(cluster), job_image(cluster), redis_image(cluster))


@pytest.fixture
def tenant(installed: Installed) -> Iterator[Tenant]:
    """A namespace of its own, in which only pods of the restricted standard are let in."""
    with namespace_of(installed.node) as name, installed.node.client() as client:
        installed.node.kubectl("label", "namespace", name, RESTRICTED)
        tenant = Tenant(installed.node, client, name)
        yield tenant
        tenant.forbid()


@pytest.fixture(scope="session")
def s3(cluster_s3: dict[str, str]) -> dict[str, str]:
    """What a Secret holds that lets Jobs and models into the S3 server; it has the buckets of the example."""
    flights.make_buckets(cluster_s3)
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL")
    return {name: cluster_s3[name] for name in names}
