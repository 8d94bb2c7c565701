"""A feature store in a namespace of the API server: resources, files, an operator, and what readers find."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from cluster.control_plane import ControlPlane
from cluster.hollow_node import HollowNode, hollow_node
from operating import Operator, eventually
from server import Server, free_port

import featurestore
from featurestore.client import Store

Object = dict[str, Any]
OURS = "featurestore.dev/v1alpha1"


@dataclass
class Story:
    """``folder``: has the storage root and the raw files. ``node``: runs the Jobs."""

    plane: ControlPlane
    namespace: str
    folder: Path
    node: HollowNode
    stack: ExitStack
    operators: list[Operator] = field(default_factory=list)

    @property
    def root(self) -> str:
        return str(self.folder / "root")

    def apply(self, *manifests: Object) -> None:
        """As ``kubectl apply``."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.plane.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=json.dumps(items))

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

    def drop(self, name: str, rows: dict[str, list[Any]], pipeline: str = "events") -> None:
        """A file appears, whole."""
        folder = self.folder / "raw" / pipeline
        folder.mkdir(parents=True, exist_ok=True)
        frame = pl.DataFrame(rows).with_columns(pl.col("ts").str.to_datetime(time_unit="us", time_zone="UTC"))
        frame.write_parquet(folder / f".{name}")
        (folder / f".{name}").rename(folder / name)

    def start(self, *options: str, user: str = "operator", **environ: str) -> Operator:
        """An operator that serves the namespace."""
        kubeconfig = self.plane.kubeconfig_of(user, ["system:masters"])
        port = free_port()
        command = [
            *(sys.executable, "-m", "featurestore_operator"),
            *(f"--kubeconfig={kubeconfig}", f"--port={port}", f"--identity={user}"),
            *(f"--namespace={self.namespace}", "--no-leader-elect", *options),
        ]
        log = self.folder / f"{user}-{len(self.operators)}.log"
        server = Server(command, log, lambda: operator.get("/readyz")[0] == 200)
        operator = Operator(server, port, user)
        server.launch()
        self.stack.callback(server.stop)
        self.operators.append(operator)
        server.wait()
        return operator

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self.plane.kubectl("get", "-n", self.namespace, kind, name, "-o", "json"))
        return found

    def condition(self, kind: str, name: str, type_: str = "Ready") -> Object:
        """{} if it does not say."""
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((it for it in conditions if it["type"] == type_), {})

    def until(
        self, kind: str, name: str, reason: str, type_: str = "Ready", within_s: float = 60.0
    ) -> Object:
        """The condition, once it has this reason."""
        try:
            eventually(lambda: self.condition(kind, name, type_).get("reason") == reason, within_s)
        except AssertionError:
            logs = "\n".join(it.log()[-6000:] for it in self.operators)
            raise AssertionError(f"{self.get(kind, name).get('status')}\n{logs}") from None
        return self.condition(kind, name, type_)

    def jobs(self) -> list[Object]:
        found = json.loads(self.plane.kubectl("get", "-n", self.namespace, "jobs", "-o", "json"))
        items: list[Object] = found["items"]
        return items

    def reader(self) -> Store:
        """As a pod has it."""
        return featurestore.connect(self.root)

    def _of(self, kind: str, name: str, spec: Object) -> Object:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": OURS, "kind": kind, "metadata": metadata, "spec": spec}


@contextmanager
def story(plane: ControlPlane, namespace: str, folder: Path) -> Iterator[Story]:
    with ExitStack() as stack:
        node = stack.enter_context(hollow_node(plane, namespace))
        yield Story(plane, namespace, folder, node, stack)
