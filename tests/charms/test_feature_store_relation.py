"""The charm library tells related charms of a store, and a pipeline of Charmed Kafka, as ``ops.testing`` runs charms."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
from cluster.binaries import MissingError, environment_python
from own_environment import ROOT, SCRIPTS
from unavailable import unavailable

from featurestore.arrivals.kafka.login import login
from featurestore.resources import DataPipeline

ENVIRONMENT = {"FEATURESTORE_URI": "s3://features/prod"}


@pytest.fixture(scope="module")
def found() -> Any:
    """What came of the charms."""
    try:
        python = environment_python("charms")
    except MissingError as missing:
        unavailable(missing)
    page = (ROOT / "charms" / "README.md").read_text()
    [code] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [python, SCRIPTS / "charm_relation.py", code],
        env={"PYTHONPATH": str(ROOT / "charms" / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_provider_tells_the_environment_and_keeps_credentials_in_a_secret(found: Any) -> None:
    assert json.loads(found["data"]["environment"]) == ENVIRONMENT
    assert "hidden" not in json.dumps(found["data"])
    assert found["secret"] == {"aws-access-key-id": "ann", "aws-secret-access-key": "hidden"}
    assert found["granted"]


def test_telling_it_again_makes_no_other_secret_and_only_the_leader_tells(found: Any) -> None:
    assert found["again"] == 1
    assert found["follower"] == {}


def test_a_model_charm_has_all_variables_and_says_so(found: Any) -> None:
    all_of_it = {**ENVIRONMENT, "AWS_ACCESS_KEY_ID": "ann", "AWS_SECRET_ACCESS_KEY": "hidden"}
    assert found["ready"] == {"environment": all_of_it, "status": ["active", "reads s3://features/prod"]}
    assert found["without credentials"]["environment"] == ENVIRONMENT


@pytest.mark.parametrize("case", ["nothing yet", "nonsense"])
def test_without_a_store_nothing_is_ready(found: Any, case: str) -> None:
    assert found[case]["environment"] is None
    assert found[case]["status"][0] == "unknown"


def test_a_relation_that_ends_is_told(found: Any) -> None:
    assert found["gone"] == {
        "environment": None,
        "status": ["blocked", "needs a relation to a feature store"],
    }


def test_charmed_kafka_is_a_source_that_a_pipeline_takes_and_logs_in_to(found: Any) -> None:
    pipeline = DataPipeline.model_validate(
        {"kind": "DataPipeline", "metadata": {"name": "flights"}, "spec": {"source": found["source"]}}
    )
    kafka = pipeline.spec.source.kafka
    assert kafka is not None
    assert kafka.place == "kafka://10.1.0.4:9093,10.1.0.5:9093/arrivals"
    assert kafka.consumer_group == "relation-7-flights"
    assert found["variables"] == {
        "KAFKA_SASL_USERNAME": "relation-7",
        "KAFKA_SASL_PASSWORD": "hidden",
        "KAFKA_SSL_CA": "PEM",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    }
    said = login(found["variables"], "")
    assert (said["security.protocol"], said["sasl.mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert found["plain"] == {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}


def test_a_relation_that_does_not_tell_a_topic_yet_is_refused(found: Any) -> None:
    assert found["missing"] == "relation data: wanted topic, got ['endpoints']"
