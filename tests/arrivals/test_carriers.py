"""Hints that NATS, Kafka and Redis carry, with a real S3 server that sends to the first two."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from eventually import eventually
from kafka_broker import Broker
from nats_server import NatsServer, nats_server
from storage_server import s3

from featurestore.arrivals.files.file_source import FileSource
from featurestore.arrivals.notifications.subscriptions import Subscriptions
from featurestore.resources.data_pipeline import Source
from featurestore.resources.notifications import Notifications
from featurestore.storage.filesystem import filesystem

KEYS = ["in/0 ü+.csv", "in/a%20b.csv", "in/day=1/b.csv"]


@dataclass
class Heard:
    """What was told to look at, by pipeline."""

    urls: dict[str, list[str]] = field(default_factory=dict)
    pipelines: Subscriptions = field(init=False)

    def __post_init__(self) -> None:
        self.pipelines = Subscriptions(self.take)

    def take(self, address: str, urls: Sequence[str]) -> None:
        self.urls.setdefault(address, []).extend(urls)

    def attend(self, address: str, spec: dict[str, Any]) -> None:
        self.pipelines.attend(address, Notifications.model_validate(spec).carrier, {})

    def wait(self, address: str) -> None:
        """Until it is subscribed."""
        eventually(lambda: self.pipelines.failure(address) is None)


@pytest.fixture
def heard() -> Iterator[Heard]:
    found = Heard()
    yield found
    found.pipelines.close()


Sender = Callable[[bytes], None]


def of_nats(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Sender]:
    server: NatsServer = request.getfixturevalue("nats")

    return {"nats": {"servers": server.address, "subject": "hints.*"}}, lambda body: server.publish(
        "hints.a", body
    )


def of_kafka(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Sender]:
    broker: Broker = request.getfixturevalue("kafka_broker")
    topic = broker.topic(2)
    return {"kafka": {"bootstrapServers": broker.address, "topic": topic.name}}, topic.send


def of_redis(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Sender]:
    url: str = request.getfixturevalue("redis_server")
    client: Any = redis.Redis.from_url(url)
    return {"redis": {"url": url, "channel": "hints"}}, lambda body: client.publish("hints", body)


CARRIERS = {"nats": of_nats, "kafka": of_kafka, "redis": of_redis}


@pytest.mark.parametrize("kind", CARRIERS)
def test_what_is_sent_is_heard_by_each_pipeline_that_wants_it_and_what_has_no_meaning_is_passed_over(
    request: pytest.FixtureRequest, heard: Heard, kind: str
) -> None:
    spec, send = CARRIERS[kind](request)
    for address in ("a", "b"):
        heard.attend(address, spec)
    heard.wait("a")
    send(b"what is this")
    send(json.dumps({"uri": "s3://raw/a.csv"}).encode())
    eventually(lambda: heard.urls.keys() == {"a", "b"})
    heard.pipelines.attend("a", None, None)
    send(json.dumps({"uri": "s3://raw/b.csv"}).encode())
    eventually(lambda: len(heard.urls["b"]) == 2)
    assert heard.urls == {"a": ["s3://raw/a.csv"], "b": ["s3://raw/a.csv", "s3://raw/b.csv"]}


@pytest.mark.parametrize("kind", ["nats", "kafka"])
def test_what_the_s3_server_sends_of_an_object_names_it(
    request: pytest.FixtureRequest, heard: Heard, tmp_path: Path, kind: str
) -> None:
    if kind == "nats":
        server: NatsServer = request.getfixturevalue("nats")
        place, spec = f"{server.address}/fs.s3", {"nats": {"servers": server.address, "subject": "fs.s3"}}
    else:
        broker: Broker = request.getfixturevalue("kafka_broker")
        topic = broker.topic()
        place = f"{broker.address}/{topic.name}"
        spec = {"kafka": {"bootstrapServers": broker.address, "topic": topic.name}}
    heard.attend("a", spec)
    heard.wait("a")
    (tmp_path / "s3" / "raw").mkdir(parents=True)
    with s3(tmp_path / "s3", events_to=f"{kind}://{place}") as environ:
        fs, _ = filesystem("s3://raw", environ)
        for key in KEYS:
            fs.call_s3("put_object", Bucket="raw", Key=key, Body=b"a\n1\n")
        source = FileSource(
            Source.model_validate({"uri": "s3://raw/in/**/*.csv", "format": "CSV"}), None, environ
        )
        wanted = {f"s3://raw/{key}" for key in KEYS}
        eventually(lambda: wanted <= set(source.named(heard.urls.get("a", []))))
        looked = {arrival.uri for arrival in source.look(source.named(heard.urls["a"]))}
    assert looked == wanted


def test_a_server_that_is_away_is_said_and_heard_again_once_it_is_back(heard: Heard, tmp_path: Path) -> None:
    with nats_server(tmp_path) as own:
        heard.attend("a", {"nats": {"servers": own.address, "subject": "hints"}})
        heard.wait("a")
        own.server.kill()
        eventually(lambda: "NATS" in (heard.pipelines.failure("a") or ""))
        own.server.start()
        heard.wait("a")
        own.publish("hints", b'{"uri": "s3://raw/a.csv"}')
        eventually(lambda: heard.urls == {"a": ["s3://raw/a.csv"]})
