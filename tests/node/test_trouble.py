"""What goes wrong on a node is said in words that a person understands, heals by itself, and costs no row."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import flights
import storage_server
from cluster.node import NAME
from eventually import eventually
from installed import Installed
from server import free_port
from tenant import Tenant

from featurestore_operator.jobs.job_manifest import BATCH


def evict(tenant: Tenant, pod: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path = f"/api/v1/namespaces/{tenant.namespace}/pods/{pod}/eviction"
    tenant.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(eviction))


def event(tenant: Tenant, reason: str) -> str:
    """The message of the Event about the pipeline for this reason; "" if there is none."""
    selector = f"involvedObject.name=flights,reason={reason}"
    events = tenant.kubectl("get", "events", f"--field-selector={selector}", "--output=json")
    return next((str(each["message"]) for each in json.loads(events)["items"]), "")


def test_an_evicted_pod_and_a_drained_node_cost_no_attempt(
    tenant: Tenant, installed: Installed, s3: dict[str, str]
) -> None:
    flights.begin(tenant, s3)
    flights.put(s3, tenant.namespace, 1)
    evict(tenant, tenant.job_pod())
    tenant.until("featureview", "aircraft-delays", "UpToDate")
    [job] = tenant.all("job")
    eventually(lambda: tenant.get("job", job["metadata"]["name"])["status"].get("succeeded") == 1)
    # What `kubectl drain` does. The node takes no pod before the file is there, since a Job may be faster than an eviction.
    tenant.kubectl("cordon", NAME)
    try:
        flights.put(s3, tenant.namespace, 2)
        words = ["finds no node", "unschedulable"]
        tenant.until("datapipeline", "flights", "Waiting", "Progressing", words)
        pod = tenant.job_pod("Pending")
        evict(tenant, pod)
        eventually(lambda: tenant.job_pod("Pending") != pod, 120, tenant.told)
        tenant.until("datapipeline", "flights", "Waiting", "Progressing", words)
    finally:
        tenant.kubectl("uncordon", NAME)
    flights.rests_with(tenant, installed, 1, 2)
    assert len(tenant.all("job")) == 2


def test_a_job_that_ran_out_of_memory_runs_again_with_more(
    tenant: Tenant, installed: Installed, s3: dict[str, str]
) -> None:
    code = "def clean(rows):\n    held = b'x' * (220 << 20)\n    return rows\n"
    tenant.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}, "data": {"greedy.py": code}}
    )
    template = {
        "env": [{"name": "PYTHONPATH", "value": "/code"}],
        "volumes": [{"name": "code", "configMap": {"name": "code"}}],
        "volumeMounts": [{"name": "code", "mountPath": "/code"}],
    }
    flights.begin(
        tenant,
        s3,
        resources={"memory": "256Mi", "memoryLimit": "2Gi"},
        transforms=[
            *flights.pipeline(tenant)["spec"]["transforms"],
            {"python": {"callable": "greedy:clean"}},
        ],
        job={"template": template},
    )
    flights.put(s3, tenant.namespace, 1)
    words = ["ran out of memory", "256.0 MiB"]
    tenant.until("datapipeline", "flights", "Retrying", "Degraded", words)
    tenant.until("datapipeline", "flights", "Running", "Progressing", ["OOM kill"])
    flights.rests_with(tenant, installed, 1)
    # A view whose part of a Job ran out of memory has a Job of its own then, with a memory of its own.
    limits = sorted(
        int(it["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"])
        for it in tenant.all("job")
        if BATCH in it["metadata"]["labels"]
    )
    assert limits == [256 * 2**20 << killed for killed in range(len(limits))]
    assert len(limits) > 1
    learned = tenant.get("datapipeline", "flights")["status"]["memory"]
    assert learned["peakBytes"] > limits[0]


def test_an_image_that_is_missing_is_named_and_another_one_heals_it(
    tenant: Tenant, installed: Installed, s3: dict[str, str]
) -> None:
    missing = "localhost/featurestore-tests/nowhere:1"
    flights.begin(tenant, s3, job={"template": {"image": missing}})
    flights.put(s3, tenant.namespace, 1)
    words = ["cannot start its container", "ImagePullBackOff", missing]
    tenant.until("datapipeline", "flights", "Waiting", "Progressing", words)
    tenant.until("datapipeline", "flights", "CannotStart", words=[missing])
    eventually(lambda: missing in event(tenant, "CannotStart"), 120, tenant.told)
    tenant.apply(flights.pipeline(tenant, job={"template": {"image": installed.job_image}}))
    flights.rests_with(tenant, installed, 1)
    eventually(lambda: event(tenant, "BatchPending"), 120, tenant.told)


def test_storage_that_does_not_answer_is_named_and_work_goes_on_when_it_does(
    tenant: Tenant, installed: Installed, tmp_path: Path
) -> None:
    port, folder, address = free_port(), tmp_path / "s3", installed.node.address
    folder.mkdir()
    with ExitStack() as server:
        s3 = server.enter_context(storage_server.s3(folder, address, port=port))
        flights.make_buckets(s3)
        flights.begin(tenant, s3)
        flights.put(s3, tenant.namespace, 1)
        tenant.until("featureview", "aircraft-delays", "UpToDate")
    words = [f"s3://features/{tenant.namespace}", "Next attempt at"]
    tenant.until("datapipeline", "flights", "NotObserved", words=words)
    tenant.until("featurestore", "default", "OfflineUnavailable", "OfflineReachable", words)
    with storage_server.s3(folder, address, port=port):
        flights.put(s3, tenant.namespace, 2)
        flights.rests_with(tenant, installed, 1, 2)


def test_a_redis_that_is_away_is_named_and_training_data_flows_on(
    tenant: Tenant, installed: Installed, s3: dict[str, str], tmp_path: Path
) -> None:
    port, password, address = free_port(), "tests-only", installed.node.address
    tenant.apply(tenant.secret("redis", REDIS_PASSWORD=password))
    with ExitStack() as server:
        url = server.enter_context(storage_server.redis(tmp_path, address, password, port))
        tenant.allow(f"{url}/")
        flights.begin(tenant, s3, {"redis": {"url": f"{url}/0", "secretRef": {"name": "redis"}}})
        flights.put(s3, tenant.namespace, 1)
        tenant.until("featureview", "aircraft-delays", "UpToDate")
    flights.put(s3, tenant.namespace, 2)
    words = [f"{address}:{port}"]
    tenant.until("featurestore", "default", "OnlineUnavailable", "OnlineReachable", words)
    tenant.until("datapipeline", "flights", "UpToDate", words=["All 2 batches"])
    rows = flights.arrived(1, 2)
    tenant.until("featureview", "aircraft-delays", "UpToDate", "Materialized", rows=rows)
    assert tenant.condition("featureview", "aircraft-delays", "OnlineSynced")["status"] != "True"
    with storage_server.redis(tmp_path, address, password, port):
        flights.rests_with(tenant, installed, 1, 2)
        tenant.until("featurestore", "default", "Answers", "OnlineReachable")
