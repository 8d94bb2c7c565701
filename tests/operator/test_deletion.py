"""Data goes with the resource, or the namespace, that asks for it; it stays otherwise, and nothing waits for ever."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import redis
import storage_server
from cluster.control_plane import ControlPlane
from cluster_story import Story, Unmetered, story
from eventually import eventually
from manifest import pipeline

from featurestore.errors import NotFound
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore_operator.controllers.deletion import FINALIZER, PATIENCE_US, Deletion
from featurestore_operator.controllers.status_writer import StatusWriter
from featurestore_operator.informer.cache import Cache
from featurestore_operator.jobs.workers import BatchWorkers
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import DATA_PIPELINE, SECRET
from featurestore_operator.kube.object_key import Key

pytestmark = pytest.mark.slow
GOING_S = 300


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Credentials of an object storage with the bucket ``features``."""
    with storage_server.buckets(tmp_path / "s3", "features") as credentials:
        yield credentials


@pytest.fixture
def it(controllers: ControlPlane, namespace: str, s3: dict[str, str], tmp_path: Path) -> Iterator[Story]:
    """Features that are ready, in a storage that only a Secret of the namespace lets in; all is to go with its resource."""
    with story(controllers, namespace, tmp_path) as told:
        told.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}, "stringData": s3},
            told.store(offline={"uri": "s3://features/root", "secretRef": {"name": "s3"}}),
            told.pipeline(deletionPolicy="Delete"),
            told.view(deletionPolicy="Delete"),
        )
        told.start()
        told.next()
        told.until("featureview", "things", "UpToDate")
        eventually(told.settled)
        yield told


def held(s3: dict[str, str]) -> dict[str, list[str]]:
    """What is in the folders of the pipeline and the view, where there is anything."""
    storage = Storage("s3://features/root", s3)
    folders = (*paths.data("pipelines", "events"), *paths.data("views", "things"))
    accepted = (paths.pointer("pipelines", "events"), paths.pointer("views", "things"))
    found = {it: storage.names(it) for it in folders}
    found |= {it: ["accepted"] for it in accepted if storage.find(it) is not None}
    return {place: names for place, names in found.items() if names}


def begin_batch(it: Story) -> None:
    """Return once the Job of a new file is under way, which ends no sooner than the node resumes."""
    it.node.paused = True
    before = len(it.node.ran)
    it.next()
    eventually(lambda: len(it.node.ran) == before + 1)


def delete_namespace(it: Story) -> None:
    """Return once it is gone with all in it."""
    it.plane.kubectl("delete", "namespace", it.namespace, f"--timeout={GOING_S}s")


def test_data_goes_with_the_resources_that_ask_for_it_and_nothing_else_goes(
    it: Story, s3: dict[str, str]
) -> None:
    of_both = held(s3)
    it.plane.kubectl("delete", "-n", it.namespace, "featureview", "things", "--timeout=600s")
    of_view = {*paths.data("views", "things"), paths.pointer("views", "things")}
    of_pipeline = {name: names for name, names in of_both.items() if name not in of_view}
    assert set(of_both) & of_view
    assert held(s3) == of_pipeline
    it.plane.kubectl("delete", "-n", it.namespace, "datapipeline", "events", "--timeout=600s")
    assert of_pipeline
    assert held(s3) == {}
    assert Storage("s3://features/root", s3).find(paths.STORE) is not None
    assert len(list(Path(it.folder, "raw/events").glob("*.parquet"))) == 1
    it.apply(it.pipeline(), it.view())
    it.until("featureview", "things", "UpToDate", rows=1)
    it.until("datapipeline", "events", "UpToDate", rows=1)


def test_a_view_waits_for_the_batch_that_may_write_to_it_before_its_data_goes(
    it: Story, s3: dict[str, str]
) -> None:
    begin_batch(it)
    it.until("datapipeline", "events", "Running", "Progressing")
    it.delete("featureview", "things")
    eventually(lambda: it.condition("featureview", "things").get("reason") == "Deleting")
    assert f"pod {it.node.ran[-1]} has ended" in it.condition("featureview", "things")["message"]
    assert paths.builds("things").rpartition("/")[0] in held(s3)
    it.node.resume()
    eventually(lambda: not it.is_there("featureview", "things"))
    it.until("datapipeline", "events", "UpToDate", batch=2)
    assert not set(held(s3)) & set(paths.data("views", "things"))


