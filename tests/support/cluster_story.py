"""A feature store in a namespace of the API server: resources, files, an operator, and what readers find."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from cluster.hollow_node import HollowNode, hollow_node
from cluster.proxy import Proxy
from conditions import Object, ReportsConditions
from eventually import eventually
from operating import Operator
from server import Server, free_port

import featurestore
from featurestore.client.connection import Store
from featurestore.errors import NotFound
from featurestore_operator.jobs.job_manifest import BATCH
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import (
    CONFIG_MAP,
    DATA_PIPELINE,
    FEATURE_STORE,
    FEATURE_VIEW,
    JOB,
    POD,
    SECRET,
    ApiResource,
)

LOOK_S = 0.5
"""So often is asked whether all is ready: five lists each time, of an API server that has other things to do."""
REST_S = 3.0
"""With a poll each second, this long is several looks at every pipeline."""
OURS = "featurestore.dev/v1alpha1"
OURS_ALL = (FEATURE_STORE, DATA_PIPELINE, FEATURE_VIEW)
FEATURE_SERVICE = ApiResource(OURS, "FeatureService", "featureservices")
TRAINING_SET = ApiResource(OURS, "TrainingSet", "trainingsets")
RESOURCES = {
    it.kind.lower(): it for it in (*OURS_ALL, FEATURE_SERVICE, TRAINING_SET, JOB, POD, SECRET, CONFIG_MAP)
}


@dataclass
class Story(ReportsConditions):
    """``folder``: has the storage root and the raw files. ``node``: runs the Jobs."""

    plane: ControlPlane
    namespace: str
    folder: Path
    node: HollowNode
    stack: ExitStack
    api: Api
    operators: list[Operator] = field(default_factory=list)
    files: int = 0

    @property
    def root(self) -> str:
        return str(self.folder / "root")

    def apply(self, *manifests: Object) -> None:
        """As ``kubectl apply``."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.plane.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=json.dumps(items))

    def secret(self, name: str, **values: str) -> None:
        """A Secret with these values."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        metadata = {"namespace": self.namespace, "name": name}
        self.api.create(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})

    def store(self, name: str = "default", **spec: Any) -> Object:
        return self._of("FeatureStore", name, {"offline": {"uri": self.root}, **spec})

    def pipeline(self, name: str = "events", **spec: Any) -> Object:
        source = {"uri": f"{self.folder}/raw/{name}/*.parquet", "format": "Parquet"}
        trigger = {"arrivals": {"pollInterval": "1s", "maxWait": "100ms"}}
        return self._of("DataPipeline", name, {"source": source, "trigger": trigger, **spec})

    def view(self, name: str = "things", pipeline: str = "events", **spec: Any) -> Object:
        return self._of(
            "FeatureView",
            name,
            {
                "entity": {"name": "thing", "joinKeys": [{"name": "k", "type": "string"}]},
                "source": {"pipeline": pipeline},
                "timestampField": "ts",
                "features": [{"name": "v", "type": "int64", "column": "v"}],
                **spec,
            },
        )

    def training_set(self, name: str = "set", pipeline: str = "events", **spec: Any) -> Object:
        """Of the feature ``v`` of the view ``things``, for each row of the dataset."""
        labels = {"pipeline": pipeline, "timestampField": "ts", "columns": ["v"]}
        made = {"features": {"names": ["things:v"]}, "labels": labels, "featureNames": "Full", **spec}
        return self._of("TrainingSet", name, made)

    def drop(self, name: str, rows: dict[str, list[Any]], pipeline: str = "events") -> None:
        """A file appears, whole."""
        folder = self.folder / "raw" / pipeline
        folder.mkdir(parents=True, exist_ok=True)
        frame = pl.DataFrame(rows).with_columns(pl.col("ts").str.to_datetime(time_unit="us", time_zone="UTC"))
        frame.write_parquet(folder / f".{name}")
        (folder / f".{name}").rename(folder / name)

    def start(
        self,
        *options: str,
        user: str = "operator",
        by: Proxy | None = None,
        wait: bool = True,
        program: Sequence[str] = ("-m", "featurestore_operator"),
        environment: Mapping[str, str] | None = None,
    ) -> Operator:
        """An operator that serves the namespace. ``by``: its way to the API server. ``program``: what Python runs.

        ``environment``: what it has besides this process's own.
        """
        kubeconfig = self.plane.kubeconfig_of(user, ["system:masters"], by.url if by is not None else None)
        port = free_port()
        command = [
            *(sys.executable, *program),
            *(f"--kubeconfig={kubeconfig}", f"--port={port}", f"--identity={user}"),
            *(f"--namespace={self.namespace}", "--no-leader-elect", "--trust-namespaces", *options),
        ]
        log = self.folder / f"{user}-{len(self.operators)}.log"
        server = Server(command, log, lambda: operator.get("/readyz")[0] == 200, environment)
        operator = Operator(server, port, user, self.namespace)
        server.launch()
        self.stack.callback(server.stop)
        self.operators.append(operator)
        if wait:
            server.wait()
        return operator

    def get(self, kind: str, name: str) -> Object:
        return self.api.get(RESOURCES[kind], self.namespace, name)

    def settled(self) -> bool:
        """Whether all resources are ready and up to date with their specs."""
        return all(_is_up_to_date(it) for kind in OURS_ALL for it in self.api.list(kind, self.namespace))

    def drop_many(self, rows: int, more: int = 0, name: str = "many.parquet") -> None:
        """A file with as many entities appears, whose values go up from ``more``."""
        numbers = range(rows)
        at = datetime(2024, 1, 1)
        times = [(at + timedelta(seconds=more + it)).isoformat() for it in numbers]
        self.drop(name, {"k": [f"k{it}" for it in numbers], "ts": times, "v": [more + it for it in numbers]})

    def next(self) -> int:
        """A file with one row of ``a`` appears; its value, which is the number of files up to now."""
        self.files += 1
        at = datetime(2024, 1, 1) + timedelta(hours=self.files)
        self.drop(f"{self.files}.parquet", {"k": ["a"], "ts": [at.isoformat()], "v": [self.files]})
        return self.files

    def value(self) -> object:
        """What readers find of ``a``."""
        return self.reader().get_features(["things:v"], [{"k": "a"}]).to_dict()["v"][0]

    def settle(self, within_s: float = 90.0) -> None:
        """Return once all is ready, and the last file is what readers find; each row is there once."""
        eventually(
            lambda: self._rows() == (self.files, self.files) and self.settled(),
            within_s,
            lambda: f"{self._rows()} of {self.files} rows\n{self.told()}",
            each_s=LOOK_S,
        )
        found = self.value()
        assert found == self.files, f"readers find {found} after {self.files} files"

    def rest(self) -> None:
        """Return once the last operator has written nothing for a while in which it looked several times."""
        # The last that it has to write, a second or more after all is ready: Jobs are told late that their pod ended.
        eventually(
            lambda: all("ttlSecondsAfterFinished" in it["spec"] for it in self.jobs()), 60, each_s=LOOK_S
        )
        eventually(lambda: not self._written(1.0))
        looks = self.operators[-1].looks()
        written = self._written(REST_S)
        assert not written, f"{written}\n{self.told()}"
        assert self.operators[-1].looks() > looks, "it does not look"

    def _written(self, within_s: float) -> list[str]:
        """What the last operator wrote during the time."""
        mark = self.plane.audit.mark()
        time.sleep(within_s)
        found = self.plane.audit.writes(self.operators[-1].user, mark)
        return [f"{it.verb} {it.resource} {it.name}" for it in found if it.namespace == self.namespace]

    def told(self) -> str:
        found = [it for kind in OURS_ALL for it in self.api.list(kind, self.namespace)]
        said = [f"{it['kind']} {it['metadata']['name']}: {json.dumps(it.get('status'))}" for it in found]
        return "\n".join((*said, *(it.log()[-4000:] for it in self.operators[-3:])))

    def _rows(self) -> tuple[int, int]:
        pipeline, view = self.get("datapipeline", "events"), self.get("featureview", "things")
        return pipeline.get("status", {}).get("rows", 0), view.get("status", {}).get("rows", 0)

    def is_there(self, kind: str, name: str) -> bool:
        try:
            self.get(kind, name)
        except NotFound:
            return False
        return True

    def delete(self, kind: str, name: str) -> None:
        self.api.delete(RESOURCES[kind], self.namespace, name)

    def jobs(self) -> list[Object]:
        return self.api.list(JOB, self.namespace)

    def batches(self) -> list[int]:
        """The batch of each Job that has one. A view has a Job of its own besides if that of its batch is not known."""
        labels = (it["metadata"]["labels"] for it in self.jobs())
        return sorted(int(it[BATCH]) for it in labels if BATCH in it)

    def reader(self) -> Store:
        """As a pod has it."""
        return featurestore.connect(self.root)

    def _of(self, kind: str, name: str, spec: Object) -> Object:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": OURS, "kind": kind, "metadata": metadata, "spec": spec}


def _is_up_to_date(item: Object) -> bool:
    status = item.get("status", {})
    ready: Object = next((it for it in status.get("conditions", ()) if it["type"] == "Ready"), {})
    current = status.get("observedGeneration") == item["metadata"]["generation"]
    return bool(current and ready.get("status") == "True" and ready["reason"] in ("UpToDate", "Answers"))


@contextmanager
def story(plane: ControlPlane, namespace: str, folder: Path) -> Iterator[Story]:
    with ExitStack() as stack:
        node = stack.enter_context(hollow_node(plane, namespace))
        api = Api(access.configuration(str(plane.kubeconfig)), Unmetered())
        stack.callback(api.close)
        yield Story(plane, namespace, folder, node, stack, api)


@contextmanager
def begun_story(plane: ControlPlane, folder: Path) -> Iterator[Story]:
    """In a namespace of its own: a store, a pipeline, a view, and an operator that takes a first file."""
    with namespace_of(plane) as namespace, story(plane, namespace, folder) as begun:
        begun.apply(begun.store(), begun.pipeline(), begun.view())
        begun.next()
        begun.start()
        yield begun


class Unmetered:
    def called(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Nobody asks."""
