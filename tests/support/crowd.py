"""Pipelines with a file each, and a controller before a real API server, in the test's own process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import manifest

from featurestore_operator.controllers.controller import Controller
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import DATA_PIPELINE, FEATURE_STORE, JOB
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics
from featurestore_operator.settings import Settings

LOOK_US = 10_000_000


class Crowd:
    """``most``: Jobs at once. ``namespaces``: those that are served; () is all. ``more``: settings of the operator.

    ``woken``: keys since it was emptied. ``now_us``: what the controller takes for the time.
    """

    def __init__(
        self, api: Api, folder: Path, most: int = 20, namespaces: tuple[str, ...] = (), **more: Any
    ) -> None:
        self.api, self.folder, self.now_us = api, folder, 1_700_000_000_000_000
        self.woken: list[Key] = []
        self.cache = Cache(lambda key, after_s: self.woken.append(key))
        settings = Settings(
            identity="it",
            namespaces=namespaces,
            trust_namespaces=True,
            max_jobs=most,
            max_jobs_per_namespace=most,
            **more,
        )
        self.controller = Controller(self.cache, api, settings, Metrics(), clock=lambda: self.now_us)
        (folder / "raw").mkdir(exist_ok=True)
        (folder / "raw" / "a.parquet").write_bytes(b"")

    def pipelines(self, namespace: str, *names: str, **store_spec: Any) -> None:
        store = manifest.store(namespace)
        store["spec"] = {"offline": {"uri": str(self.folder / namespace)}, **store_spec}
        self.cache.put(FEATURE_STORE, self.api.create(FEATURE_STORE, store))
        for name in names:
            found = manifest.pipeline(namespace, name)
            found["spec"]["source"]["uri"] = f"{self.folder}/raw/*.parquet"
            self.cache.put(DATA_PIPELINE, self.api.create(DATA_PIPELINE, found))

    def look(self, namespace: str, name: str) -> dict[str, Any]:
        """Its conditions after some looks."""
        key = Key("DataPipeline", namespace, name)
        for _ in range(4):
            self.now_us += LOOK_US
            self.cache.put(DATA_PIPELINE, self.api.get(DATA_PIPELINE, namespace, name))
            self.controller.handle(key)
        status = self.api.get(DATA_PIPELINE, namespace, name)["status"]
        return {it["type"]: it for it in status["conditions"]}

    def jobs(self, namespace: str) -> list[str]:
        """The pipelines that have a Job."""
        labels = (it["metadata"]["labels"] for it in self.api.list(JOB, namespace))
        return sorted(it["featurestore.dev/pipeline"] for it in labels)

    def end(self, namespace: str, name: str) -> None:
        """The Job of a pipeline fails, and the watch tells so."""
        (job,) = [
            it
            for it in self.api.list(JOB, namespace)
            if it["metadata"]["labels"]["featurestore.dev/pipeline"] == name
            and not it.get("status", {}).get("conditions")
        ]
        at = "2023-11-14T22:13:20Z"
        ended = [
            {"type": it, "status": "True", "lastTransitionTime": at} for it in ("FailureTarget", "Failed")
        ]
        named = {"namespace": namespace, "name": job["metadata"]["name"]}
        self.api.apply_status(JOB, {"metadata": named, "status": {"startTime": at, "conditions": ended}})
        self.cache.put(JOB, self.api.get(JOB, namespace, job["metadata"]["name"]))
