"""What only a stream of Redis has: ids, fields, messages that are deleted one by one, logins."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import storage_server
from event_specs import NAME
from events import Events, event
from redis_key import RedisKey

from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import StorageError
from featurestore.resources import DataPipeline


@pytest.fixture
def key(redis_server: str) -> RedisKey:
    return RedisKey(redis_server)


def test_a_message_keeps_its_id_time_and_other_fields_as_columns(tmp_path: Path, key: RedisKey) -> None:
    include = {"id": "i", "timestamp": "sent", "headers": {"trace": "t"}}
    events = Events(tmp_path / "project", key).apply({"include": include})
    key.send(event(1), id="1704164645678-3", trace="x")
    events.run()
    [row] = events.rows
    sent = datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert (row["i"], row["sent"], row["t"]) == ("1704164645678-3", sent, "x")
    assert row["n"] == 1


def test_without_a_field_that_has_the_value_each_field_is_a_column(tmp_path: Path, key: RedisKey) -> None:
    events = Events(tmp_path / "project", key)
    source = key.source()
    del source["redis"]["field"]
    columns = [{"name": "n", "type": "int64"}, {"name": "at", "type": "timestamp"}]
    events.apply(source=source, columns=columns)
    key.client.xadd(key.name, {"n": "7", "at": "2024-01-01T00:00:00Z", "level": "info"})
    key.client.xadd(key.name, {"n": "seven", "at": "2024-01-01T00:00:00Z"})
    key.client.xadd(key.name, {"n": "8", "level": b"\xff"})
    events.run()
    [row] = events.rows
    assert (row["n"], row["level"]) == (7, "info")
    assert len(events.records) == 2


def test_a_message_that_was_deleted_alone_before_it_was_read_is_told(tmp_path: Path, key: RedisKey) -> None:
    events = Events(tmp_path / "project", key).apply()
    key.send(event(1))
    events.run()
    key.send(*map(event, range(2, 6)))
    key.delete_one(3)
    events.run()
    assert events.numbers == [1, 2, 4, 5]
    [(_, _, rule, reason)] = events.records
    assert rule == "row:malformed"
    assert reason.startswith("stream:lost: 1 of 4 messages")
    key.send(event(6))
    events.run()
    assert (events.numbers, len(events.records)) == ([1, 2, 4, 5, 6], 1)


def test_all_that_was_deleted_by_retention_while_nothing_read_is_told_once(
    tmp_path: Path, key: RedisKey
) -> None:
    events = Events(tmp_path / "project", key).apply({"maxMessages": 2})
    key.send(*map(event, range(3)))
    events.backlog().close(1, events.digest, events.laptop.clock())
    key.send(*map(event, range(3, 7)))
    key.delete_first(5)
    events.run()
    assert events.numbers == [5, 6]
    assert [rule for _, rule, _ in events.open] == ["stream:lost", "stream:lost"]


def test_a_stream_that_was_deleted_with_what_was_not_read_is_told(tmp_path: Path, key: RedisKey) -> None:
    events = Events(tmp_path / "project", key).apply()
    key.send(event(1))
    events.run()
    key.send(event(2), event(3))
    key.delete()
    key.send(event(4))
    events.run()
    assert (events.numbers, events.open) == ([1, 4], [(2, "stream:lost", None)])


def test_ids_that_go_back_because_the_stream_was_made_anew_are_told(tmp_path: Path, key: RedisKey) -> None:
    events = Events(tmp_path / "project", key).apply()
    key.send(event(1))
    events.run()
    key.delete()
    key.send(event(2), id="5-1")
    events.run()
    assert (events.numbers, events.open) == ([1], [(2, "stream:truncated", None)])


def test_ids_of_one_millisecond_are_told_apart_and_one_beyond_that_is_refused_alone(
    tmp_path: Path, key: RedisKey
) -> None:
    events = Events(tmp_path / "project", key).apply()
    for number, name in enumerate(("0-1", "0-2", "7-1048574", f"7-{2**64 - 1}", f"{2**64 - 1}-1")):
        key.send(event(number), id=name)
    events.run()
    assert events.numbers == [0, 1, 2]
    assert [rule for _, _, rule, _ in events.records] == ["row:malformed", "row:malformed"]


def test_from_a_time_the_messages_of_then_and_later_are_taken(tmp_path: Path, key: RedisKey) -> None:
    for hour in range(4):
        at = int(datetime(2024, 1, 1, hour, tzinfo=UTC).timestamp() * 1000)
        key.send(event(hour), id=f"{at}-0")
    events = Events(tmp_path / "project", key).apply({"startAt": "2024-01-01T02:00:00Z"})
    events.run()
    assert (events.numbers, events.open) == ([2, 3], [])


def test_a_key_that_is_no_stream_is_told(tmp_path: Path, key: RedisKey) -> None:
    key.client.set(key.name, "x")
    events = Events(tmp_path / "project", key).apply()
    failure = events.backlog().failure
    assert failure is not None
    assert "WRONGTYPE" in failure.failure.got


def test_login_with_a_password_reads_and_a_wrong_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage_server.redis(tmp_path, password="right") as url:
        key = RedisKey(url, password="right")
        key.send(event(1))
        events = Events(tmp_path / "project", key).apply()
        spec = events.laptop.project.registry.all(DataPipeline)[NAME].resource.spec.source
        with pytest.raises(StorageError, match=r"WRONGPASS|invalid") as refused:
            list(open_source(spec, None, {"REDIS_PASSWORD": "guessed"}).arrivals())
        assert "guessed" not in str(refused.value)
        monkeypatch.setenv("FEATURESTORE_SOURCE_REDIS_PASSWORD", "right")
        events.run()
        assert events.numbers == [1]
