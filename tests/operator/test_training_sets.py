"""Training sets in a cluster: a Job makes each version, the status tells of it, and data goes with the resource if asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cluster.control_plane import ControlPlane
from cluster_story import LOOK_S, Story, begun_story
from eventually import eventually

from featurestore.resources.kinds import KINDS
from featurestore.storage.objects import Storage

pytestmark = pytest.mark.slow
WITHIN_S = 120.0


@pytest.fixture
def it(controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with begun_story(controllers, tmp_path_factory.mktemp("training")) as begun:
        begun.settle()
        yield begun


def status(it: Story) -> dict[str, Any]:
    found: dict[str, Any] = it.get("trainingset", "set").get("status", {})
    return found


def test_each_new_commit_makes_a_version_that_readers_find_and_deleting_it_deletes_them(it: Story) -> None:
    it.apply(it.training_set(refresh="OnNewData", deletionPolicy="Delete"))
    eventually(lambda: status(it).get("version") == 1, WITHIN_S, it.told, each_s=LOOK_S)
    assert any(job["metadata"]["labels"].get(KINDS["TrainingSet"].label) == "set" for job in it.jobs())
    it.next()
    it.settle()
    eventually(lambda: status(it).get("rows") == it.files, WITHIN_S, it.told, each_s=LOOK_S)
    data = it.reader().training_set("set")
    assert (data.digest, data.number) == (status(it)["digest"], status(it)["version"])
    assert [row["things__v"] for row in data.to_arrow().to_pylist()] == list(range(1, it.files + 1))
    ready = next(it for it in status(it)["conditions"] if it["type"] == "Ready")
    assert ready["status"] == "True"
    it.delete("trainingset", "set")
    eventually(lambda: not it.is_there("trainingset", "set"), WITHIN_S, it.told, each_s=LOOK_S)
    assert Storage(it.root).names("trainingsets/set") == []
