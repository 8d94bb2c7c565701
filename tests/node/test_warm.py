"""Workers that stay, as pods: batches by them, a crash amid one, and none left when nothing is asked of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import flights
from eventually import eventually
from tenant import Object, Tenant

from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore_operator.jobs.job_manifest import BATCH
from featurestore_operator.jobs.workers import is_ready

WORKERS = "app.kubernetes.io/name=featurestore-worker"
# A worker that has come to the step stays there; a Job goes on.
HELD = """
import socket, time

def step(rows):
    if "-worker-" in socket.gethostname():
        print("is held", flush=True)
        time.sleep(3600)
    return rows
"""
TEMPLATE = {
    "env": [{"name": "PYTHONPATH", "value": "/code"}],
    "volumes": [{"name": "code", "configMap": {"name": "code"}}],
    "volumeMounts": [{"name": "code", "mountPath": "/code"}],
}


def pipeline(tenant: Tenant, *steps: Object) -> Object:
    transforms = [*flights.pipeline(tenant)["spec"]["transforms"], *steps]
    return flights.pipeline(tenant, execution="Warm", job={"template": TEMPLATE}, transforms=transforms)


def store(tenant: Tenant, **workers: Any) -> Object:
    made = flights.store(tenant, flights.DUCKDB)
    return {**made, "spec": {**made["spec"], "workers": {"maxWorkers": 1, **workers}}}


def workers(tenant: Tenant) -> list[Object]:
    """The pods that are there and not told to end."""
    return [pod for pod in tenant.all("pod", WORKERS) if "deletionTimestamp" not in pod["metadata"]]


def ready_worker(tenant: Tenant, but: str = "") -> str:
    """Name of the one worker, once the operator would ask it."""
    names: list[str] = []

    def is_there() -> bool:
        names[:] = [pod["metadata"]["name"] for pod in workers(tenant) if is_ready(pod)]
        return len(names) == 1 and names[0] != but

    eventually(is_there, 120, tenant.told)
    tenant.until("featurestore", "default", "Answers", "Workers")
    return names[0]


def batches(tenant: Tenant) -> list[int]:
    """The batch of each Job."""
    labels = (job["metadata"]["labels"] for job in tenant.all("job"))
    return sorted({int(each[BATCH]) for each in labels if BATCH in each})


def rows(tenant: Tenant, s3: dict[str, str]) -> int:
    """Of the dataset, by its own table."""
    storage = Storage(f"s3://{flights.BUCKETS[0]}/{tenant.namespace}", s3)
    table = Table.open(storage, paths.dataset("flights"))
    assert table is not None
    return sum(file.rows for file in table.files())


def kill(tenant: Tenant) -> None:
    """End the process of the worker's container, as the kernel does."""
    wanted = f"--worker\0s3://{flights.BUCKETS[0]}/{tenant.namespace}\0".encode()
    processes = (path for path in Path("/proc").iterdir() if path.name.isdigit())
    pids = [int(path.name) for path in processes if wanted in command_line(path)]
    assert pids, "there is no process of a worker"
    # The process that waits, and the one that runs the batch: the first ends the second in any case.
    os.kill(min(pids), signal.SIGKILL)


def command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""  # It has ended.


def until_taken(tenant: Tenant, *days: int) -> None:
    for kind, name in (("datapipeline", "flights"), ("featureview", "aircraft-delays")):
        tenant.until(kind, name, "UpToDate", rows=flights.arrived(*days))


def test_a_batch_of_a_worker_that_is_killed_is_there_once_and_the_next_worker_goes_on(
    tenant: Tenant, s3: dict[str, str]
) -> None:
    code: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}}
    tenant.apply({**code, "data": {"held.py": HELD}}, tenant.secret("s3", **s3))
    tenant.apply(store(tenant), pipeline(tenant), flights.view())
    tenant.until("datapipeline", "flights", "WaitingForFiles")
    flights.put(s3, tenant.namespace, 1)
    until_taken(tenant, 1)
    assert batches(tenant) == [1], "no worker was there"
    worker = ready_worker(tenant)
    flights.put(s3, tenant.namespace, 2)
    until_taken(tenant, 1, 2)
    assert batches(tenant) == [1]

    tenant.apply(pipeline(tenant, {"python": {"callable": "held:step"}}))
    flights.put(s3, tenant.namespace, 3)
    eventually(lambda: "is held" in tenant.log(worker), 120, tenant.told)
    tenant.until("datapipeline", "flights", "Running", "Progressing", [f"Worker {worker} runs batch 3"])
    kill(tenant)
    until_taken(tenant, 1, 2, 3)
    assert batches(tenant) == [1, 3]

    tenant.apply(pipeline(tenant))
    tenant.kubectl("delete", "pod", worker, "--grace-period=0", "--force")
    ready_worker(tenant, but=worker)
    flights.put(s3, tenant.namespace, 4)
    until_taken(tenant, 1, 2, 3, 4)
    assert batches(tenant) == [1, 3]
    assert rows(tenant, s3) == flights.arrived(1, 2, 3, 4)

    tenant.apply(store(tenant, idleTimeout="1s"))
    eventually(lambda: not workers(tenant) and not tenant.all("deployment", WORKERS), 120, tenant.told)
    eventually(lambda: not tenant.condition("featurestore", "default", "Workers"), 120, tenant.told)
