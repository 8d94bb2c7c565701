"""What a tenant with much work costs the others: hundreds of pipelines with a file each, with and without a bound on Jobs.

Pods are processes of this machine, as many at once as its memory bears; the control plane, its controllers and the operator
are real.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from bench.controller import ROOT
from bench.figure import Figure
from bench.running import Operator, run
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import DATA_PIPELINE, FEATURE_STORE, NAMESPACE
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
                figures += _measure(plane, Path(folder), mode, options, each)
    return figures


def _measure(plane: Any, folder: Path, mode: str, options: tuple[str, ...], each: int) -> list[Figure]:
    from cluster.hollow_node import hollow_node

    api = Api(access.configuration(str(plane.kubeconfig)), Metrics())
    busy, other = _Tenant(api, "busy", folder), _Tenant(api, "other", folder)
    other.pipeline("p")
    with (
        hollow_node(plane, busy.namespace) as node,
        hollow_node(plane, other.namespace),
        (folder / "log").open("wb") as log,
        run(plane, log, options=options) as operator,
    ):
        node.most = PODS
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
    api.close()
    what = f"{each} pipelines with a file each, {mode}"
    bounded = mode != "no bound"
    return [
        Figure("tenants", f"{what}: another tenant's file, idle", idle_s, "s"),
        Figure(
            "tenants",
            f"{what}: another tenant's file",
            taken_s,
            "s",
            "at most twice idle" if bounded else "",
            taken_s <= 2 * idle_s if bounded else None,
        ),
        Figure("tenants", f"{what}: the first result was there after", first[0], "s"),
    ]


class _Tenant:
    """A namespace with a store, and pipelines that are polled each second."""

    def __init__(self, api: Api, namespace: str, folder: Path) -> None:
        self._api, self.namespace, self._folder, self._files = api, namespace, folder / namespace, 0
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "namespace": None}}
        api.create(NAMESPACE, body)
        self._create(FEATURE_STORE, "default", {"offline": {"uri": f"{self._folder}/root"}})

    def pipeline(self, name: str) -> None:
        (self._folder / name).mkdir(parents=True, exist_ok=True)
        source = {"uri": f"{self._folder}/{name}/*.parquet", "format": "Parquet"}
        trigger = {"arrivals": {"pollInterval": "1s", "maxWait": "0s"}}
        self._create(DATA_PIPELINE, name, {"source": source, "trigger": trigger})

    def drop(self, name: str) -> None:
        self._files += 1
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        frame = pl.DataFrame({"k": ["a"], "ts": [datetime(2024, 1, 1, tzinfo=UTC)], "v": [self._files]})
        frame.write_parquet(folder / f".{self._files}")
        (folder / f".{self._files}").rename(folder / f"{self._files}.parquet")

    def batches(self) -> int:
        """How many batches are committed."""
        return sum(
            it.get("status", {}).get("batch", 0) for it in self._api.list(DATA_PIPELINE, self.namespace)
        )

    def _create(self, resource: Any, name: str, spec: dict[str, Any]) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
        self._api.create(resource, body)


def _until_taken(operator: Operator, tenant: _Tenant, name: str) -> float:
    """Seconds from a file to the status that has its batch."""
    before, start = tenant.batches(), time.monotonic()
    tenant.drop(name)
    return operator.until(lambda: tenant.batches() > before, 0.1) - (start - operator.start)
