"""Thousands of views and pipelines in a few namespaces, most without files, some with a batch that is committed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import DATA_PIPELINE, FEATURE_STORE, FEATURE_VIEW, ApiResource
from featurestore_operator.metrics import Metrics

NAMESPACES = 10
COMMITTED = 20
"""So many pipelines of each namespace have a batch and a view that serves it."""
COLUMNS = tuple(f"c{number}" for number in range(9))
ROWS = 1000
_OURS = "featurestore.dev/v1alpha1"
_NAMESPACE = ApiResource("v1", "Namespace", "namespaces")

Object = dict[str, Any]


@dataclass(frozen=True)
class Fleet:
    """``each`` pipelines and as many views below ``folder``; one storage root per namespace.

    ``url``: of storage and sources, if they are not in the folder.
    """

    folder: Path
    each: int
    url: str = ""

    @property
    def namespaces(self) -> list[str]:
        return [f"n{number}" for number in range(NAMESPACES)]

    @property
    def names(self) -> list[str]:
        """Of the pipelines of each namespace, and of the views."""
        return [f"p{number}" for number in range(self.each // NAMESPACES)]

    def root(self, namespace: str) -> str:
        return f"{self.url or self.folder}/roots/{namespace}"

    def source(self, name: str) -> str:
        """Folder of a pipeline's files, which all namespaces share."""
        return f"{self.url or self.folder}/raw/{name}"

    def drop(self, name: str, file: str) -> None:
        """A file appears, whole."""
        start = datetime(2024, 1, 1, tzinfo=UTC)
        moments = [start + timedelta(minutes=number) for number in range(ROWS)]
        frame = pl.DataFrame({"k": [f"k{number % 50}" for number in range(ROWS)], "ts": moments})
        frame = frame.with_columns(pl.int_range(ROWS).alias("v"), *(pl.lit(1.5).alias(it) for it in COLUMNS))
        part = self.folder / "raw" / name / f".{file}"
        frame.write_parquet(part)
        part.rename(part.with_name(file))

    def commit(self) -> None:
        """Files, and storage roots as a laptop's run leaves them."""
        for name in self.names:
            Path(self.source(name)).mkdir(parents=True)
        committed = self.names[:COMMITTED]
        for name in committed:
            self.drop(name, "first.parquet")
        items = [self._store("root"), *(it for name in committed for it in self._of(name))]
        (self.folder / "store.yaml").write_text("\n---\n".join(map(json.dumps, items)))
        for command in (["apply", "-f", "store.yaml"], ["run", "--once"]):
            told = [sys.executable, "-m", "featurestore.cli", *command]
            subprocess.run(told, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(self.folder / "root" / "registry")
        for namespace in self.namespaces:
            shutil.copytree(self.folder / "root", self.root(namespace))

    def create(self, kubeconfig: str) -> None:
        """All resources, in the API server."""
        api = Api(access.configuration(kubeconfig), Metrics())
        for namespace in self.namespaces:
            body = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": namespace, "namespace": None},
            }
            api.create(_NAMESPACE, body)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda it: api.create(*it), self._all()))
        api.close()

    def _all(self) -> Iterator[tuple[ApiResource, Object]]:
        for namespace in self.namespaces:
            yield FEATURE_STORE, _placed(self._store(self.root(namespace)), namespace)
        for name in self.names:
            for namespace in self.namespaces:
                pipeline, view = self._of(name)
                yield DATA_PIPELINE, _placed(pipeline, namespace)
                yield FEATURE_VIEW, _placed(view, namespace)

    def _store(self, root: str) -> Object:
        return _object("FeatureStore", "default", {"offline": {"uri": root}})

    def _of(self, name: str) -> tuple[Object, Object]:
        source = {"uri": f"{self.source(name)}/*.parquet", "format": "Parquet"}
        pipeline = _object("DataPipeline", name, {"source": source, "description": "a pipeline " * 20})
        spec = {
            "entity": {"name": "thing", "joinKeys": [{"name": "k", "type": "string"}]},
            "source": {"pipeline": name},
            "timestampField": "ts",
            "features": [
                {"name": "v", "type": "int64", "column": "v"},
                *({"name": f"f_{it}", "type": "float64", "column": it} for it in COLUMNS),
            ],
            "description": "a view " * 20,
        }
        return pipeline, _object("FeatureView", name, spec)


def _object(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": _OURS, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _placed(item: Object, namespace: str) -> Object:
    return {**item, "metadata": {**item["metadata"], "namespace": namespace}}
