"""What a pipeline costs while nothing happens, and what ends its rest: a controller before a real API server."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import manifest
import pytest
from cluster.control_plane import ControlPlane
from storage_server import s3

from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.storage.objects import Storage
from featurestore_operator.controllers.controller import Controller
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import DATA_PIPELINE, FEATURE_STORE, SECRET
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics
from featurestore_operator.settings import Settings

POLL_S = 10.0


class Resting:
    """A pipeline of which all is known and done."""

    def __init__(self, api: Api, namespace: str, folder: Path) -> None:
        self.api, self.key, self.now_us = api, Key("DataPipeline", namespace, "p"), 1_700_000_000_000_000
        self.raw = folder / "raw"
        self.raw.mkdir()
        self.registry = Registry(Storage(str(folder / "root")))
        self.cache = Cache(lambda key, after_s: None)
        self.controller = Controller(
            self.cache,
            api,
            Settings(identity="it", trust_namespaces=True),
            Metrics(),
            clock=lambda: self.now_us,
        )
        store, pipeline = manifest.store(namespace), manifest.pipeline(namespace, "p")
        store["spec"] = {"offline": {"uri": str(folder / "root")}}
        pipeline["spec"]["source"]["uri"] = f"{self.raw}/*.parquet"
        self.cache.put(FEATURE_STORE, api.create(FEATURE_STORE, store))
        api.create(DATA_PIPELINE, pipeline)
        self.hear()
        self.look()
        self.hear()
        self.look()

    def hear(self) -> None:
        """The watch tells of the pipeline as it is now."""
        self.cache.put(DATA_PIPELINE, self.api.get(DATA_PIPELINE, *self.key[1:]))

    def look(self) -> float | None:
        self.now_us += int(POLL_S * 1_000_000)
        return self.controller.handle(self.key)

    def looks_whole(self) -> bool:
        """Whether the next look reads more than the source: it then accepts the spec, which was taken away."""
        self.registry.remove(DataPipeline, "p")
        self.look()
        return self.registry.accepted_digest(DataPipeline, "p") is not None


@pytest.fixture
def it(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Resting]:
    kubeconfig = control_plane.kubeconfig_of("operator", ["system:masters"])
    api = Api(access.configuration(str(kubeconfig)), Metrics())
    yield Resting(api, namespace, tmp_path)
    api.close()


def test_a_pipeline_that_rests_is_looked_at_by_a_listing_alone_each_poll_interval(it: Resting) -> None:
    assert it.look() == POLL_S
    assert not it.looks_whole()


def test_a_new_file_ends_the_rest(it: Resting) -> None:
    (it.raw / "a.parquet").write_bytes(b"")
    assert it.looks_whole()


def test_whatever_wakes_a_pipeline_ends_its_rest(it: Resting) -> None:
    it.cache.wake(it.key)
    assert it.looks_whole()
    assert not it.looks_whole()


def test_a_status_that_another_wrote_is_put_right_at_the_next_poll(it: Resting) -> None:
    said = it.api.get(DATA_PIPELINE, *it.key[1:])["status"]
    named = {"namespace": it.key.namespace, "name": it.key.name}
    wrong = {**said, "pendingFiles": 7}
    it.api.apply_status(DATA_PIPELINE, {"metadata": named, "status": wrong})
    it.hear()
    it.look()
    assert it.api.get(DATA_PIPELINE, *it.key[1:])["status"] == said


def test_a_look_that_failed_is_no_rest(it: Resting) -> None:
    it.cache.wake(it.key)
    (it.raw.parent / "root").rename(it.raw.parent / "away")
    (it.raw.parent / "root").write_text("no folder")
    it.look()
    (it.raw.parent / "root").unlink()
    (it.raw.parent / "away").rename(it.raw.parent / "root")
    assert it.looks_whole()


def test_a_source_that_failed_is_listed_with_the_credentials_that_its_secret_has_now(
    it: Resting, tmp_path: Path
) -> None:
    bucket = tmp_path / "s3" / "raw"
    bucket.mkdir(parents=True)

    def secret(environment: dict[str, str]) -> manifest.Object:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in environment.items()}
        metadata = {"namespace": it.key.namespace, "name": "source"}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}

    def reachable() -> str:
        it.look()
        it.hear()
        conditions = it.api.get(DATA_PIPELINE, *it.key[1:])["status"]["conditions"]
        return next(each["status"] for each in conditions if each["type"] == "SourceReachable")

    with s3(tmp_path / "s3") as environment:
        it.api.create(SECRET, secret({**environment, "AWS_SECRET_ACCESS_KEY": "wrong"}))
        source = {"uri": "s3://raw/*.parquet", "secretRef": {"name": "source"}}
        it.api.patch(DATA_PIPELINE, *it.key[1:], {"spec": {"source": source}})
        it.hear()
        assert reachable() == "False"
        it.api.patch(SECRET, it.key.namespace, "source", secret(environment))
        assert reachable() == "True"
