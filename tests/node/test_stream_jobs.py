"""Streams as sources on a node: the operator's pod asks their servers, and Jobs in containers read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import flights
import pytest
import storage_server
from examples import exhaustive
from installed import Installed
from kafka_broker import broker
from nats_server import nats_server
from redis_key import RedisKey
from tenant import Object, Tenant

KINDS = ("nats", "redis", "kafka") if exhaustive() else ("nats", "redis")
COLUMNS = [{"name": "at", "type": "timestamp"}, {"name": "value", "type": "int64"}]


@pytest.fixture
def streams(installed: Installed, tmp_path: Path) -> Iterator[list[Any]]:
    """An empty stream of each kind, where pods reach it."""
    host = installed.node.address
    with ExitStack() as servers:

        def begun(kind: str) -> Any:
            folder = tmp_path / kind
            folder.mkdir()
            if kind == "nats":
                return servers.enter_context(nats_server(folder, host=host)).stream()
            if kind == "redis":
                return RedisKey(servers.enter_context(storage_server.redis(folder, host)))
            return servers.enter_context(broker(folder, host)).topic()

        yield [begun(kind) for kind in KINDS]


def pipeline(stream: Any) -> Object:
    trigger = {"arrivals": {"pollInterval": "1s", "maxWait": "100ms"}}
    return {
        "apiVersion": "featurestore.dev/v1alpha1",
        "kind": "DataPipeline",
        "metadata": {"name": f"of-{stream.kind}"},
        "spec": {"source": stream.source(), "trigger": trigger, "columns": COLUMNS},
    }


def test_messages_become_rows_by_jobs_in_containers(
    tenant: Tenant, s3: dict[str, str], streams: list[Any]
) -> None:
    uris = [uri for stream in streams for uri in allowed(stream)]
    tenant.allow(*uris)
    tenant.apply(tenant.secret("s3", **s3), flights.store(tenant, flights.DUCKDB), *map(pipeline, streams))
    for stream in streams:
        stream.send(*({"at": f"2024-01-01T00:00:0{n}Z", "value": n} for n in range(3)))
    for stream in streams:
        tenant.until("datapipeline", f"of-{stream.kind}", "UpToDate", rows=3, lag=0)


def allowed(stream: Any) -> list[str]:
    """What a policy has to let the operator ask."""
    if stream.kind == "redis":
        return [f"{stream.url}/"]
    server = stream.server if stream.kind == "nats" else stream.broker
    return [f"{stream.kind}://{server.address}/"]
