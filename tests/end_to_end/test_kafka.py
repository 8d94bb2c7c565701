"""A topic of a real broker as a source, from message to features: nothing is lost, doubled or passed over in silence."""

from __future__ import annotations

import itertools
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from event_specs import NAME, START, VIEW
from events import Events, event
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from kafka_broker import Broker, Topic, broker, send
from schema_registry import schema_registry

from featurestore.arrivals.position import Position
from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import StorageError
from featurestore.overview.summary import pipeline_summary
from featurestore.resources import DataPipeline
from featurestore.storage import paths

EVERY_TYPE = (Path(__file__).parents[2] / "fixtures" / "protobuf" / "every_type.binpb").read_bytes()
AVRO_TIME = {"type": "long", "logicalType": "timestamp-micros"}


@pytest.fixture
def topic(kafka_broker: Broker) -> Topic:
    return kafka_broker.topic(2)


@pytest.fixture
def events(tmp_path: Path, topic: Topic) -> Events[Topic]:
    return Events(tmp_path / "project", topic).apply()


def test_each_message_is_taken_once_as_partitions_grow(events: Events[Topic]) -> None:
    events.topic.send(event(1), event(2))
    events.run()
    events.topic.send(event(3))
    events.topic.send(event(4), partition=1)
    events.run()
    events.run()
    assert events.positions == [{0: "0-2"}, {0: "2-3", 1: "0-1"}]
    assert events.numbers == [1, 2, 3, 4]


def test_messages_are_features(events: Events[Topic]) -> None:
    events.laptop.apply(VIEW)
    events.topic.send(event(1), event(2, "warning"))
    events.run()
    events.topic.send(event(3))
    events.run()
    at = [START + timedelta(seconds=1), START + timedelta(hours=1)]
    asked = {"level": ["info", "info"], "event_timestamp": at}
    assert events.laptop.store(START).get_features("levels:n", asked).to_dict()["n"] == [1, 3]


def test_of_transactions_what_was_committed_is_taken_and_their_marks_are_no_rows(
    events: Events[Topic],
) -> None:
    with events.topic.transaction() as producer:
        send(producer, events.topic.name, (event(1), event(2)))
    with events.topic.transaction(abort=True) as producer:
        send(producer, events.topic.name, (event(3),))
    events.run()
    # Two messages, their mark, one that was aborted, and the mark of that.
    assert events.positions == [{0: "0-5"}]
    events.topic.send(event(4))
    events.run()
    assert events.positions[1] == {0: "5-6"}
    assert events.numbers == [1, 2, 4]
    assert events.open == []


def test_what_is_in_a_transaction_waits_until_it_is_committed(events: Events[Topic]) -> None:
    with events.topic.transaction() as producer:
        send(producer, events.topic.name, (event(1),))
        producer.flush()
        events.run()
        assert events.positions == []
    events.run()
    assert events.numbers == [1]


def test_a_position_of_which_nothing_but_marks_is_left_is_a_batch_without_rows(events: Events[Topic]) -> None:
    with events.topic.transaction(abort=True) as producer:
        send(producer, events.topic.name, (event(1),))
    events.run()
    assert events.positions == [{0: "0-2"}]
    assert events.numbers == []
    events.topic.send(event(2))
    events.run()
    assert events.numbers == [2]


def test_holes_that_compaction_leaves_are_no_rows(kafka_broker: Broker, tmp_path: Path) -> None:
    topic = kafka_broker.topic(
        cleanup_policy="compact",
        **{"min_cleanable_dirty_ratio": "0.001", "segment_ms": "100", "max_compaction_lag_ms": "100"},
    )
    events = Events(tmp_path / "project", topic).apply()
    for n in range(5):
        topic.send(event(n), key="same")
    events.run()
    assert events.positions == [{0: "0-5"}]
    assert events.numbers[-1] == 4
    assert set(events.numbers) <= {0, 1, 2, 3, 4}


def test_a_partition_that_is_added_is_read_from_its_first_message(events: Events[Topic]) -> None:
    events.topic.send(event(1))
    events.run()
    events.topic.grow(3)
    events.topic.send(event(2), partition=2)
    events.run()
    assert events.numbers == [1, 2]


def test_a_message_keeps_its_key_time_offset_and_headers_as_columns(tmp_path: Path, topic: Topic) -> None:
    include = {"key": "k", "timestamp": "sent", "partition": "p", "offset": "o", "headers": {"trace-id": "t"}}
    events = Events(tmp_path / "project", topic).apply({"include": include})
    sent = datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    more = {
        "key": "ünï",
        "timestamp": int(sent.timestamp() * 1000),
        "headers": [("trace-id", b"a"), ("trace-id", b"b")],
    }
    topic.send(event(1), partition=1, **more)
    topic.send(event(2), partition=1, timestamp=int(sent.timestamp() * 1000))
    events.run()
    told = [{name: row[name] for name in ("k", "sent", "p", "o", "t")} for row in events.rows]
    assert told == [
        {"k": "ünï", "sent": sent, "p": 1, "o": 0, "t": "b"},
        {"k": None, "sent": sent, "p": 1, "o": 1, "t": None},
    ]


