"""What a tenant with much work costs the others where Jobs are pods: the same as ``tenants``, on a node with containers.

Everything is on this machine: control plane, node, the S3 server that has the files, and the operator, which is a process beside
the node. A Job requests half a processor, so that without a bound as well the node runs no more pods at once than twice its
processors; the others wait for a node. Needs root on Debian, as ``make cluster`` does.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.controller import ROOT
from bench.figure import Figure
from bench.running import run
from bench.tenants import EACH, MODES, Tenant, shared
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.metrics import Metrics

BUCKET = "bench"
DEADLINE_S = 3600.0
"""Two hundred pods, one after another, on a machine that has other work."""


def measure(each: int = EACH) -> list[Figure]:
    """Figures of both modes, each with a cluster of its own."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from cluster.fixtures import apply_crds
    from cluster.node import node
    from product import job_image
    from storage_server import s3

    figures = []
    for mode, options in MODES.items():
        with tempfile.TemporaryDirectory() as name, node(Path(name) / "node") as cluster:
            apply_crds(cluster)
            (Path(name) / "s3" / BUCKET).mkdir(parents=True)
            with s3(Path(name) / "s3", cluster.address) as keys:
                image = f"--job-image={job_image(cluster)}"
                figures += _with_pods(cluster, Path(name), keys, mode, (*options, image), each)
    return figures


def _with_pods(
    cluster: Any, folder: Path, keys: dict[str, str], mode: str, options: tuple[str, ...], each: int
) -> list[Figure]:
    api = Api(access.configuration(str(cluster.kubeconfig)), Metrics())
    busy, other = (Tenant(api, name, f"s3://{BUCKET}/{name}", keys) for name in ("busy", "other"))
    with (folder / "log").open("wb") as log, run(cluster, log, options=options) as operator:
        operator.deadline_s = DEADLINE_S
        figures = shared("tenants on a node", mode, operator, busy, other, each)
    api.close()
    return figures
