"""On a node too: another version takes over while Jobs run and files come, and back, and each row is there once.

The operator of both versions is today's, by two names of its image; the definitions are those of
:mod:`older_version`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import flights
import pytest
from cluster.fixtures import CRDS, apply_crds
from examples import exhaustive
from installed import Installed, install
from older_version import write_older_definitions
from product import operator_image, redis_image
from tenant import Tenant

pytestmark = pytest.mark.skipif(not exhaustive(), reason="the node's part of an upgrade: make test-all")


class Versions:
    """``put``: whatever version runs is put over by this one, which brings its definitions first."""

    def __init__(self, installed: Installed, operator: str, folder: Path) -> None:
        self._installed, self._folder, self._numbers = installed, folder, count()
        self._operator = {"newer": operator, "older": f"{operator.rpartition(':')[0]}:older"}
        self.job = {"newer": installed.job_image, "older": f"{installed.job_image.rpartition(':')[0]}:older"}
        self._definitions = {"newer": CRDS, "older": folder / "definitions"}
        write_older_definitions(self._definitions["older"], but=["source.secretRef"])
        for images in (self._operator, self.job):
            installed.node.tag_image(images["newer"], images["older"])

    def put(self, version: str) -> None:
        node = self._installed.node
        overlay = self._folder / f"overlay-{next(self._numbers)}"
        overlay.mkdir()
        install(node, overlay, self._operator[version], self.job[version], redis_image(node))
        apply_crds(node, self._definitions[version])


@pytest.fixture
def versions(installed: Installed, tmp_path: Path) -> Iterator[Versions]:
    """Afterwards the node has today's version again."""
    made = Versions(installed, operator_image(installed.node), tmp_path)
    yield made
    made.put("newer")


def job_images(tenant: Tenant) -> set[str]:
    return {it["spec"]["template"]["spec"]["containers"][0]["image"] for it in tenant.all("job")}


def test_rows_that_come_while_versions_go_forth_and_back_on_a_node_are_each_there_once(
    versions: Versions, tenant: Tenant, installed: Installed, s3: dict[str, str]
) -> None:
    versions.put("older")
    flights.begin(tenant, s3)
    days: list[int] = []
    for version in ("newer", "older"):
        # The first is in a Job, the second in none yet, and the third comes to the other version.
        first, second, third = range(len(days) + 1, len(days) + 4)
        flights.put(s3, tenant.namespace, first)
        tenant.job_pod()
        flights.put(s3, tenant.namespace, second)
        versions.put(version)
        flights.put(s3, tenant.namespace, third)
        days += [first, second, third]
        flights.rests_with(tenant, installed, *days)
        assert versions.job[version] in job_images(tenant)
