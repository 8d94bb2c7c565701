"""What was mended is noticed at once, what somebody asks for again is done again, and what others changed is set back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import manifest
import pytest
import storage_server
from cluster.control_plane import ControlPlane
from crowd import Crowd
from eventually import eventually
from server import free_port
from tenants import Tenants

from featurestore_operator.kube import access
from featurestore_operator.kube.access import own_namespace
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import (
    CONFIG_MAP,
    DATA_PIPELINE,
    EVENT,
    FEATURE_STORE,
    FEATURE_VIEW,
    JOB,
    NETWORK_POLICY,
    POD,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    STATEFUL_SET,
)
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics
from featurestore_operator.namespaces.managed_redis import pod_labels

FAILED_US = 1_700_000_000_000_000
"""When `Crowd.end` has Jobs fail."""
MANAGED = {"redis": {"managed": {"memory": "64Mi", "image": "redis:wrong"}}}


@pytest.fixture
def crowd(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Crowd]:
    api = Api(access.configuration(str(control_plane.kubeconfig)), Metrics())
    yield Crowd(api, tmp_path)
    api.close()


def annotate(crowd: Crowd, namespace: str, name: str, **annotations: str) -> None:
    wanted = {"metadata": {"annotations": {f"featurestore.dev/{key}": it for key, it in annotations.items()}}}
    crowd.cache.put(DATA_PIPELINE, crowd.api.patch(DATA_PIPELINE, namespace, name, wanted))


def store(crowd: Crowd, namespace: str, **spec: object) -> Key:
    found = manifest.store(namespace)
    found["spec"] = {"offline": {"uri": str(crowd.folder / namespace)}, **spec}
    crowd.cache.put(FEATURE_STORE, crowd.api.create(FEATURE_STORE, found))
    return Key("FeatureStore", namespace, "default")


def test_each_new_value_of_the_annotation_retry_tries_again_at_once_what_failed(
    crowd: Crowd, namespace: str
) -> None:
    crowd.pipelines(namespace, "p")
    crowd.look(namespace, "p")
    key = Key("DataPipeline", namespace, "p")
    for number in (1, 2):
        crowd.end(namespace, "p")
        # No look of these is later than the failure lets it be tried again.
        crowd.now_us = 1_700_000_000_000_000
        crowd.controller.handle(key)
        assert len(crowd.api.list(JOB, namespace)) == number
        annotate(crowd, namespace, "p", retry=f"because of {number}")
        crowd.controller.handle(key)
        crowd.controller.handle(key)
        assert len(crowd.api.list(JOB, namespace)) == number + 1


def test_each_new_value_of_the_annotation_refresh_lists_the_source_at_once(
    crowd: Crowd, namespace: str
) -> None:
    crowd.pipelines(namespace, "p")
    file = crowd.folder / "raw" / "a.parquet"
    file.rename(crowd.folder / "a.parquet")
    assert crowd.look(namespace, "p")["Ready"]["reason"] == "WaitingForFiles"
    (crowd.folder / "a.parquet").rename(file)

    def pending() -> int:
        key = Key("DataPipeline", namespace, "p")
        crowd.now_us += 1_000_000
        crowd.cache.wake(key)
        crowd.controller.handle(key)
        return int(crowd.api.get(DATA_PIPELINE, namespace, "p")["status"]["pendingFiles"])

    assert pending() == 0
    annotate(crowd, namespace, "p", refresh="now")
    # Long before it would be listed by itself: a file is taken that two listings found the same.
    assert [pending() for _ in range(4)][-1] == 1


def test_storage_that_answers_again_wakes_whoever_it_did_not_answer(crowd: Crowd, namespace: str) -> None:
    crowd.pipelines(namespace, "p", "q")
    root = crowd.folder / namespace
    root.touch()
    keys = [Key("DataPipeline", namespace, name) for name in ("p", "q")]
    for key in keys:
        crowd.controller.handle(key)
    root.unlink()
    crowd.woken.clear()
    crowd.controller.handle(keys[0])
    assert keys[1] in crowd.woken


def test_a_job_that_failed_is_tried_again_at_once_when_storage_answers_again(
    crowd: Crowd, namespace: str
) -> None:
    crowd.pipelines(namespace, "p")
    crowd.look(namespace, "p")
    crowd.end(namespace, "p")
    key, root, aside = Key("DataPipeline", namespace, "p"), crowd.folder / namespace, crowd.folder / "aside"
    # No look of these is later than the failure lets it be tried again.
    crowd.now_us = FAILED_US
    root.rename(aside)
    root.touch()
    crowd.controller.handle(key)
    root.unlink()
    aside.rename(root)
    assert len(crowd.api.list(JOB, namespace)) == 1
    crowd.now_us += 1
    crowd.woken.clear()
    crowd.controller.handle(key)
    assert key in crowd.woken
    crowd.controller.handle(key)
    assert len(crowd.api.list(JOB, namespace)) == 2


def test_a_job_that_failed_is_tried_again_at_once_when_redis_answers_again(
    crowd: Crowd, namespace: str, tmp_path: Path
) -> None:
    port = free_port()
    online = {"redis": {"url": f"redis://127.0.0.1:{port}/0"}}
    crowd.pipelines(namespace, "p", online=online)
    crowd.look(namespace, "p")
    crowd.end(namespace, "p")
    key, its_store = Key("DataPipeline", namespace, "p"), Key("FeatureStore", namespace, "default")
    crowd.now_us = FAILED_US
    crowd.controller.handle(its_store)
    crowd.controller.handle(key)
    assert len(crowd.api.list(JOB, namespace)) == 1
    crowd.cache.put(FEATURE_STORE, crowd.api.get(FEATURE_STORE, namespace, "default"))
    crowd.now_us += 1
    with storage_server.redis(tmp_path, port=port):
        crowd.woken.clear()
        crowd.controller.handle(its_store)
        assert key in crowd.woken
        crowd.controller.handle(key)
    assert len(crowd.api.list(JOB, namespace)) == 2


def test_a_managed_redis_that_cannot_start_says_why_in_the_store_and_by_an_event(
    control_plane: ControlPlane, crowd: Crowd, namespace: str
) -> None:
    control_plane.kubectl("create", "serviceaccount", "default", f"--namespace={namespace}")
    key = store(crowd, namespace, online=MANAGED)
    crowd.controller.handle(key)
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    status = {
        "phase": "Pending",
        "containerStatuses": [
            {
                "name": "redis",
                "image": "redis:wrong",
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": {"waiting": waiting},
            }
        ],
    }
    labels = pod_labels("default")
    metadata = {"name": "default-redis-0", "namespace": namespace, "labels": labels}
    container = {"name": "redis", "image": "redis:wrong"}
    crowd.api.create(
        POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    )
    crowd.api.apply_status(POD, {"metadata": {**metadata}, "status": status})
    crowd.cache.put(FEATURE_STORE, crowd.api.get(FEATURE_STORE, namespace, "default"))
    crowd.controller.handle(key)
    words = "Pod default-redis-0: ImagePullBackOff: no such image"
    ready = crowd.api.get(FEATURE_STORE, namespace, "default")["status"]["conditions"][0]
    assert (ready["type"], ready["reason"]) == ("Ready", "CannotStart")
    assert words in ready["message"]
    events = {event["reason"]: event for event in crowd.api.list(EVENT, namespace)}
    assert words in events["CannotStart"]["message"]


def test_a_redis_that_answers_again_wakes_the_views(crowd: Crowd, namespace: str, tmp_path: Path) -> None:
    port = free_port()
    key = store(crowd, namespace, online={"redis": {"url": f"redis://127.0.0.1:{port}/0"}})
    crowd.cache.put(FEATURE_VIEW, crowd.api.create(FEATURE_VIEW, manifest.view(namespace, "v", "p")))
    crowd.controller.handle(key)
    found = crowd.api.get(FEATURE_STORE, namespace, "default")["status"]["conditions"]
    assert {it["type"]: it["status"] for it in found}["OnlineReachable"] == "False"
    crowd.cache.put(FEATURE_STORE, crowd.api.get(FEATURE_STORE, namespace, "default"))
    with storage_server.redis(tmp_path, port=port):
        crowd.woken.clear()
        crowd.controller.handle(key)
    assert Key("FeatureView", namespace, "v") in crowd.woken


def test_what_others_changed_beside_a_store_is_set_back_and_nothing_is_written_else(
    control_plane: ControlPlane, crowd: Crowd, namespace: str
) -> None:
    key = store(crowd, namespace, online=MANAGED)

    def versions() -> list[str]:
        crowd.controller.handle(key)
        found = [crowd.api.get(it, namespace, "default-redis") for it in (STATEFUL_SET, SERVICE)]
        found.append(crowd.api.get(CONFIG_MAP, namespace, "featurestore-default"))
        return [it["metadata"]["resourceVersion"] for it in found]

    assert versions() == versions()
    root = {"data": {"FEATURESTORE_URI": "s3://elsewhere/root"}}
    crowd.api.patch(CONFIG_MAP, namespace, "featurestore-default", root)
    crowd.api.patch(
        SERVICE, namespace, "default-redis", {"spec": {"selector": {"app.kubernetes.io/instance": "x"}}}
    )
    image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "other"}]
    control = [
        "patch",
        "statefulset",
        "default-redis",
        "-n",
        namespace,
        "--type=json",
        f"-p={json.dumps(image)}",
    ]
    control_plane.kubectl(*control)
    assert versions() == versions()
    service = crowd.api.get(SERVICE, namespace, "default-redis")
    assert service["spec"]["selector"]["app.kubernetes.io/instance"] == "default"
    data = crowd.api.get(CONFIG_MAP, namespace, "featurestore-default")["data"]
    assert data["FEATURESTORE_URI"] != "s3://elsewhere/root"
    found = crowd.api.get(STATEFUL_SET, namespace, "default-redis")["spec"]["template"]["spec"]
    assert found["containers"][0]["image"] == "redis:wrong"


def test_a_policy_and_a_budget_that_others_changed_beside_a_store_are_set_back(
    crowd: Crowd, namespace: str
) -> None:
    key = store(crowd, namespace, online=MANAGED)
    crowd.controller.handle(key)
    kinds = (NETWORK_POLICY, POD_DISRUPTION_BUDGET, SERVICE)

    def specs() -> list[object]:
        return [crowd.api.get(it, namespace, "default-redis")["spec"] for it in kinds]

    before = specs()
    # The last of each leave all that is wanted, and mean something else.
    added = {"matchLabels": {"nobody": "has"}}
    for resource, change in (
        (NETWORK_POLICY, {"ingress": [{}]}),
        (NETWORK_POLICY, {"podSelector": added}),
        (POD_DISRUPTION_BUDGET, {"maxUnavailable": 7}),
        (SERVICE, {"selector": {"nobody": "has"}}),
    ):
        crowd.api.patch(resource, namespace, "default-redis", {"spec": change})
        assert specs() != before
        crowd.controller.handle(key)
        assert specs() == before, change


def test_a_managed_redis_lets_in_its_namespace_and_the_operator_and_asks_for_a_password(
    crowd: Crowd, namespace: str
) -> None:
    crowd.controller.handle(store(crowd, namespace, online=MANAGED))
    policy = crowd.api.get(NETWORK_POLICY, namespace, "default-redis")["spec"]
    operator = {
        "namespaceSelector": {
            "matchLabels": {"kubernetes.io/metadata.name": own_namespace(default="default")}
        },
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "featurestore-operator"}},
    }
    assert [it["from"] for it in policy["ingress"]] == [[{"podSelector": {}}, operator]]
    template = crowd.api.get(STATEFUL_SET, namespace, "default-redis")["spec"]["template"]
    assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    [container] = template["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "default-redis"}}]
    assert "requirepass %s" in container["command"][-1]
    assert crowd.api.get(SECRET, namespace, "default-redis")["data"]["REDIS_PASSWORD"]


def test_a_managed_redis_whose_image_was_wrong_starts_with_the_mended_one(
    controllers: ControlPlane, crowd: Crowd, namespace: str
) -> None:
    key = store(crowd, namespace, online=MANAGED)
    crowd.controller.handle(key)

    def images() -> list[str]:
        return [it["spec"]["containers"][0]["image"] for it in crowd.api.list(POD, namespace)]

    eventually(lambda: images() == ["redis:wrong"], 60)
    mended = {"spec": {"online": {"redis": {"managed": {"image": "redis:7.4"}}}}}
    crowd.cache.put(FEATURE_STORE, crowd.api.patch(FEATURE_STORE, namespace, "default", mended))
    crowd.controller.handle(key)
    # Its pod never became ready: nothing runs pods here.
    eventually(lambda: images() == ["redis:7.4"], 60)


def test_a_policy_that_is_taken_away_wakes_pipelines_that_rest(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage_server.buckets(tmp_path / "s3", "features") as credentials:
        for name, value in credentials.items():
            monkeypatch.setenv(name, value)
        them = Tenants(control_plane)
        them.allow(f"own-{namespace}", {"names": [namespace]}, uriPrefixes=["s3://features/"])
        them.allow(f"raw-{namespace}", {"names": [namespace]}, uriPrefixes=["s3://features/raw/"])
        them.store(namespace, f"s3://features/{namespace}")
        them.pipeline(namespace, "s3://features/raw/*.parquet")
        assert them.looked_at(namespace, "DataPipeline")["Ready"]["reason"] == "WaitingForFiles"
        them.forbid(f"own-{namespace}")
        them.forbid(f"raw-{namespace}")
        assert them.looked_at(namespace, "DataPipeline")["Ready"]["status"] == "False"
        them.close()
