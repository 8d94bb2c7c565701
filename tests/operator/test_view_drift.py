"""Drift in a cluster: Jobs measure it, the status tells of it, and what has drifted is kept from readers if asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from cluster_story import LOOK_S, Story, story
from eventually import eventually

pytestmark = pytest.mark.slow
WITHIN_S = 120.0
HOLD = {
    "reference": {"trainingSet": "set"},
    "drift": [{"metric": "PSI", "above": 0.2}],
    "onDrift": "HoldPublish",
}


@pytest.fixture
def it(controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with (
        namespace_of(controllers) as namespace,
        story(controllers, namespace, tmp_path_factory.mktemp("drift")) as told,
    ):
        told.apply(told.store(), told.pipeline(), told.view(monitoring=HOLD), told.training_set())
        told.start()
        yield told


def status_of(it: Story, kind: str) -> str:
    conditions = it.get("featureview", "things").get("status", {}).get("conditions", ())
    return next((found["status"] for found in conditions if found["type"] == kind), "")


def test_values_that_differ_from_the_training_sets_are_told_and_held_back(it: Story) -> None:
    it.drop_many(1500)
    eventually(lambda: status_of(it, "Drifted") == "False", WITHIN_S, it.told, each_s=LOOK_S)
    eventually(lambda: it.get("featureview", "things")["status"].get("onlineCommit") == 1, WITHIN_S, it.told)
    it.drop_many(1500, more=100_000, name="later.parquet")
    eventually(lambda: status_of(it, "Drifted") == "True", WITHIN_S, it.told, each_s=LOOK_S)
    assert it.get("featureview", "things")["status"]["offlineCommit"] == 2
    assert status_of(it, "OnlineSynced") == "False"
    assert it.reader().get_features(["things:v"], [{"k": "k7"}]).to_dict()["v"] == [7]
