"""What stands and what is known when a Job starts: a controller before a real API server, which no watch tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import manifest
import pytest
from cluster.control_plane import ControlPlane

from featurestore.registry.registry import Registry
from featurestore.storage.objects import Storage
from featurestore_operator.controllers.controller import Controller
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import DATA_PIPELINE, FEATURE_STORE, JOB
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics
from featurestore_operator.settings import Settings

LOOK_US = 10_000_000


class Deaf:
    """A pipeline with a file, and a controller that hears of nothing after its start."""

    def __init__(self, api: Api, namespace: str, folder: Path) -> None:
        self.api, self.key, self._now_us = api, Key("DataPipeline", namespace, "p"), 1_700_000_000_000_000
        (folder / "raw").mkdir()
        (folder / "raw" / "a.parquet").write_bytes(b"")
        self.registry = Registry(Storage(str(folder / "root")))
        store, pipeline = manifest.store(namespace), manifest.pipeline(namespace, "p")
        store["spec"] = {"offline": {"uri": str(folder / "root")}}
        pipeline["spec"]["source"]["uri"] = f"{folder / 'raw'}/*.parquet"
        self._objects = api.create(FEATURE_STORE, store), api.create(DATA_PIPELINE, pipeline)
        self.begin()

    def begin(self) -> None:
        """Another controller, which knows of the store and of the pipeline."""
        self.cache = Cache(lambda key, after_s: None)
        for resource, item in zip((FEATURE_STORE, DATA_PIPELINE), self._objects, strict=True):
            self.cache.put(resource, item)
        self._controller = Controller(
            self.cache,
            self.api,
            Settings(identity="it", trust_namespaces=True),
            Metrics(),
            clock=lambda: self._now_us,
        )

    def start_job(self) -> list[str]:
        """Look at the pipeline until its batch is closed and started; the Jobs that are known then."""
        for _ in range(4):
            self._now_us += LOOK_US
            self._controller.handle(self.key)
        return [it["metadata"]["name"] for it in self.cache.jobs(self.key.namespace, pipeline="p")]

    def jobs(self) -> list[str]:
        return [it["metadata"]["name"] for it in self.api.list(JOB, self.key.namespace)]


@pytest.fixture
def it(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Deaf]:
    api = Api(access.configuration(str(control_plane.kubeconfig)), Metrics())
    yield Deaf(api, namespace, tmp_path)
    api.close()


def test_a_job_is_known_as_soon_as_it_is_started(it: Deaf) -> None:
    assert it.start_job() == it.jobs() != []


def test_a_job_that_is_there_already_is_known_as_soon_as_it_is_found(it: Deaf) -> None:
    it.start_job()
    it.begin()
    assert it.start_job() == it.jobs() != []


def test_a_job_finds_the_store_in_the_registry_though_nobody_looked_at_its_object(it: Deaf) -> None:
    it.start_job()
    assert it.jobs() != []
    assert it.registry.store() is not None
