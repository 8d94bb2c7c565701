"""Resources, Jobs and pods that are changed and deleted at any stage: it is said in words, and heals."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.control_plane import ControlPlane
from cluster_story import Object, Story, begun_story, story
from eventually import eventually

from featurestore.registry.changeset import Before
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.storage.objects import Storage
from featurestore_operator.jobs.job_manifest import CONTAINER
from featurestore_operator.kube.api_resources import EVENT, JOB, POD, SECRET
from featurestore_operator.webhook.admission import review

pytestmark = pytest.mark.slow
COLUMN_V = {"name": "v", "type": "int64", "column": "v"}


@pytest.fixture(scope="module")
def shared(controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """One story for all tests: each finds all settled, and leaves it so."""
    with begun_story(controllers, tmp_path_factory.mktemp("changes")) as begun:
        yield begun


@pytest.fixture
def it(shared: Story) -> Story:
    shared.node.resume()
    shared.settle()
    return shared


def paused(it: Story) -> int:
    """A new file, whose Job runs and stands still; number of pods that ran before."""
    it.node.paused = True
    before = len(it.node.ran)
    it.next()
    eventually(lambda: len(it.node.ran) == before + 1)
    return before


def running(it: Story) -> str:
    """Name of the Job that is not over; "" if there is none."""
    names = [job["metadata"]["name"] for job in it.jobs() if not job["status"].get("conditions")]
    return ",".join(names)


def test_a_spec_that_is_changed_while_its_job_runs_starts_no_second_one(it: Story) -> None:
    before = paused(it)
    it.apply(it.pipeline(description="another"))
    eventually(lambda: it.get("datapipeline", "events")["status"].get("observedGeneration", 0) > 1)
    assert "is running" in it.until("datapipeline", "events", "Running", "Progressing")["message"]
    it.node.resume()
    it.settle()
    assert len(it.node.ran) == before + 1
    it.apply(it.pipeline())


def test_a_service_and_a_view_on_demand_are_ready_and_fresh_as_their_views_are(it: Story) -> None:
    things = it.view()
    spec = {"features": [{"name": "twice", "type": "int64", "expression": "v * 2"}]}
    doubled = {
        **things,
        "metadata": {"name": "doubled"},
        "spec": {"onDemand": {"inputs": ["things:v"]}, **spec},
    }
    model = {
        **things,
        "kind": "FeatureService",
        "metadata": {"name": "model"},
        "spec": {"features": ["doubled:*", "things:v"]},
    }
    it.apply(model)
    it.until("featureservice", "model", "ResourceMissing")
    it.apply(doubled)
    it.until("featureservice", "model", "UpToDate")
    value = it.next()
    it.settle()

    def fresh(kind: str, name: str) -> object:
        return it.get(kind, name)["status"].get("watermark")

    newest = fresh("featureview", "things")
    eventually(lambda: fresh("featureservice", "model") == newest == fresh("featureview", "doubled"))
    assert it.get("featureservice", "model")["status"]["features"] == 2
    assert it.reader().get_features("model", [{"k": "a"}]).to_dict() == {
        "k": ["a"],
        "twice": [value * 2],
        "v": [value],
    }
    it.delete("featureview", "doubled")
    it.until("featureservice", "model", "ResourceMissing")
    it.delete("featureservice", "model")
    eventually(lambda: not it.is_there("featureservice", "model"))


def test_events_tell_what_fails_how_often_and_that_it_no_longer_does(it: Story) -> None:
    def model(*features: str) -> Object:
        return {
            **it.view(),
            "kind": "FeatureService",
            "metadata": {"name": "told"},
            "spec": {"features": features},
        }

    def events() -> list[tuple[str, str, int]]:
        every = it.api.list(EVENT, it.namespace)
        about = [event for event in every if event["involvedObject"]["name"] in ("told", "calm")]
        return sorted((event["type"], event["reason"], event["count"]) for event in about)

    it.apply(it.pipeline("calm"), model("things:v"))
    it.until("datapipeline", "calm", "WaitingForFiles")
    it.drop("1.parquet", {"k": ["a"], "ts": ["2024-01-01T00:00:00"], "v": [1]}, "calm")
    it.until("datapipeline", "calm", "UpToDate", rows=1)
    it.until("featureservice", "told", "UpToDate")
    assert events() == []
    it.apply(model("things:v", "gone:v"))
    eventually(lambda: events() == [("Warning", "ResourceMissing", 1)])
    it.apply(model("things:v"))
    eventually(lambda: events() == [("Normal", "UpToDate", 1), ("Warning", "ResourceMissing", 1)])
    it.apply(model("things:v", "gone:v"))
    eventually(lambda: events() == [("Normal", "UpToDate", 1), ("Warning", "ResourceMissing", 2)])
    it.delete("featureservice", "told")
    it.delete("datapipeline", "calm")


def test_a_job_that_waits_gives_way_to_a_changed_spec(it: Story) -> None:
    it.node.stuck = True
    it.next()
    eventually(lambda: bool(it.condition("datapipeline", "events", "Progressing").get("reason") == "Waiting"))
    name = running(it)

    def pending() -> list[Object]:
        return [pod for pod in it.api.list(POD, it.namespace) if pod["status"]["phase"] == "Pending"]

    eventually(lambda: len(pending()) == 1)
    waits = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    container = {
        "name": CONTAINER,
        "image": "x",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": waits,
    }
    named = {key: pending()[0]["metadata"][key] for key in ("namespace", "name")}
    it.api.apply_status(POD, {"metadata": named, "status": {"containerStatuses": [container]}})
    it.until("datapipeline", "events", "CannotStart", words=["ImagePullBackOff: no such image"])

    def events() -> dict[str, str]:
        about = [
            event for event in it.api.list(EVENT, it.namespace) if event["involvedObject"]["name"] == "events"
        ]
        return {event["reason"]: event["message"] for event in about}

    eventually(lambda: "no such image" in events().get("CannotStart", ""))
    it.apply(it.pipeline(description="mended"))
    eventually(lambda: running(it) not in ("", name))
    it.node.resume()
    it.settle()
    eventually(lambda: "BatchPending" in events())
    it.apply(it.pipeline())


def test_a_view_that_is_deleted_while_its_job_runs_comes_back_whole(it: Story) -> None:
    paused(it)
    it.delete("featureview", "things")
    eventually(lambda: not it.is_there("featureview", "things"))
    it.node.resume()
    it.until("datapipeline", "events", "UpToDate")
    it.apply(it.view())
    it.settle()


def test_a_pipeline_that_is_deleted_and_made_anew_takes_no_file_twice(it: Story) -> None:
    before = len(it.node.ran)
    it.delete("datapipeline", "events")
    it.until("featureview", "things", "PipelineMissing")
    it.apply(it.pipeline())
    it.settle()
    assert len(it.node.ran) == before


def test_a_store_that_is_deleted_is_missed_and_one_made_anew_is_taken(it: Story) -> None:
    it.delete("featurestore", "default")
    for kind, name in (("datapipeline", "events"), ("featureview", "things")):
        message = it.until(kind, name, "StoreMissing")["message"]
        assert message.startswith("There is no FeatureStore in namespace")
    it.apply(it.store())
    it.settle()


def test_a_job_that_is_deleted_by_hand_is_made_again(it: Story) -> None:
    paused(it)
    it.api.delete(JOB, it.namespace, running(it))
    it.node.resume()
    it.settle()


def test_a_pod_that_is_deleted_by_hand_is_said_and_tried_again(it: Story) -> None:
    before = paused(it)
    it.api.delete(POD, it.namespace, it.node.ran[-1])
    degraded = it.until("datapipeline", "events", "Retrying", "Degraded")["message"]
    assert "Failed 1 ×" in degraded
    it.node.resume()
    it.settle()
    assert len(it.node.ran) == before + 2


def test_a_status_that_is_wiped_is_written_again(it: Story) -> None:
    for kind, name in (("featureview", "things"), ("datapipeline", "events"), ("featurestore", "default")):
        it.plane.kubectl(
            *("patch", "-n", it.namespace, kind, name, "--subresource=status", "--type=merge"),
            '--patch={"status":null}',
        )
    it.settle(20)


def test_what_stands_beside_a_store_is_put_back(it: Story) -> None:
    it.delete("configmap", "featurestore-default")
    it.plane.kubectl("label", "-n", it.namespace, "featurestore", "default", "look=now", "--overwrite")
    eventually(lambda: it.is_there("configmap", "featurestore-default"))


def test_a_secret_that_is_missing_is_said_and_found_once_it_is_there(it: Story) -> None:
    pipeline = it.pipeline("locked")
    pipeline["spec"]["source"]["secretRef"] = {"name": "key"}
    it.apply(pipeline)
    message = it.until("datapipeline", "locked", "SecretMissing")["message"]
    assert "there is no Secret 'key'" in message
    assert f"kubectl -n {it.namespace} create secret generic key" in message
    secret = {"metadata": {"name": "key", "namespace": it.namespace}, "kind": "Secret", "apiVersion": "v1"}
    it.api.create(SECRET, {**secret, "data": {"AWS_REGION": base64.b64encode(b"x").decode()}})
    it.until("datapipeline", "locked", "WaitingForFiles")
    it.delete("datapipeline", "locked")


def test_what_is_named_and_missing_is_waited_for(it: Story) -> None:
    lookup = {"pipeline": "later", "keys": {"k": "k"}, "columns": {"w": "w"}}
    it.apply(it.view("early", "later"), it.pipeline("asking", transforms=[{"lookup": lookup}]))
    assert "'later'" in it.until("featureview", "early", "PipelineMissing")["message"]
    it.drop("1.parquet", {"k": ["a"], "ts": ["2024-01-01T00:00:00"], "v": [1]}, "asking")
    assert "'later'" in it.until("datapipeline", "asking", "PipelineMissing")["message"]
    it.apply(it.pipeline("later"))
    it.until("featureview", "early", "WaitingForData")
    it.until("datapipeline", "asking", "WaitingForLookup")
    it.delete("featureview", "early")
    it.delete("datapipeline", "asking")
    it.delete("datapipeline", "later")


def test_the_last_good_spec_keeps_running_while_a_wrong_one_is_there(it: Story) -> None:
    it.apply(it.view(features=[{**COLUMN_V, "column": "nothing"}]))
    message = it.until("featureview", "things", "SpecInvalid")["message"]
    assert "nothing" in message
    assert "keeps running" in message
    value = it.next()
    eventually(lambda: it.value() == value, 60)
    it.apply(it.view(features=[COLUMN_V, {"name": "w", "type": "int64", "column": "v"}]))
    it.settle()
    it.apply(it.view())


def test_a_view_that_is_deleted_with_its_data_is_built_anew(it: Story) -> None:
    it.apply(it.view(deletionPolicy="Delete"))
    eventually(lambda: bool(it.get("featureview", "things")["metadata"].get("finalizers")))
    it.delete("featureview", "things")
    eventually(lambda: not it.is_there("featureview", "things"))
    assert not list(Path(it.root, "features").glob("things/*"))
    it.apply(it.view())
    it.settle()


def put(it: Story, pipeline: str, value: int) -> None:
    """A file of one row, of an entity of its own, appears at a pipeline."""
    row = {"k": [f"k{value}"], "ts": [f"2024-01-01T00:00:{value:02d}"], "v": [value]}
    it.drop(f"{value}.parquet", row, pipeline)


def values(it: Story, view: str, *keys: str) -> list[object]:
    return it.reader().get_features([f"{view}:v"], {"k": list(keys)}).to_dict()["v"]


def test_a_view_pointed_at_another_pipeline_and_back_shows_the_rows_of_each_once(it: Story) -> None:
    it.apply(it.pipeline("others"), it.view("moving"))
    it.until("featureview", "moving", "UpToDate", rows=it.files)
    put(it, "others", 7)
    it.until("datapipeline", "others", "UpToDate", rows=1)
    it.apply(it.view("moving", "others"))
    it.until("featureview", "moving", "UpToDate", rows=1)
    assert values(it, "moving", "k7", "a") == [7, None]
    put(it, "others", 8)
    it.until("featureview", "moving", "UpToDate", rows=2)
    assert values(it, "moving", "k7", "k8") == [7, 8]
    it.apply(it.view("moving"))
    newest = it.next()
    it.until("featureview", "moving", "UpToDate", rows=it.files)
    assert values(it, "moving", "k7", "a") == [None, newest]
    it.delete("featureview", "moving")
    it.delete("datapipeline", "others")


def test_a_view_follows_a_pipeline_that_is_deleted_with_its_data_and_made_again_and_one_that_is_renamed(
    it: Story,
) -> None:
    it.apply(it.pipeline("first", deletionPolicy="Delete"), it.view("following", "first"))
    for value in (1, 2):
        put(it, "first", value)
        it.until("featureview", "following", "UpToDate", rows=value)
    it.delete("datapipeline", "first")
    eventually(lambda: not it.is_there("datapipeline", "first"))
    it.until("featureview", "following", "PipelineMissing")
    it.apply(it.pipeline("first", transforms=[{"filter": {"where": "v > 1"}}]))
    it.until("datapipeline", "first", "UpToDate", rows=1)
    it.until("featureview", "following", "UpToDate", rows=1)
    assert values(it, "following", "k1", "k2") == [None, 2]
    # Renamed: deleted, and made under another name with the same source.
    it.delete("datapipeline", "first")
    renamed = it.pipeline("second")
    renamed["spec"]["source"] = it.pipeline("first")["spec"]["source"]
    it.apply(renamed, it.view("following", "second"))
    it.until("featureview", "following", "UpToDate", rows=2)
    assert values(it, "following", "k1", "k2") == [1, 2]
    put(it, "first", 3)
    it.until("featureview", "following", "UpToDate", rows=3)
    assert values(it, "following", "k1", "k2", "k3") == [1, 2, 3]
    it.delete("featureview", "following")
    it.delete("datapipeline", "second")


def test_a_relative_path_is_told_in_the_words_in_which_it_is_refused(
    controllers: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    def refusal(manifest: Object) -> str:
        return review({"operation": "CREATE", "object": manifest}, Before()).message

    with story(controllers, namespace, tmp_path) as it:
        store = it.store(offline={"uri": "root"})
        pipeline = it.pipeline(source={"uri": "raw/*.parquet", "format": "Parquet"})
        it.apply(store, pipeline)
        it.start()
        assert it.until("featurestore", "default", "StoreInvalid")["message"] == refusal(store)
        assert it.until("datapipeline", "events", "StoreInvalid")["message"] == refusal(store)
        it.delete("featurestore", "default")
        # As a laptop does that shares the storage: what it recorded is not run here.
        accepted = {**pipeline, "metadata": {"name": "events"}}
        Registry(Storage(it.root)).accept(DataPipeline.model_validate(accepted, by_alias=True))
        it.apply(it.store())
        assert it.until("datapipeline", "events", "SpecInvalid")["message"] == refusal(pipeline)
        it.apply(it.pipeline())
        it.until("datapipeline", "events", "WaitingForFiles")