def test_a_key_that_is_no_text_and_a_value_that_has_a_column_of_the_message_are_bad_alone(
    tmp_path: Path, topic: Topic
) -> None:
    events = Events(tmp_path / "project", topic).apply({"include": {"key": "k"}})
    topic.send(event(1), key=b"\xff")
    topic.send({**event(2), "K": "mine"}, event(3))
    events.run()
    assert events.numbers == [3]
    assert [reason.partition(":")[0] for *_, reason in events.records] == [
        "the key is not UTF-8",
        "the value has a key 'k', and spec.source.kafka.include names a column so",
    ]


def test_messages_in_avro_are_rows_once_the_registry_answers_and_bad_ones_are_refused_alone(
    tmp_path: Path, topic: Topic
) -> None:
    fields = [{"name": "n", "type": "int"}, {"name": "at", "type": AVRO_TIME}]
    with schema_registry() as registry:
        written = registry.add({"type": "record", "name": "Event", "fields": fields})
        wanted = [
            {**fields[0], "type": "long"},
            fields[1],
            {"name": "note", "type": "string", "default": "-"},
        ]
        schema = json.dumps({"type": "record", "name": "Event", "fields": wanted})
        avro = {"schema": schema, "registry": registry.url}
        events = Events(tmp_path / "project", topic).apply(
            {"format": "Avro", "avro": avro, "include": {"offset": "o"}}
        )
        topic.send(registry.value(written, {"n": 1, "at": START}), b"what is this", None)
        registry.is_down = True
        with pytest.raises(StorageError, match="registry of schemas does not answer"):
            events.run()
        assert (events.numbers, events.open) == ([], [])
        registry.is_down = False
        events.run()
        topic.send(registry.value(written, {"n": 2, "at": START}))
        events.run()
    told = [(row["n"], row["at"], row["note"], row["o"]) for row in events.rows]
    assert told == [(1, START, "-", 0), (2, START, "-", 3)]
    assert [record[:3] for record in events.records] == [
        ("/0", 1, "row:malformed"),
        ("/0", 2, "row:malformed"),
    ]


def test_messages_in_protobuf_are_rows_and_bad_ones_are_refused_alone_with_their_offsets(
    tmp_path: Path, topic: Topic
) -> None:
    [*_, file] = FileDescriptorSet.FromString(EVERY_TYPE).file
    with schema_registry() as registry:
        head = registry.add_protobuf(file.SerializeToString()) + b"\0"
        protobuf = {
            "message": "shop.Other",
            "descriptorSet": b64encode(EVERY_TYPE).decode(),
            "registry": registry.url,
        }
        events = Events(tmp_path / "project", topic).apply(
            {"format": "Protobuf", "protobuf": protobuf, "include": {"offset": "o"}}
        )
        n_is_1, n_is_text = b"\x08\x01", b"\x0a\x01x"
        topic.send(head + n_is_1, b"what is this", head + n_is_text, head)
        events.run()
    assert [(row["n"], row["o"]) for row in events.rows] == [(0, 3), (1, 0)]
    assert [record[:3] for record in events.records] == [
        ("/0", 1, "row:malformed"),
        ("/0", 2, "row:malformed"),
    ]


def test_a_batch_without_an_optional_field_is_taken_and_one_with_a_new_one_too(events: Events[Topic]) -> None:
    events.topic.send({**event(1), "note": "a"})
    events.run()
    events.topic.send(event(2))
    events.run()
    events.topic.send({**event(3), "more": 1})
    events.run()
    assert [(row["note"], row["more"]) for row in events.rows] == [("a", None), (None, None), (None, 1)]
    assert events.open == []


def test_a_field_that_is_not_to_be_taken_refuses_its_message_alone(events: Events[Topic]) -> None:
    events.apply(schemaPolicy={"newColumn": "Quarantine"})
    events.topic.send(event(1))
    events.run()
    events.topic.send({**event(2), "more": 1}, event(3))
    events.run()
    assert events.numbers == [1, 3]
    assert [record[:3] for record in events.records] == [("/0", 1, "row:malformed")]


def test_from_the_latest_nothing_is_taken_that_was_there_and_all_that_comes(
    tmp_path: Path, topic: Topic
) -> None:
    topic.send(event(1))
    events = Events(tmp_path / "project", topic).apply({"startAt": "Latest"})
    events.run()
    assert events.numbers == []
    topic.grow(3)
    topic.send(event(2))
    topic.send(event(3), partition=1)
    # Of a partition that came later, nothing was there before.
    topic.send(event(4), partition=2)
    # Another process, which was not there when the topic was first seen.
    events.run()
    assert events.numbers == [2, 3, 4]


