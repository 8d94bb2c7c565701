"""Calls to a real API server, and what its refusals become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cluster.control_plane import ControlPlane
from eventually import eventually
from manifest import erasure, job, pipeline, pod, service, store, training_set, view

from featurestore.errors import Conflict, NotFound, SpecError, TransientError
from featurestore_operator.informer.cache import Cache
from featurestore_operator.informer.relist import Relist
from featurestore_operator.kube import access, api_resources
from featurestore_operator.kube.api import Api, Forbidden, Terminating
from featurestore_operator.kube.event import event, tell
from featurestore_operator.kube.object_key import Key


class Calls:
    """What the meter was told."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, int]] = []

    def called(self, verb: str, resource: str, code: int, seconds: float) -> None:
        self.made.append((verb, resource, code))


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def api(control_plane: ControlPlane, calls: Calls) -> Iterator[Api]:
    it = Api(access.configuration(str(control_plane.kubeconfig)), calls)
    yield it
    it.close()


def remembers(
    api: Api, namespace: str, resource: api_resources.ApiResource, versions: dict[str, str]
) -> None:
    """Wait until lists from the API server's memory, which follows its writes, have just these objects."""

    def listed() -> dict[str, str]:
        found = (
            item["metadata"]
            for item in api.each_metadata(resource, namespace, api_resources.WATCHED[resource])
        )
        return {it["name"]: it["resourceVersion"] for it in found}

    eventually(lambda: listed() == versions, why=listed)


def test_applying_the_same_again_changes_nothing(api: Api, namespace: str) -> None:
    # The first time, the API server does not store the status that it fills in; it does with the next write.
    versions = [
        api.apply(api_resources.DATA_PIPELINE, pipeline(namespace, "flights"))["metadata"]["resourceVersion"]
        for _ in range(3)
    ]
    assert versions[1] == versions[2]


def test_a_status_is_applied_beside_a_spec_that_others_own(api: Api, namespace: str, calls: Calls) -> None:
    api.create(api_resources.DATA_PIPELINE, pipeline(namespace, "flights", "theirs"))
    metadata = {"namespace": namespace, "name": "flights"}
    api.apply_status(api_resources.DATA_PIPELINE, {"metadata": metadata, "status": {"rows": 7}})
    found = api.get(api_resources.DATA_PIPELINE, namespace, "flights")
    assert found["status"]["rows"] == 7
    assert found["spec"]["description"] == "theirs"
    assert ("patch", "datapipelines/status", 200) in calls.made


def test_a_status_makes_no_object(api: Api, namespace: str) -> None:
    manifest: dict[str, Any] = {"metadata": {"namespace": namespace, "name": "gone"}, "status": {"rows": 7}}
    with pytest.raises(NotFound):
        api.apply_status(api_resources.DATA_PIPELINE, manifest)


def test_objects_are_listed_by_label_with_their_kind(api: Api, namespace: str) -> None:
    api.create(api_resources.JOB, job(namespace, "flights-1", "flights"))
    found = api.list(api_resources.JOB, namespace, {"featurestore.dev/pipeline": "flights"})
    assert [(it["kind"], it["metadata"]["name"]) for it in found] == [("Job", "flights-1")]
    assert api.list(api_resources.JOB, namespace, {"featurestore.dev/pipeline": "other"}) == []


def test_a_patch_changes_one_field(api: Api, namespace: str) -> None:
    api.create(api_resources.JOB, job(namespace, "flights-1", "flights"))
    changed = api.patch(api_resources.JOB, namespace, "flights-1", {"spec": {"ttlSecondsAfterFinished": 60}})
    assert changed["spec"]["ttlSecondsAfterFinished"] == 60


def test_what_is_deleted_is_that_object_and_may_be_gone(api: Api, namespace: str) -> None:
    made = api.create(api_resources.DATA_PIPELINE, pipeline(namespace, "flights"))
    with pytest.raises(Conflict):
        api.delete(api_resources.DATA_PIPELINE, namespace, "flights", uid="another")
    for _ in range(2):
        api.delete(api_resources.DATA_PIPELINE, namespace, "flights", uid=made["metadata"]["uid"])


