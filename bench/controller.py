"""What a large cluster costs the operator: time until all is queued and handled, memory, calls, and writes at rest.

The real operator before a real API server. Needs what the tests of the operator need: ``tests/services`` brings it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figure import Figure
from bench.fleet import COMMITTED, NAMESPACES, Fleet

ROOT = Path(__file__).parents[1]
EACH = 5000
REST_S = 60.0
CHANGES = 10
QUIET_S = 5.0
DEADLINE_S = 600.0
USER = "measured"


def measure(each: int = EACH) -> list[Figure]:
    """Figures of one operator with ``each`` pipelines and as many views."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from cluster.control_plane import control_plane
    from cluster.fixtures import apply_crds

    with tempfile.TemporaryDirectory() as folder, control_plane(Path(folder) / "plane") as plane:
        apply_crds(plane)
        fleet = Fleet(Path(folder) / "fleet", each)
        fleet.commit()
        fleet.create(str(plane.kubeconfig))
        kubeconfig = plane.kubeconfig_of(USER, ["system:masters"])
        with (Path(folder) / "log").open("wb") as log:
            with _operator(plane, kubeconfig, log) as first:
                figures = _first_start(first, fleet)
                figures += _rest(first)
                figures += _changes(first, fleet)
            with _operator(plane, kubeconfig, log) as second:
                figures += _restart(second, fleet)
    return figures


