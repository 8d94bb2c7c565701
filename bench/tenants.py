"""What a tenant with much work costs the others: hundreds of pipelines with a file each, with and without a bound on Jobs.

Pods are processes of this machine, as many at once as its memory bears; the control plane, its controllers and the operator
are real.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from bench.controller import ROOT
from bench.figure import Figure
from bench.running import Operator, run
from featurestore.storage.objects import Storage
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import DATA_PIPELINE, FEATURE_STORE, NAMESPACE, SECRET
from featurestore_operator.metrics import Metrics

EACH = 200
PODS = 40
"""Of the tenant with much work, at once, if nothing else bounds them: 6 GiB."""
MEANWHILE_S = 2.0
IDLE = 3
MODES = {
    "no bound": ("--max-jobs=100000", "--max-jobs-per-namespace=100000"),
    "2 Jobs, 1 of a namespace": ("--max-jobs=2", "--max-jobs-per-namespace=1"),
}


def measure(each: int = EACH) -> list[Figure]:
    """Figures of both modes, each with a control plane of its own."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from cluster.control_plane import control_plane
    from cluster.fixtures import apply_crds

    figures = []
    for mode, options in MODES.items():
        # Jobs whose node is gone with the mode before would be counted.
        with tempfile.TemporaryDirectory() as folder, control_plane(Path(folder) / "plane") as plane:
            apply_crds(plane)
            with plane.controllers():
                figures += _with_processes(plane, Path(folder), mode, options, each)
    return figures


def _with_processes(plane: Any, folder: Path, mode: str, options: tuple[str, ...], each: int) -> list[Figure]:
    from cluster.hollow_node import hollow_node

    api = Api(access.configuration(str(plane.kubeconfig)), Metrics())
    busy, other = (Tenant(api, name, str(folder / name)) for name in ("busy", "other"))
    with (
        hollow_node(plane, busy.namespace) as node,
        hollow_node(plane, other.namespace),
        (folder / "log").open("wb") as log,
        run(plane, log, options=options) as operator,
    ):
        node.most = PODS
        figures = shared("tenants", mode, operator, busy, other, each)
    api.close()
    return figures


def shared(
    question: str, mode: str, operator: Operator, busy: Tenant, other: Tenant, each: int
) -> list[Figure]:
    """What one tenant waits for with nobody beside it, and while ``each`` pipelines of another have got a file."""
    other.drop("p")
    other.pipeline("p")
    operator.until(lambda: other.batches() == 1, 0.1)
    idle_s = min(_until_taken(operator, other, "p") for _ in range(IDLE))
    for number in range(each):
        busy.drop(f"p{number}")
    start = time.monotonic()
    for number in range(each):
        busy.pipeline(f"p{number}")
    first: list[float] = []

    def note_first() -> bool:
        if not first and busy.batches():
            first.append(time.monotonic() - start)
        return bool(first)

    operator.until(lambda: note_first() or time.monotonic() - start > MEANWHILE_S, 0.1)
    before, dropped = other.batches(), time.monotonic()
    other.drop("p")

    def is_taken() -> bool:
        note_first()
        return other.batches() > before

    taken_s = operator.until(is_taken, 0.1) - (dropped - operator.start)
    operator.until(note_first, 0.1)
    what = f"{each} pipelines with a file each, {mode}"
    bounded = mode != "no bound"
    return [
        Figure(question, f"{what}: another tenant's file, idle", idle_s, "s"),
        Figure(
            question,
            f"{what}: another tenant's file",
            taken_s,
            "s",
            "at most twice idle" if bounded else "",
            taken_s <= 2 * idle_s if bounded else None,
        ),
        Figure(question, f"{what}: the first result was there after", first[0], "s"),
    ]


class Tenant:
    """A namespace with a store, and pipelines that are polled each second.

    ``place``: a folder or a URL, below which its store and its files are. ``keys``: what opens the URL.
    """

    def __init__(self, api: Api, namespace: str, place: str, keys: Mapping[str, str] | None = None) -> None:
        self._api, self.namespace, self._place, self._files = api, namespace, place, 0
        self._storage = Storage(place, keys)
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "namespace": None}}
        api.create(NAMESPACE, body)
        offline: dict[str, Any] = {"uri": f"{place}/root"}
        if keys is not None:
            metadata = {"name": "s3", "namespace": namespace}
            api.create(
                SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {**keys}}
            )
            offline["secretRef"] = {"name": "s3"}
        self._create(FEATURE_STORE, "default", {"offline": offline})

    def pipeline(self, name: str) -> None:
        source = {"uri": f"{self._place}/{name}/*.parquet", "format": "Parquet"}
        trigger = {"arrivals": {"pollInterval": "1s", "maxWait": "0s"}}
        self._create(DATA_PIPELINE, name, {"source": source, "trigger": trigger})

    def drop(self, name: str) -> None:
        self._files += 1
        body = io.BytesIO()
        frame = pl.DataFrame({"k": ["a"], "ts": [datetime(2024, 1, 1, tzinfo=UTC)], "v": [self._files]})
        frame.write_parquet(body)
        self._storage.replace(f"{name}/{self._files}.parquet", body.getvalue())

    def batches(self) -> int:
        """How many batches are committed."""
        return sum(
            it.get("status", {}).get("batch", 0) for it in self._api.list(DATA_PIPELINE, self.namespace)
        )

    def _create(self, resource: Any, name: str, spec: dict[str, Any]) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
        self._api.create(resource, body)


def _until_taken(operator: Operator, tenant: Tenant, name: str) -> float:
    """Seconds from a file to the status that has its batch."""
    before, start = tenant.batches(), time.monotonic()
    tenant.drop(name)
    return operator.until(lambda: tenant.batches() > before, 0.1) - (start - operator.start)
