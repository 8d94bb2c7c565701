"""What only a stream of JetStream has: subjects, headers, sequence numbers, retention by interest, logins."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from event_specs import NAME
from events import Events, event
from kafka_broker import certificate
from nats_server import NatsServer, NatsStream, nats_server
from schema_registry import encoded

from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import StorageError
from featurestore.resources import DataPipeline
from featurestore.resources.data_pipeline import Source


def test_a_message_keeps_its_subject_time_number_and_headers_as_columns(
    tmp_path: Path, nats: NatsServer
) -> None:
    stream = nats.stream()
    include = {"subject": "s", "timestamp": "sent", "sequence": "o", "headers": {"trace-id": "t"}}
    events = Events(tmp_path / "project", stream).apply({"include": include})
    before = datetime.now(UTC) - timedelta(seconds=1)
    stream.send(event(1), subject="a.b", headers={"trace-id": "x"})
    stream.send(event(2))
    events.run()
    first, second = events.rows
    assert (first["s"], first["o"], first["t"]) == (f"{stream.name}.a.b", 1, "x")
    assert (second["s"], second["o"], second["t"]) == (f"{stream.name}.a", 2, None)
    assert before < first["sent"] <= second["sent"] <= datetime.now(UTC) + timedelta(seconds=1)


def test_only_messages_of_the_subjects_are_taken_and_of_others_there_is_no_batch(
    tmp_path: Path, nats: NatsServer
) -> None:
    stream = nats.stream()
    events = Events(tmp_path / "project", stream).apply({"subject": f"{stream.name}.*.up"})
    stream.send(event(1), subject="a.down")
    events.run()
    assert events.ledger.last_batch() == 0
    stream.send(event(2), subject="a.up")
    stream.send(event(3), subject="b.up")
    stream.send(event(4), subject="a.down")
    events.run()
    assert (events.numbers, events.positions) == ([2, 3], [{0: "1-4"}])


def test_holes_that_deleted_messages_leave_are_no_rows(tmp_path: Path, nats: NatsServer) -> None:
    stream = nats.stream()
    events = Events(tmp_path / "project", stream).apply()
    stream.send(*map(event, range(5)))
    events.backlog().close(1, events.digest, events.laptop.clock())
    stream.delete_one(3)
    stream.delete_one(5)
    events.run()
    assert events.numbers == [0, 1, 3]


def test_from_a_time_the_messages_of_then_and_later_are_taken(tmp_path: Path, nats: NatsServer) -> None:
    stream = nats.stream()
    stream.send(event(1))
    source = Source.model_validate(stream.source(include={"timestamp": "t"}))
    later = datetime.now(UTC) + timedelta(hours=1)
    events = Events(tmp_path / "project", stream).apply({"startAt": later.strftime("%Y-%m-%dT%H:%M:%SZ")})
    events.run()
    assert events.numbers == []
    assert source.nats is not None
    events = Events(tmp_path / "other", stream).apply({"startAt": "2024-01-01T00:00:00Z"})
    events.run()
    assert events.numbers == [1]


def test_values_in_avro_are_rows(tmp_path: Path, nats: NatsServer) -> None:
    stream = nats.stream()
    schema = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}]}
    events = Events(tmp_path / "project", stream).apply(
        {"format": "Avro", "avro": {"schema": json.dumps(schema)}}
    )
    stream.send(encoded(schema, {"n": 7}), b"what is this")
    events.run()
    assert (events.numbers, events.open) == ([7], [(1, "row:malformed", 1)])


def test_a_stream_whose_messages_leave_when_they_are_taken_is_refused(
    tmp_path: Path, nats: NatsServer
) -> None:
    stream = nats.stream(retention="workqueue")
    events = Events(tmp_path / "project", stream).apply()
    stream.send(event(1))
    failure = events.backlog().failure
    assert failure is not None
    assert failure.failure.wanted == "a stream with retention limits"


def test_a_server_that_was_away_is_told_and_then_nothing_is_missing(tmp_path: Path) -> None:
    with nats_server(tmp_path) as own:
        stream = own.stream()
        events = Events(tmp_path / "project", stream).apply()
        stream.send(event(1))
        events.run()
        own.server.kill()
        failure = events.backlog().failure
        assert failure is not None
        assert "NATS does not answer" in failure.failure.problem
        own.server.start()
        stream.send(event(2))
        events.run()
        assert events.numbers == [1, 2]


def test_login_with_tls_and_a_password_reads_and_a_wrong_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certificate(tmp_path)
    pem = tmp_path / "server.pem"
    more = f'tls {{ cert_file: "{pem}", key_file: "{pem}" }}\nauthorization {{ user: ann, password: right }}'
    with nats_server(tmp_path, more) as own:
        own.login = {"user": "ann", "password": "right", "authority": authority}
        stream = NatsStream(own, "events")
        stream.create()
        stream.send(event(1))
        servers = own.address.replace("127.0.0.1", "localhost")
        events = Events(tmp_path / "project", stream).apply({"servers": servers})
        told = {"NATS_USERNAME": "ann", "NATS_PASSWORD": "wrong", "NATS_TLS_CA": authority}
        spec = events.laptop.project.registry.all(DataPipeline)[NAME].resource.spec.source
        with pytest.raises(StorageError, match="Authorization Violation") as refused:
            list(open_source(spec, None, told).arrivals())
        assert "wrong" not in str(refused.value)
        for name, value in {**told, "NATS_PASSWORD": "right"}.items():
            monkeypatch.setenv(f"FEATURESTORE_SOURCE_{name}", value)
        events.run()
        assert events.numbers == [1]