@dataclass
class _Operator:
    """A process that runs since ``start`` (monotonic), and what it asked the API server since ``mark``."""

    plane: Any
    pid: int
    port: int
    start: float
    mark: int

    def code(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def value(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = (it.rsplit(" ", 1) for it in self.metrics().splitlines() if it.startswith(name))
        return sum(float(number) for _, number in lines)

    def requests(self, since: int | None = None) -> list[Any]:
        found: list[Any] = self.plane.audit.requests(USER, self.mark if since is None else since)
        return found

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> tuple[float, float]:
        """Resident memory now and at its greatest."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        found = {name: value for name, _, value in (line.partition(":") for line in lines)}
        return int(found["VmRSS"].split()[0]) / 1024, int(found["VmHWM"].split()[0]) / 1024

    def until(self, holds: Callable[[], bool], every_s: float = 0.05) -> float:
        """Seconds since the start when it holds."""
        while not holds():
            if time.monotonic() - self.start > DEADLINE_S:
                raise TimeoutError(f"not so within {DEADLINE_S:g} s")
            time.sleep(every_s)
        return time.monotonic() - self.start

    def until_quiet(self) -> None:
        """Return when it has written nothing for a while."""
        while True:
            mark = self.plane.audit.mark()
            time.sleep(QUIET_S)
            if not _writes(self.requests(mark)):
                return


@contextmanager
def _operator(plane: Any, kubeconfig: Path, log: Any) -> Iterator[_Operator]:
    from server import free_port

    port = free_port()
    command = [
        *(sys.executable, "-m", "featurestore_operator"),
        *(f"--kubeconfig={kubeconfig}", f"--port={port}", "--no-leader-elect"),
    ]
    mark, start = plane.audit.mark(), time.monotonic()
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield _Operator(plane, process.pid, port, start, mark)
    finally:
        process.terminate()
        process.wait(60)


def _first_start(operator: _Operator, fleet: Fleet) -> list[Figure]:
    """A cluster full of resources that no operator has ever seen."""
    serving_s = operator.until(lambda: operator.code("/healthz") == 200)
    queued_s = operator.until(lambda: operator.code("/readyz") == 200)
    told: set[tuple[str, str, str]] = set()
    mark = operator.mark

    def all_told() -> bool:
        nonlocal mark
        since, mark = mark, operator.plane.audit.mark()
        told.update(
            (it.resource, it.namespace, it.name)
            for it in operator.requests(since)
            if it.verb == "patch" and it.resource.endswith("/status")
        )
        return len(told) >= 2 * fleet.each + NAMESPACES

    told_s = operator.until(all_told, 0.5)
    operator.until_quiet()
    return [
        Figure("operator", "start: probes answer", serving_s, "s", "under 3 s", serving_s < 3),
        Figure("operator", f"all queued: {_whose(fleet)}", queued_s, "s", "within 5 s", queued_s < 5),
        Figure("operator", "first start: each has a status", told_s, "s"),
    ]


def _rest(operator: _Operator) -> list[Figure]:
    """Nothing happens, but that sources are looked at."""
    mark, cpu_s, looks, start = (
        operator.plane.audit.mark(),
        operator.cpu_s(),
        operator.value(LOOKS),
        time.monotonic(),
    )
    time.sleep(REST_S)
    cores = (operator.cpu_s() - cpu_s) / (time.monotonic() - start)
    now_mib, peak_mib = operator.memory_mib()
    rate = (operator.value(LOOKS) - looks) / (time.monotonic() - start)
    late = operator.value('featurestore_operator_queue{state="ready"}')
    requests = operator.requests(mark)
    writes = len(_writes(requests))
    reads = len(requests) - writes
    scrapes = []
    for _ in range(5):
        start = time.monotonic()
        text = operator.metrics()
        scrapes.append((time.monotonic() - start) * 1000)
    return [
        Figure("operator", "memory at rest", now_mib, "MiB", "under 150 MiB", now_mib < 150),
        Figure("operator", "peak of memory", peak_mib, "MiB", "under 150 MiB", peak_mib < 150),
        Figure("operator", f"writes at rest in {REST_S:g} s", writes, "writes", "none", writes == 0),
        Figure(
            "operator",
            f"reads at rest ({_said(requests)})",
            reads * 60 / REST_S,
            "calls/min",
        ),
        Figure("operator", "looks at rest", rate, "looks/s"),
        Figure("operator", "keys that wait for a worker at rest", late, "keys"),
        Figure("operator", "CPU at rest", cores, "cores"),
        Figure("operator", "a scrape of /metrics", statistics.median(scrapes), "ms"),
        Figure("operator", "a scrape of /metrics", len(text) / 1e6, "MB"),
    ]


def _changes(operator: _Operator, fleet: Fleet) -> list[Figure]:
    """One thing changes while all else rests."""
    waits = [_change(operator, fleet, number) for number in range(CHANGES)]
    name, mark, dropped = fleet.names[-1], operator.plane.audit.mark(), time.time()
    fleet.drop(name, "late.parquet")

    def begun() -> list[float]:
        jobs = [it for it in operator.requests(mark) if (it.verb, it.resource) == ("create", "jobs.batch")]
        return [it.at.timestamp() - dropped for it in jobs]

    operator.until(lambda: len(begun()) >= NAMESPACES, 0.5)
    lags = begun()
    return [
        Figure("operator", "a changed view has its status: median", statistics.median(waits), "ms"),
        Figure("operator", "a changed view has its status: longest", max(waits), "ms"),
        Figure("operator", "a new file has its Job (polled each 10 s): median", statistics.median(lags), "s"),
        Figure("operator", "a new file has its Job: longest", max(lags), "s"),
    ]


def _change(operator: _Operator, fleet: Fleet, number: int) -> float:
    """Milliseconds from a changed view to its status."""
    from kubernetes.client import CustomObjectsApi

    where = ("featurestore.dev", "v1alpha1", fleet.namespaces[number % NAMESPACES], "featureviews")
    name = fleet.names[COMMITTED + number]
    with operator.plane.client() as client:
        api = CustomObjectsApi(client)
        start = time.monotonic()
        changed = api.patch_namespaced_custom_object(*where, name, {"spec": {"description": "another"}})
        wanted = changed["metadata"]["generation"]
        while True:
            found = api.get_namespaced_custom_object(*where, name)
            if found.get("status", {}).get("observedGeneration") == wanted:
                return (time.monotonic() - start) * 1000
            if time.monotonic() - start > DEADLINE_S:
                raise TimeoutError("the changed view has no status")


def _restart(operator: _Operator, fleet: Fleet) -> list[Figure]:
    """A cluster in which all is done: everything is looked at once, and nothing written."""
    operator.until(lambda: operator.code("/readyz") == 200)
    looked_s = operator.until(lambda: operator.value(LOOKS) >= 2 * fleet.each + NAMESPACES, 1.0)
    requests = operator.requests()
    writes = len(_writes(requests))
    return [
        Figure("operator", "restart: each was looked at", looked_s, "s"),
        Figure("operator", f"restart: calls ({_said(requests)})", len(requests), "calls"),
        Figure("operator", "restart: writes", writes, "writes", "none", writes == 0),
    ]


LOOKS = "featurestore_operator_reconcile_seconds_count"


def _whose(fleet: Fleet) -> str:
    return f"{fleet.each:,} views and {fleet.each:,} pipelines"


def _writes(requests: list[Any]) -> list[Any]:
    return [it for it in requests if it.writes]


def _said(requests: list[Any]) -> str:
    kinds = Counter(it.verb for it in requests)
    return ", ".join(f"{number} {verb}" for verb, number in sorted(kinds.items())) or "none"


if __name__ == "__main__":
    for each in measure(int(sys.argv[1])):
        print(json.dumps([each.name, each.value, each.unit, each.goal, each.met]))
