"""What a large cluster costs the operator: time until all is queued, memory, calls, and writes at rest.

Needs what the tests of the operator need: ``tests/services`` brings it. The operator is the real one but for
the controller, which needs storage: see ``tests/support/onlooker.py``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.figure import Figure

ROOT = Path(__file__).parents[1]
EACH = 5000
NAMESPACES = 10
REST_S = 20.0
USER = "measured"


def measure(each: int = EACH) -> list[Figure]:
    """Figures of one operator with ``each`` pipelines and as many views."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from cluster.control_plane import control_plane
    from cluster.fixtures import apply_crds
    from server import free_port

    with tempfile.TemporaryDirectory() as folder, control_plane(Path(folder) / "plane") as plane:
        apply_crds(plane)
        _fill(str(plane.kubeconfig), each)
        kubeconfig = plane.kubeconfig_of(USER, ["system:masters"])
        port = free_port()
        onlooker = ROOT / "tests" / "support" / "onlooker.py"
        command = [
            sys.executable,
            onlooker,
            f"--kubeconfig={kubeconfig}",
            f"--port={port}",
            "--no-leader-elect",
        ]
        since = plane.audit.mark()
        start = time.monotonic()
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            serving_s = _until(lambda: _code(port, "/healthz") == 200, start)
            queued_s = _until(lambda: _code(port, "/readyz") == 200, start)
            _until(lambda: _looks(port) >= 2 * each, start)
            mark = plane.audit.mark()
            time.sleep(REST_S)
            writes = len(plane.audit.writes(USER, since))
            calls = plane.audit.requests(USER, since)
            at_rest = len(plane.audit.requests(USER, mark))
            now_mib, peak_mib = _memory_mib(process.pid)
        finally:
            process.terminate()
            process.wait(30)
    whose = f"{each:,} views and {each:,} pipelines"
    kinds = Counter(call.verb for call in calls)
    said = ", ".join(f"{number} {verb}" for verb, number in sorted(kinds.items()))
    return [
        Figure("operator", "start: probes answer", serving_s, "s", "under 3 s", serving_s < 3),
        Figure(
            "operator",
            f"all queued: {whose}",
            queued_s - serving_s,
            "s",
            "within 5 s",
            queued_s - serving_s < 5,
        ),
        Figure("operator", f"memory at rest: {whose}", now_mib, "MiB", "under 150 MiB", now_mib < 150),
        Figure("operator", f"peak of memory: {whose}", peak_mib, "MiB", "under 150 MiB", peak_mib < 150),
        Figure("operator", f"calls until there ({said})", len(calls), "calls"),
        Figure("operator", f"calls at rest in {REST_S:g} s", at_rest, "calls"),
        Figure("operator", "writes", writes, "writes", "none", writes == 0),
    ]


def _fill(kubeconfig: str, each: int) -> None:
    from manifest import pipeline, view

    from featurestore_operator import access
    from featurestore_operator.api import Api
    from featurestore_operator.metrics import Metrics
    from featurestore_operator.resource import DATA_PIPELINE, FEATURE_VIEW, Resource

    api = Api(access.configuration(kubeconfig), Metrics())
    namespace = Resource("v1", "Namespace", "namespaces")
    for number in range(NAMESPACES):
        api.create(
            namespace,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"n{number}", "namespace": None}},
        )

    def manifests() -> Iterable[tuple[Resource, dict[str, Any]]]:
        for number in range(each):
            where = f"n{number % NAMESPACES}"
            yield DATA_PIPELINE, pipeline(where, f"p{number}", "a pipeline " * 20)
            it = view(where, f"v{number}", f"p{number}", "a view " * 20)
            for feature in range(9):
                it["spec"]["features"].append(
                    {"name": f"f{feature}", "type": "float64", "column": f"c{feature}"}
                )
            yield FEATURE_VIEW, it

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda it: api.create(*it), manifests()))
    api.close()


def _code(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _metrics(port: int) -> dict[str, float]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return {}
    return {
        name: float(value) for name, value in (it.rsplit(" ", 1) for it in lines if not it.startswith("#"))
    }


def _looks(port: int) -> float:
    found = _metrics(port).items()
    return sum(
        value for name, value in found if name.startswith("featurestore_operator_reconcile_seconds_count")
    )


def _until(holds: Callable[[], bool], start: float) -> float:
    """Seconds since ``start`` when it holds."""
    while not holds():
        if time.monotonic() - start > 300:
            raise TimeoutError("not so within 300 s")
        time.sleep(0.1)
    return time.monotonic() - start


def _memory_mib(pid: int) -> tuple[float, float]:
    """Resident memory now and at its greatest."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return int(found["VmRSS"].split()[0]) / 1024, int(found["VmHWM"].split()[0]) / 1024
