"""Streams as sources in a cluster: the operator asks real servers, and Jobs read them, with logins from Secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import storage_server
from cluster.control_plane import ControlPlane
from cluster_story import Story, story
from kafka_broker import Broker
from nats_server import NatsServer
from redis_key import RedisKey

pytestmark = pytest.mark.slow


@pytest.fixture
def it(controllers: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Story]:
    with story(controllers, namespace, tmp_path) as told:
        yield told


def row(key: str, value: int) -> dict[str, object]:
    return {"k": key, "ts": "2024-01-01T00:00:00Z", "v": value}


def test_messages_of_each_kind_of_stream_become_rows_with_logins_from_secrets(
    it: Story, kafka_broker: Broker, nats: NatsServer, tmp_path: Path
) -> None:
    columns = [{"name": "ts", "type": "timestamp"}, {"name": "v", "type": "int64"}]
    topic, stream = kafka_broker.topic(2), nats.stream()
    with storage_server.redis(tmp_path, password="only-for-tests") as url:
        key = RedisKey(url, password="only-for-tests")
        it.secret(
            "kafka",
            KAFKA_SASL_MECHANISM="PLAIN",
            KAFKA_SASL_USERNAME="ann",
            KAFKA_SASL_PASSWORD=kafka_broker.password,
            KAFKA_SSL_CA=kafka_broker.authority,
        )
        it.secret("redis", REDIS_PASSWORD="only-for-tests")
        login = {"bootstrapServers": kafka_broker.login_address, "secretRef": {"name": "kafka"}}
        sources = {
            "events": topic.source(**login),
            "of-nats": stream.source(),
            "of-redis": key.source(secretRef={"name": "redis"}),
        }
        it.apply(
            it.store(),
            *(it.pipeline(name, source=source, columns=columns) for name, source in sources.items()),
            it.view(),
        )
        it.start()
        topic.send(row("a", 1), row("b", 2))
        stream.send(row("a", 3))
        key.send(row("a", 4), b"what is this")
        it.until("featureview", "things", "UpToDate", rows=2)
        it.until("datapipeline", "events", "UpToDate", rows=2)
        it.until("datapipeline", "of-nats", "UpToDate", rows=1)
        it.until("datapipeline", "of-redis", "InQuarantine", "QuarantineEmpty", rows=1)
        for name in sources:
            assert it.get("datapipeline", name)["status"]["lag"] == 0
        answer = it.reader().get_features(["things:v"], [{"k": "a"}, {"k": "b"}]).to_dict()
        assert answer["v"] == [1, 2]
