"""docs/streams.md says what is done: its pipeline is applied and run, on a real broker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kafka_broker import Broker
from nats_server import NatsServer
from redis_key import RedisKey

from featurestore.arrivals.kafka import login
from featurestore.arrivals.nats import login as nats_login
from featurestore.arrivals.redis import stream_key
from featurestore.errors import SpecError
from featurestore.resources.avro import avro_columns
from featurestore.resources.data_pipeline import Source
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage

PAGE = (Path(__file__).parents[2] / "docs" / "streams.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(kind: .*?)```", PAGE, re.S)
STORE = "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: root}}\n---\n"


def test_the_schema_of_the_page_is_one_that_is_read() -> None:
    shown, of_protobuf = re.findall(r"```yaml\n(    kafka:\n.*?)```", PAGE, re.S)
    stream = Source.model_validate(yaml.safe_load(of_protobuf)).stream
    assert stream is not None
    assert stream.value_columns == ("page", "seconds", "at")
    avro = Source.model_validate(yaml.safe_load(shown)).kafka.avro
    assert dict(avro_columns(avro.schema_)) == {"page": "string", "seconds": "float64", "at": "timestamp"}


def run(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "featurestore.cli", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_pipelines_of_the_page_run(
    kafka_broker: Broker, nats: NatsServer, redis_url: str, tmp_path: Path
) -> None:
    topic, stream, key = kafka_broker.topic(), nats.stream(), RedisKey(redis_url)
    kafka, of_nats, of_redis = EXAMPLES
    text = [
        kafka.replace("kafka:9092", kafka_broker.address).replace("topic: clicks", f"topic: {topic.name}"),
        of_nats.replace("nats:4222", nats.address)
        .replace("CLICKS", stream.name)
        .replace("clicks.>", f"{stream.name}.>"),
        of_redis.replace("redis://redis:6379/0", redis_url).replace("stream: clicks", f"stream: {key.name}"),
    ]
    (tmp_path / "store.yaml").write_text(STORE + "---\n".join(text))
    topic.send({"page": "a", "seconds": 1.5}, {"page": "b", "seconds": 100_000}, key="ann")
    stream.send({"page": "a", "seconds": 1.5})
    key.client.xadd(key.name, {"page": "a", "seconds": "1.5"})
    assert "1 of 2 rows would be taken" in " ".join(run(tmp_path, "apply", "-f", "store.yaml").split())
    run(tmp_path, "run", "--once")
    for name in ("clicks", "nats-clicks", "redis-clicks"):
        table = Table.open(Storage(str(tmp_path / "root")), paths.dataset(name))
        assert table is not None
        assert sum(file.rows for file in table.files()) == 1
    header, *rows = run(tmp_path, "get", "pipelines").splitlines()[:4]
    assert header.split()[-1] == "LAG"
    assert [row.split()[-1] for row in rows] == ["0", "0", "0"]


def test_each_variable_of_the_page_is_heeded_and_no_other() -> None:
    named = set(re.findall(r"KAFKA_[A-Z_]+", PAGE))
    assert named == {login.PROTOCOL, *login.OPTIONS}
    assert set(re.findall(r"NATS_[A-Z_]+", PAGE)) == set(nats_login.NAMES)
    assert set(re.findall(r"REDIS_[A-Z_]+", PAGE)) == set(stream_key.NAMES)


def test_a_secret_with_a_key_that_only_seems_to_be_heeded_is_refused() -> None:
    others = {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092", "KAFKA_SASL_USERNAME": "ann"}
    assert "sasl.username" in login.login(others, "the Secret")
    for name in ("KAFKA_SSL_CA_LOCATION", "KAFKA_SASL_OAUTHBEARER_CONFIG", "KAFKA_SECURITY_PROVIDERS"):
        with pytest.raises(SpecError, match=f"no login to Kafka takes.*{name}"):
            login.login({**others, name: "/etc/passwd"}, "the Secret")