def test_what_is_there_already_and_what_was_changed_meanwhile_is_a_conflict(api: Api, namespace: str) -> None:
    made = api.create(api_resources.DATA_PIPELINE, pipeline(namespace, "flights"))
    with pytest.raises(Conflict):
        api.create(api_resources.DATA_PIPELINE, pipeline(namespace, "flights"))
    api.apply(api_resources.DATA_PIPELINE, pipeline(namespace, "flights", "meanwhile"))
    with pytest.raises(Conflict):
        api.replace(api_resources.DATA_PIPELINE, made)


def test_what_is_not_there_is_named(api: Api, namespace: str, calls: Calls) -> None:
    with pytest.raises(NotFound, match=f"there is no Job 'flights' in namespace {namespace}"):
        api.get(api_resources.JOB, namespace, "flights")
    assert calls.made == [("get", "jobs", 404)]


def test_a_missing_permission_is_said_in_words(
    control_plane: ControlPlane, namespace: str, calls: Calls
) -> None:
    ann = Api(access.configuration(str(control_plane.kubeconfig_of("ann"))), calls)
    with pytest.raises(Forbidden) as refused:
        ann.apply(api_resources.JOB, job(namespace, "flights-1", "flights"))
    ann.close()
    assert f"the operator may not patch jobs in namespace {namespace}" in str(refused.value)
    assert "Role with the verb patch on jobs" in str(refused.value)
    assert not refused.value.retryable


def test_a_namespace_that_is_being_deleted_lets_nothing_new_in_which_is_no_missing_permission(
    control_plane: ControlPlane, api: Api, namespace: str
) -> None:
    made = api.create(api_resources.DATA_PIPELINE, pipeline(namespace, "flights"))
    control_plane.kubectl("delete", "namespace", namespace, "--wait=false")
    with pytest.raises(Terminating, match=f"namespace {namespace} is being deleted") as refused:
        api.create(api_resources.JOB, job(namespace, "flights-1", "flights"))
    assert not isinstance(refused.value, Forbidden)
    status = {"metadata": {"namespace": namespace, "name": "flights"}, "status": {"rows": 7}}
    assert api.apply_status(api_resources.DATA_PIPELINE, status)["metadata"]["uid"] == made["metadata"]["uid"]


def test_an_invalid_object_is_refused_with_the_servers_words(api: Api, namespace: str) -> None:
    bad = view(namespace, "aircraft", "flights")
    bad["spec"]["features"][0]["type"] = "int63"
    with pytest.raises(SpecError, match=r"features\[0\].type"):
        api.create(api_resources.FEATURE_VIEW, bad)


def test_a_server_that_is_away_is_no_absence(
    control_plane: ControlPlane, api: Api, namespace: str, calls: Calls
) -> None:
    control_plane.stop_api_server()
    try:
        with pytest.raises(TransientError):
            api.get(api_resources.JOB, namespace, "flights")
    finally:
        control_plane.start_api_server()
    assert calls.made == [("get", "jobs", 0)]


def test_an_event_of_what_happens_again_is_counted(api: Api, namespace: str) -> None:
    about = api.create(api_resources.DATA_PIPELINE, pipeline(namespace, "flights"))
    at_us = 1_767_225_600_000_000
    for number in range(3):
        moment_us = at_us + number * 60_000_000
        tell(api, event(about, "Warning", "Failed", f"time {number}", moment_us, "pod-7"))
    tell(api, event(about, "Normal", "UpToDate", "nothing fails", at_us, "pod-7"))
    normal, warning = sorted(api.list(api_resources.EVENT, namespace), key=lambda one: str(one["type"]))
    assert warning["involvedObject"]["uid"] == about["metadata"]["uid"]
    assert (warning["count"], warning["message"]) == (3, "time 2")
    assert (warning["firstTimestamp"], warning["lastTimestamp"]) == (
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:02:00Z",
    )
    assert normal["count"] == 1