def test_from_a_time_the_messages_of_then_and_later_are_taken(tmp_path: Path, topic: Topic) -> None:
    def at(hour: int) -> int:
        return int(datetime(2024, 1, 1, hour, tzinfo=UTC).timestamp() * 1000)

    for hour in range(4):
        topic.send(event(hour), timestamp=at(hour))
    topic.send(event(10), partition=1, timestamp=at(0))
    events = Events(tmp_path / "project", topic).apply({"startAt": "2024-01-01T02:00:00Z"})
    events.run()
    assert events.numbers == [2, 3]
    topic.send(event(11), partition=1, timestamp=at(5))
    topic.send(event(12), partition=1, timestamp=at(1))
    events.run()
    assert events.numbers == [2, 3, 11, 12]


def test_one_batch_takes_at_most_so_many_messages_of_all_partitions_and_the_next_the_rest(
    tmp_path: Path, topic: Topic
) -> None:
    events = Events(tmp_path / "project", topic).apply({"maxMessages": 10})
    topic.send(*map(event, range(3)))
    topic.send(*map(event, range(30, 55)), partition=1)
    events.run()
    assert events.positions == [{0: "0-3", 1: "0-7"}, {1: "7-17"}, {1: "17-25"}]
    assert events.numbers == [*range(3), *range(30, 55)]


def test_rows_keep_the_order_of_their_messages(events: Events[Topic]) -> None:
    events.topic.send(*map(event, range(50)))
    events.run()
    ordered = sorted(events.laptop.table(paths.dataset(NAME)), key=lambda row: (row["__batch"], row["__row"]))
    assert [row["n"] for row in ordered] == list(range(50))
    assert [row["__row"] for row in ordered] == list(range(50))


def test_a_topic_that_is_not_there_yet_is_waited_for(tmp_path: Path, kafka_broker: Broker) -> None:
    events = Events(tmp_path / "project", Topic(kafka_broker, "comes-later")).apply()
    events.run()
    source = open_source(events.laptop.project.registry.all(DataPipeline)[NAME].resource.spec.source)
    assert source.explain_empty() == "the servers answer, and have no topic 'comes-later'"
    events.topic.create()
    events.topic.send(event(1))
    events.run()
    assert events.numbers == [1]


def test_a_broker_that_was_away_is_told_and_then_nothing_is_missing(tmp_path: Path) -> None:
    with broker(tmp_path) as own:
        events = Events(tmp_path / "project", own.topic()).apply()
        events.topic.send(event(1))
        events.run()
        own.server.kill()
        looking = events.backlog()
        assert looking.failure is not None
        assert "Connection refused" in looking.failure.failure.got
        own.server.start()
        events.topic.send(event(2))
        events.run()
        assert events.numbers == [1, 2]


def test_login_with_tls_and_a_password_reads_and_a_wrong_one_is_told(
    tmp_path: Path, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = topic.broker
    events = Events(tmp_path / "project", topic).apply({"bootstrapServers": broker.login_address})
    topic.send(event(1))
    told = {
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": "ann",
        "KAFKA_SASL_PASSWORD": "wrong",
        "KAFKA_SSL_CA": broker.authority,
    }
    spec = events.laptop.project.registry.all(DataPipeline)[NAME].resource.spec.source
    with pytest.raises(StorageError, match="Authentication failed") as refused:
        list(open_source(spec, None, told).arrivals())
    assert "wrong" not in str(refused.value).partition("Authentication")[0]
    for name, value in {**told, "KAFKA_SASL_PASSWORD": broker.password}.items():
        monkeypatch.setenv(f"FEATURESTORE_SOURCE_{name}", value)
    events.run()
    assert events.numbers == [1]


def test_positions_of_one_partition_never_overlap_and_leave_nothing_out(events: Events[Topic]) -> None:
    for n in range(6):
        events.topic.send(event(n), partition=n % 2)
        events.run()
    for partition in (0, 1):
        taken = [Position.of(it[partition]) for it in events.positions if partition in it]
        assert all(one.end == next_one.first for one, next_one in itertools.pairwise(taken))
        assert taken[0].first == 0


def test_how_far_behind_a_pipeline_is_and_what_others_tools_see_of_it(tmp_path: Path, topic: Topic) -> None:
    group = f"of-{topic.name}"
    events = Events(tmp_path / "project", topic).apply({"consumerGroup": group})
    topic.send(event(1), event(2))
    topic.send(event(3), partition=1)
    assert pipeline_summary(events.laptop.project, NAME).lag == 3
    assert topic.group(group) == {}
    events.run()
    assert pipeline_summary(events.laptop.project, NAME).lag == 0
    assert topic.group(group) == {0: 2, 1: 1}
    topic.send(event(4))
    assert pipeline_summary(events.laptop.project, NAME).lag == 1
    events.run()
    assert topic.group(group) == {0: 3, 1: 1}
