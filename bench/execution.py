"""How long after a row has come it is readable online in a cluster: a file of which a hint tells, with Jobs and with workers
that stay, and a message of Kafka with these.

The API server, its controllers, the S3 server, Redis and the operator are real; pods are processes of this machine: no image
is unpacked and no sandbox made, which takes a node another second or more for each Job.
"""

from __future__ import annotations

import base64
import io
import json
import os
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

import featurestore
from bench.events import cpu_s
from bench.figure import Figure, percentile
from featurestore.storage.objects import Storage

COUNT = 25
"""Files and messages that come one by one."""
TOKEN = "a token of the measurement"
ROOT = "s3://features/root"
COLUMNS = [
    {"name": "k", "type": "string"},
    {"name": "ts", "type": "timestamp"},
    {"name": "v", "type": "int64"},
]


def measure() -> list[Figure]:
    """p50 and p99 of what comes one by one, each when the one before is readable, and the processor time of each."""
    from cluster.control_plane import control_plane
    from cluster.fixtures import apply_crds

    figures = []
    with tempfile.TemporaryDirectory() as name, control_plane(Path(name) / "plane") as plane:
        apply_crds(plane)
        with plane.controllers():
            for number, (what, execution) in enumerate(
                (("file", "Job"), ("file", "Warm"), ("message", "Warm"))
            ):
                taken_s, cpu_s = _arrived(plane, Path(name) / str(number), what, execution)
                question, p50 = f"{what} to readable, {execution}", percentile(taken_s, 0.5)
                met = p50 <= 1 if execution == "Warm" else None
                figures += [
                    Figure(question, "p50", p50, "s", "≤ 1 s" if execution == "Warm" else "", met),
                    Figure(question, "p99", percentile(taken_s, 0.99), "s"),
                    Figure(question, "CPU of a batch, pods and operator", cpu_s, "s"),
                ]
    return figures


def _arrived(plane: Any, folder: Path, what: str, execution: str) -> tuple[list[float], float]:
    from cluster.fixtures import namespace_of
    from cluster_story import story
    from eventually import eventually
    from server import free_port
    from storage_server import buckets, redis

    folder.mkdir()
    (folder / "redis").mkdir()
    with ExitStack() as stack:
        environ = stack.enter_context(buckets(folder / "s3", "features", "raw"))
        os.environ.update(environ)
        url = stack.enter_context(redis(folder / "redis"))
        namespace = stack.enter_context(namespace_of(plane))
        cluster = stack.enter_context(story(plane, namespace, folder))
        for name, values in (("s3", environ), ("events-webhook", {"token": TOKEN})):
            data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
            cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})
        secret = {"secretRef": {"name": "s3"}}
        port = free_port()
        webhook = f"http://127.0.0.1:{port}/notifications/{namespace}/events"
        source, trigger, send = (
            _files(webhook, secret) if what == "file" else stack.enter_context(_messages(folder))
        )
        send(0)  # It has a Job in any case.
        cluster.apply(
            cluster.store(offline={"uri": ROOT, **secret}, online={"redis": {"url": url}}),
            cluster.pipeline(source=source, trigger=trigger, columns=COLUMNS, execution=execution),
            cluster.view(),
        )
        operator = cluster.start(f"--notification-port={port}")
        eventually(cluster.settled, 300, cluster.told)
        if execution == "Warm":
            eventually(lambda: _has_worker(cluster), 300, cluster.told)
        store, taken_s = featurestore.connect(ROOT), []
        began_s = _cpu_s(operator.server.pid, cluster.node.pids)
        for number in range(1, COUNT + 1):
            begin_s = time.perf_counter()
            send(number)
            while store.get_features(["things:v"], [{"k": "a"}]).to_dict()["v"] != [number]:
                time.sleep(0.005)
            taken_s.append(time.perf_counter() - begin_s)
        return taken_s, (_cpu_s(operator.server.pid, cluster.node.pids) - began_s) / COUNT


def _files(
    webhook: str, secret: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], Callable[[int], None]]:
    """Source, trigger, and what puts file n and tells of it."""

    def send(number: int) -> None:
        _put(number)
        if number:  # Nobody listens before.
            _tell(webhook, f"{number}.parquet")

    source = {"uri": "s3://raw/*.parquet", "format": "Parquet", **secret}
    return source, {"arrivals": {"maxWait": "0s"}, "notifications": {"webhook": {}}}, send


@contextmanager
def _messages(
    folder: Path,
) -> Iterator[tuple[dict[str, Any], dict[str, Any], Callable[[int], None]]]:
    """Source, trigger, and what sends message n."""
    from confluent_kafka import Producer
    from kafka_broker import Topic, broker

    (folder / "kafka").mkdir()
    with broker(folder / "kafka") as kafka:
        Topic(kafka, "clicks").create(1)
        producer = Producer({"bootstrap.servers": kafka.address, "linger.ms": 0})

        def send(number: int) -> None:
            value = {"k": "a", "ts": datetime.now(UTC).isoformat(timespec="microseconds"), "v": number}
            producer.produce("clicks", json.dumps(value).encode())
            producer.flush()

        source = {"kafka": {"bootstrapServers": kafka.address, "topic": "clicks", "format": "JSON"}}
        yield source, {"arrivals": {"maxWait": "0s", "pollInterval": "200ms"}}, send


def _put(number: int) -> None:
    body = io.BytesIO()
    pl.DataFrame({"k": ["a"], "ts": [datetime.now(UTC)], "v": [number]}).write_parquet(body)
    Storage("s3://raw").replace(f"{number}.parquet", body.getvalue())


def _has_worker(cluster: Any) -> bool:
    conditions = cluster.get("featurestore", "default").get("status", {}).get("conditions", ())
    return any(each["type"] == "Workers" and each["status"] == "True" for each in conditions)


def _tell(webhook: str, key: str) -> None:
    records = {"Records": [{"s3": {"bucket": {"name": "raw"}, "object": {"key": key}}}]}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with urllib.request.urlopen(urllib.request.Request(webhook, json.dumps(records).encode(), headers)):
        return


def _cpu_s(operator: int, pods: list[int]) -> float:
    """CPU seconds of the operator, of pods that run, and of processes that have ended."""
    ended = os.times()
    return ended.children_user + ended.children_system + sum(map(cpu_s, (operator, *pods)))
