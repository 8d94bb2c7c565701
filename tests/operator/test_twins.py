"""A view and a service of one name: the older keeps it, however they came to be there both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import manifest
import pytest
from cluster.control_plane import ControlPlane
from crowd import Crowd

from featurestore.registry.registry import Registry
from featurestore.resources import FeatureService, FeatureView
from featurestore.storage.objects import Storage
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import FEATURE_VIEW, OURS
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics

SERVICE = OURS["FeatureService"]


@pytest.fixture
def crowd(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Crowd]:
    api = Api(access.configuration(str(control_plane.kubeconfig)), Metrics())
    yield Crowd(api, tmp_path)
    api.close()


def ready(crowd: Crowd, kind: str, namespace: str) -> dict[str, Any]:
    crowd.cache.put(OURS[kind], crowd.api.get(OURS[kind], namespace, "x"))
    crowd.controller.handle(Key(kind, namespace, "x"))
    (condition,) = [
        it
        for it in crowd.api.get(OURS[kind], namespace, "x")["status"]["conditions"]
        if it["type"] == "Ready"
    ]
    return condition


def test_a_service_that_came_with_a_view_of_its_name_is_invalid_until_the_view_goes(
    crowd: Crowd, namespace: str
) -> None:
    crowd.pipelines(namespace, "p")
    crowd.look(namespace, "p")
    made = (manifest.view(namespace, "y", "p"), manifest.view(namespace, "x", "p"))
    for it in made:
        crowd.cache.put(FEATURE_VIEW, crowd.api.create(FEATURE_VIEW, it))
        crowd.controller.handle(Key("FeatureView", namespace, it["metadata"]["name"]))
    # No webhook answered: as when both are made at once, before either is known to it.
    crowd.cache.put(SERVICE, crowd.api.create(SERVICE, manifest.service(namespace, "x", "y")))
    registry = Registry(Storage(str(crowd.folder / namespace)))
    told = ready(crowd, "FeatureService", namespace)
    assert told["reason"] == "SpecInvalid"
    assert told["message"].startswith("a view has the name of this service")
    assert ready(crowd, "FeatureView", namespace)["reason"] != "SpecInvalid"
    assert registry.names(FeatureService) == []
    assert sorted(registry.names(FeatureView)) == ["x", "y"]
    view = crowd.api.get(FEATURE_VIEW, namespace, "x")
    crowd.woken.clear()
    crowd.api.delete(FEATURE_VIEW, namespace, "x")
    crowd.cache.drop(FEATURE_VIEW, namespace, "x", view["metadata"]["uid"])
    assert Key("FeatureService", namespace, "x") in crowd.woken
    assert ready(crowd, "FeatureService", namespace)["reason"] != "SpecInvalid"
    assert registry.names(FeatureService) == ["x"]
