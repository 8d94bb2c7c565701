"""A file that is put to S3 becomes features that another pod reads, from each online store; and how long that takes."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from datetime import time as time_of_day
from pathlib import Path

import flights
import storage_server
from eventually import eventually
from installation import NAMESPACE
from installed import Installed
from tenant import Object, Tenant, reader

GOAL_S = 6.0
LOGGED = re.compile(r"\d\d:\d\d:\d\d\.\d{3} ")
# Asks until the aircraft is known, as a model would that waits for its features.
MODEL = f"""
import json, time
import featurestore
from featurestore.errors import FeatureStoreError

deadline = time.monotonic() + 170
print("begins", flush=True)
while True:
    try:
        store = featurestore.connect()
        while True:
            found = store.get_features({list(flights.FEATURES)}, [{{"tailnum": "{flights.TAILNUM}"}}]).to_dict()
            if found["last_arr_delay"] != [None] or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        break
    except FeatureStoreError as error:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.05)
print(json.dumps({{"at": time.time(), "found": found}}))
"""


def expected() -> dict[str, list[object]]:
    flight = flights.day(1).query(f"tailnum == '{flights.TAILNUM}'").iloc[-1]
    return {
        "tailnum": [flights.TAILNUM],
        "last_arr_delay": [flight.arr_delay],
        "last_speed_mph": [flight.distance / (flight.air_time / 60.0)],
    }


def readable(
    tenant: Tenant, installed: Installed, s3: dict[str, str], online: Object, *secrets: Object
) -> float:
    """Seconds from a file that was put to S3 until a model reads its features, which are right."""
    tenant.apply(tenant.secret("s3", **s3), *secrets)
    tenant.apply(flights.store(tenant, online), flights.pipeline(tenant), flights.view(), flights.service())
    tenant.until("datapipeline", "flights", "WaitingForFiles")
    tenant.until("featurestore", "default", "Answers")
    names = ["s3", *(it["metadata"]["name"] for it in secrets)]
    if "managed" in online.get("redis", {}):
        names.append("default-redis")
    tenant.apply(reader("model", installed.job_image, MODEL, names))
    eventually(lambda: tenant.get("pod", "model")["status"].get("phase") == "Running", 120)
    eventually(lambda: "begins" in tenant.log("model"), 120)
    started = time.time()
    flights.put(s3, tenant.namespace, 1)
    tenant.until("featureview", "aircraft-delays", "UpToDate")
    tenant.until("featureservice", "delays", "UpToDate")
    tenant.until("datapipeline", "flights", "UpToDate", rows=flights.arrived(1))
    said = json.loads(tenant.printed("model").splitlines()[-1])
    assert said["found"] == expected()
    pipeline = tenant.get("datapipeline", "flights")["status"]
    assert (pipeline["batch"], pipeline["pendingFiles"]) == (1, 0)
    assert len(tenant.all("job")) == 1
    print(*steps(tenant, installed, started), sep="\n")
    return float(said["at"]) - started


def steps(tenant: Tenant, installed: Installed, started: float) -> list[str]:
    """What happened how many seconds after the start, from what the API server was asked and the Job has said."""
    day = datetime.now(UTC).date()
    happened = [
        (asked.at.timestamp(), f"{asked.verb} {asked.resource}")
        for asked in installed.node.audit.requests()
        if asked.namespace == tenant.namespace
        and (asked.verb, asked.resource) in (("create", "jobs.batch"), ("create", "pods/binding"))
    ]
    [pod] = tenant.all("pod", "app.kubernetes.io/name=featurestore-job")
    for line in tenant.log(pod["metadata"]["name"]).splitlines():
        if LOGGED.match(line):
            at = datetime.combine(day, time_of_day.fromisoformat(line[:12]), UTC)
            happened.append((at.timestamp(), line[13:]))
    return [f"{at - started:6.2f} s  {what}" for at, what in sorted(happened) if at > started]


def test_the_operator_is_ready_on_a_node_that_lets_only_restricted_pods_in(installed: Installed) -> None:
    print(f"ready {installed.ready_s:.1f} s after kubectl apply")
    labels = json.loads(installed.node.kubectl("get", "namespace", NAMESPACE, "--output=json"))["metadata"][
        "labels"
    ]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_file_is_readable_from_duckdb_generations_on_s3(
    tenant: Tenant, installed: Installed, s3: dict[str, str]
) -> None:
    took_s = readable(tenant, installed, s3, {"duckdb": {}})
    print(f"readable from DuckDB generations {took_s:.1f} s after it was put; the goal is {GOAL_S:g} s")


def test_a_file_is_readable_from_a_redis_that_the_operator_keeps(
    tenant: Tenant, installed: Installed, s3: dict[str, str]
) -> None:
    took_s = readable(tenant, installed, s3, {"redis": {"managed": {"memory": "64Mi"}}})
    print(f"readable from managed Redis {took_s:.1f} s after it was put; the goal is {GOAL_S:g} s")


def test_a_file_is_readable_from_a_redis_with_a_password(
    tenant: Tenant, installed: Installed, s3: dict[str, str], tmp_path: Path
) -> None:
    with storage_server.redis(tmp_path, installed.node.address, "tests-only") as url:
        tenant.allow(f"{url}/")
        online = {"redis": {"url": f"{url}/0", "secretRef": {"name": "redis"}}}
        password = tenant.secret("redis", REDIS_PASSWORD="tests-only")
        took_s = readable(tenant, installed, s3, online, password)
    print(f"readable from Redis {took_s:.1f} s after it was put; the goal is {GOAL_S:g} s")
