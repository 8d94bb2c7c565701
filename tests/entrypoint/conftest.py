"""A store whose Jobs run as processes, with the environment that a pod would give them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from job_request import job_request

import featurestore
from featurestore.arrivals.files.listing import find_arrival
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Entry, Manifest
from featurestore.failure import Failure
from featurestore.online.index import OnlineIndex, open_index
from featurestore.protocol import JobRequest
from featurestore.reconcile.steps import BuildView, RunBatch
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline, FeatureStore, FeatureView
from featurestore.resources.outputs import build_digest
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.views.builds import ActiveBuild, read_active_build

NAME = "events"
STORE = {"offline": {"uri": "elsewhere"}}
VIEW = {
    "entity": {"name": "thing", "joinKeys": [{"name": "k", "type": "string"}]},
    "source": {"pipeline": NAME},
    "timestampField": "ts",
    "features": [{"name": "v", "type": "int64", "column": "v"}],
}


@dataclass(frozen=True)
class Ended:
    """How a Job ended. ``failure``: what it left for Kubernetes; None if it left nothing."""

    code: int
    result: dict[str, Any] | None
    log: str
    failure: Failure | None


class Site:
    """``folder``: the working folder of Jobs, where callables are looked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw = folder / "raw"
        self.raw.mkdir()
        self.storage = Storage(str(folder / "root"))
        self.registry = Registry(self.storage)
        self.ledger = Ledger(self.storage, NAME)
        self.environment: dict[str, str] = {}
        self._digest = ""
        self._builds: dict[str, str] = {}
        self.registry.accept(FeatureStore.model_validate({"metadata": {"name": "default"}, "spec": STORE}))
        self.pipeline()

    def pipeline(self, **spec: Any) -> None:
        source = {"uri": f"{self.raw}/*.parquet", "format": "Parquet"}
        full = {"metadata": {"name": NAME}, "spec": {"source": source, **spec}}
        self._digest = self.registry.accept(DataPipeline.model_validate(full))

    def view(self, name: str, **spec: Any) -> str:
        """Accept a view; the digest of its build."""
        resource = FeatureView.model_validate({"metadata": {"name": name}, "spec": {**VIEW, **spec}})
        self.registry.accept(resource)
        digest = self._builds[name] = build_digest(resource.spec, self.ledger.uid())
        return digest

    def arrive(self, name: str, values: Mapping[str, int]) -> int:
        """A file with one row for each thing arrives; the number of the batch that takes it."""
        path = self.raw / f"{name}.parquet"
        number = self.ledger.last_batch() + 1
        rows = {"k": list(values), "v": list(values.values()), "ts": [number * 1_000_000] * len(values)}
        pl.DataFrame(
            rows, schema={"k": pl.String, "v": pl.Int64, "ts": pl.Datetime("us", "UTC")}
        ).write_parquet(path)
        arrival = find_arrival(str(path))
        assert arrival is not None
        manifest = Manifest(NAME, self.ledger.uid(), number, self._digest, 1, (Entry(arrival),))
        assert self.ledger.try_append(manifest)
        return number

    def start(self, request: JobRequest | str, **environment: str) -> subprocess.Popen[str]:
        text = request if isinstance(request, str) else request.model_dump_json()
        self._termination_log.unlink(missing_ok=True)
        named = {"FEATURESTORE_TERMINATION_LOG": str(self._termination_log)}
        return subprocess.Popen(
            [sys.executable, "-m", "featurestore_transforms", "--job", text],
            cwd=self.folder,
            env={**os.environ, **named, **self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> Ended:
        try:
            out, log = process.communicate(timeout=600)
        finally:
            process.kill()
        left = self._termination_log.read_bytes() if self._termination_log.exists() else None
        lines = [json.loads(line)["result"] for line in out.splitlines()]
        assert len(lines) <= 1
        return Ended(
            process.returncode,
            lines[0] if lines else None,
            log,
            None if left is None else Failure.model_validate_json(left),
        )

    def job(self, *, number: int | None = None, view: str | None = None, **environment: str) -> Ended:
        """A batch runs; or a view is brought on."""
        step = (
            RunBatch(NAME, number, self._digest)
            if number is not None
            else BuildView(str(view), self._builds.get(str(view), "none"), 1, self._digest)
        )
        request = job_request(step, self.storage.root, NAME)
        return self.end(self.start(request, **environment))

    def serving(self, view: str) -> ActiveBuild | None:
        return read_active_build(self.storage, view)

    @property
    def index(self) -> OnlineIndex:
        store = self.registry.store()
        assert store is not None
        return open_index(self.storage, store.spec)

    def rows(self) -> int:
        """Rows of the dataset."""
        table = Table.open(self.storage, f"datasets/{NAME}")
        return sum(file.rows for file in table.files()) if table else 0

    def online(self, view: str, *keys: str) -> list[Any]:
        store = featurestore.connect(self.storage.root)
        values: list[Any] = store.get_features([f"{view}:v"], {"k": list(keys)}).to_dict()["v"]
        return values

    @property
    def _termination_log(self) -> Path:
        return self.folder / "termination-log"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)
