"""docs/streams.md says what is done: its pipeline is applied and run, on a real broker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml
from kafka_broker import Broker

from featurestore.arrivals.kafka import login
from featurestore.resources.avro import avro_columns
from featurestore.resources.data_pipeline import Source
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage

PAGE = (Path(__file__).parents[2] / "docs" / "streams.md").read_text()
EXAMPLE = re.search(r"```yaml\n(.*?)```", PAGE, re.S)
STORE = "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: root}}\n---\n"


def test_the_schema_of_the_page_is_one_that_is_read() -> None:
    [shown] = re.findall(r"```yaml\n(    kafka:\n.*?)```", PAGE, re.S)
    avro = Source.model_validate(yaml.safe_load(shown)).kafka.avro
    assert dict(avro_columns(avro.schema_)) == {"page": "string", "seconds": "float64", "at": "timestamp"}


def test_the_pipeline_of_the_page_runs(kafka_broker: Broker, tmp_path: Path) -> None:
    assert EXAMPLE is not None
    topic = kafka_broker.topic()
    text = (
        EXAMPLE[1]
        .replace("kafka:9092", kafka_broker.address)
        .replace("topic: clicks", f"topic: {topic.name}")
    )
    (tmp_path / "store.yaml").write_text(STORE + text)
    topic.send({"page": "a", "seconds": 1.5}, {"page": "b", "seconds": 100_000}, key="ann")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "featurestore.cli", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert "1 of 2 rows would be taken" in " ".join(run("apply", "-f", "store.yaml").split())
    run("run", "--once")
    table = Table.open(Storage(str(tmp_path / "root")), paths.dataset("clicks"))
    assert table is not None
    assert sum(file.rows for file in table.files()) == 1
    header, row = run("get", "pipelines").splitlines()[:2]
    assert (header.split()[-1], row.split()[-1]) == ("LAG", "0")


def test_each_variable_of_the_page_is_heeded_and_no_other() -> None:
    named = set(re.findall(r"KAFKA_[A-Z_]+", PAGE))
    assert named == {login.PROTOCOL, *login.OPTIONS}