def test_a_namespace_goes_with_the_data_that_is_to_go_though_a_job_runs(
    it: Story, s3: dict[str, str]
) -> None:
    begin_batch(it)
    delete_namespace(it)
    assert held(s3) == {}
    log = it.operators[0].log()
    assert "may not" not in log
    assert "left in storage" not in log


def test_a_namespace_goes_with_its_data_though_store_and_secret_go_first(
    it: Story, s3: dict[str, str]
) -> None:
    it.delete("secret", "s3")
    it.delete("featurestore", "default")
    it.until("featureview", "things", "StoreMissing")
    it.delete("featureview", "things")
    message = it.until("featureview", "things", "Deleting")["message"]
    assert message.startswith("Its data cannot be deleted: There is no FeatureStore")
    assert held(s3)
    delete_namespace(it)
    assert held(s3) == {}


def test_a_namespace_goes_with_its_data_though_its_redis_goes_first(
    it: Story, s3: dict[str, str], tmp_path: Path
) -> None:
    offline = it.get("featurestore", "default")["spec"]["offline"]
    with storage_server.redis(tmp_path) as url, redis.Redis.from_url(url) as client:
        it.apply(it.store(offline=offline, online={"duckdb": None, "redis": {"url": f"{url}/0"}}))
        eventually(lambda: client.dbsize() > 0, 60)
        it.until("featureview", "things", "UpToDate")
    it.until("featurestore", "default", "OnlineUnavailable")
    assert held(s3)
    delete_namespace(it)
    assert held(s3) == {}
    assert "what is online is left" in it.operators[0].log()


def test_a_namespace_goes_and_leaves_the_data_of_which_nobody_knows_where_it_is(
    it: Story, s3: dict[str, str]
) -> None:
    it.operators[0].server.stop()
    it.delete("featurestore", "default")
    it.plane.kubectl("delete", "namespace", it.namespace, "--wait=false")
    before = held(s3)
    it.start(user="heir")
    delete_namespace(it)
    assert held(s3) == before
    assert (
        "its data is left in storage, as it cannot be deleted: There is no FeatureStore"
        in it.operators[1].log()
    )


def test_storage_that_does_not_answer_holds_a_namespace_for_a_minute_and_never_a_resource_alone(
    control_plane: ControlPlane, namespace: str
) -> None:
    api = Api(access.configuration(str(control_plane.kubeconfig)), Unmetered())
    manifest = pipeline(namespace, "events")
    manifest["metadata"]["finalizers"] = [FINALIZER]
    api.create(DATA_PIPELINE, manifest)
    api.delete(DATA_PIPELINE, namespace, "events")
    found, key = api.get(DATA_PIPELINE, namespace, "events"), Key("DataPipeline", namespace, "events")
    asked_us = int(datetime.fromisoformat(found["metadata"]["deletionTimestamp"]).timestamp() * 1_000_000)
    it = Deletion(
        api,
        StatusWriter(api, lambda: asked_us, "test"),
        BatchWorkers(Cache(lambda *_: None), lambda: asked_us),
    )
    assert not it.gives_up(key, found, "no answer", asked_us + 1000 * PATIENCE_US)
    control_plane.kubectl("delete", "namespace", namespace, "--wait=false")
    assert not it.gives_up(key, found, "no answer", asked_us + PATIENCE_US - 1)
    assert it.gives_up(key, found, "no answer", asked_us + PATIENCE_US)
    with pytest.raises(NotFound):
        api.get(DATA_PIPELINE, namespace, "events")
    api.close()


def test_a_deletion_that_cannot_reach_its_storage_says_how_to_give_up(
    controllers: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    with story(controllers, namespace, tmp_path) as it:
        values = {
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
            "AWS_ACCESS_KEY_ID": "it",
            "AWS_SECRET_ACCESS_KEY": "it",
            "AWS_REGION": "us-east-1",
        }
        data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
        metadata = {"name": "gone", "namespace": namespace}
        it.api.create(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
        it.apply(
            it.store(offline={"uri": "s3://gone/root", "secretRef": {"name": "gone"}}),
            it.pipeline(deletionPolicy="Delete"),
        )
        it.start()
        eventually(lambda: bool(it.get("datapipeline", "events")["metadata"].get("finalizers")), 60)
        it.delete("datapipeline", "events")
        message = it.until("datapipeline", "events", "Deleting")["message"]
        assert message.startswith("Its data cannot be deleted: ")
        words = message[message.index("kubectl annotate ") :].split()[:5]
        it.plane.kubectl(*words[1:2], "-n", namespace, *words[2:5])
        eventually(lambda: not it.is_there("datapipeline", "events"), 30)