def test_a_census_finds_what_no_watch_told(api: Api, namespace: str) -> None:
    woken: list[Key] = []
    cache = Cache(lambda key, _: woken.append(key))
    for manifest in (pipeline(namespace, "goes"), pipeline(namespace, "changes")):
        cache.put(api_resources.DATA_PIPELINE, api.create(api_resources.DATA_PIPELINE, manifest))
    api.delete(api_resources.DATA_PIPELINE, namespace, "goes")
    new = api.create(api_resources.FEATURE_STORE, store(namespace))["metadata"]
    after = api.apply(api_resources.DATA_PIPELINE, pipeline(namespace, "changes", "after"))["metadata"]
    woken.clear()

    remembers(api, namespace, api_resources.DATA_PIPELINE, {"changes": after["resourceVersion"]})
    remembers(api, namespace, api_resources.FEATURE_STORE, {"default": new["resourceVersion"]})
    census = Relist(api, cache, [namespace])
    assert census.drop_what_is_gone() == 1
    assert {name for _, _, name in census.missed()} == {"default", "changes"}
    census.fetch(census.missed())

    assert census.missed() == []
    assert cache.get(Key("DataPipeline", namespace, "goes")) is None
    changed = cache.get(Key("DataPipeline", namespace, "changes"))
    assert changed is not None
    assert changed["spec"]["description"] == "after"
    assert {key.name for key in woken} == {"goes", "default", "changes"}


@pytest.mark.parametrize("kind", api_resources.WATCHED, ids=lambda kind: kind.plural)
def test_what_no_watch_told_is_fetched(
    control_plane: ControlPlane, api: Api, namespace: str, calls: Calls, kind: api_resources.ApiResource
) -> None:
    made = {
        api_resources.FEATURE_STORE: store(namespace, "it"),
        api_resources.DATA_PIPELINE: pipeline(namespace, "it"),
        api_resources.FEATURE_VIEW: view(namespace, "it", "flights"),
        api_resources.OURS["FeatureService"]: service(namespace, "it", "flights"),
        api_resources.OURS["TrainingSet"]: training_set(namespace, "it", "aircraft", "flights"),
        api_resources.OURS["Erasure"]: erasure(namespace, "it", "aircraft"),
        api_resources.JOB: job(namespace, "it", "flights"),
        api_resources.POD: pod(namespace, "it", "flights"),
    }
    control_plane.kubectl("create", "serviceaccount", "jobs", f"--namespace={namespace}")
    version = api.create(kind, made[kind])["metadata"]["resourceVersion"]
    remembers(api, namespace, kind, {"it": version})
    cache = Cache(lambda key, _: None)
    census = Relist(api, cache, [namespace])
    calls.made.clear()
    census.fetch(census.missed())
    assert calls.made == [("get", kind.plural, 200)]
    assert census.missed() == []


def test_a_census_leaves_alone_what_came_after_it(api: Api, namespace: str) -> None:
    cache = Cache(lambda key, _: None)
    census = Relist(api, cache, [namespace])
    cache.put(
        api_resources.DATA_PIPELINE, api.create(api_resources.DATA_PIPELINE, pipeline(namespace, "later"))
    )
    assert census.drop_what_is_gone() == 0
    assert census.missed() == []
    assert cache.get(Key("DataPipeline", namespace, "later")) is not None


def test_an_older_version_never_replaces_a_newer_one(api: Api, namespace: str) -> None:
    cache = Cache(lambda key, _: None)
    older = api.create(api_resources.DATA_PIPELINE, pipeline(namespace, "flights", "older"))
    newer = api.apply(api_resources.DATA_PIPELINE, pipeline(namespace, "flights", "newer"))
    cache.put(api_resources.DATA_PIPELINE, newer)
    cache.put(api_resources.DATA_PIPELINE, older)
    found = cache.get(Key("DataPipeline", namespace, "flights"))
    assert found is not None
    assert found["spec"]["description"] == "newer"
