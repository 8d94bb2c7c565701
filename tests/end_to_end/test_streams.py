"""What every kind of stream as a source promises, on real servers. See ``tests/support/stream_kinds.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from event_specs import NAME
from events import Events, Written, event
from stream_kinds import STREAMS

from featurestore.arrivals.position import Position
from featurestore.errors import Conflict, RequestError
from featurestore.overview.summary import pipeline_summary
from featurestore.quarantine.replay import replay


@pytest.fixture(params=STREAMS)
def stream(request: pytest.FixtureRequest) -> Any:
    return STREAMS[request.param](request)


@pytest.fixture
def events(tmp_path: Path, stream: Written) -> Events[Any]:
    return Events(tmp_path / "project", stream).apply()


def test_each_message_is_taken_once_as_the_stream_grows(events: Events[Any]) -> None:
    events.topic.send(event(1), event(2))
    events.run()
    events.topic.send(event(3))
    events.run()
    events.run()
    assert events.numbers == [1, 2, 3]
    first, second = (Position.of(it[0]) for it in events.positions)
    assert first.end == second.first


def test_messages_that_were_deleted_unread_are_told_and_the_rest_is_taken(events: Events[Any]) -> None:
    events.topic.send(event(1), event(2))
    events.run()
    events.topic.send(*map(event, range(3, 9)))
    events.topic.delete_first(6)
    events.run()
    assert events.numbers == [1, 2, 7, 8]
    assert events.open == [(2, "stream:lost", None)]
    [(_, _, _, reason)] = events.records
    assert "were deleted before they were read" in reason
    with pytest.raises(RequestError, match=r"partition 0 of batch 2 .* is gone"):
        replay(events.laptop.storage, NAME, now_us=events.laptop.clock())


def test_messages_that_were_read_may_be_deleted(events: Events[Any]) -> None:
    events.topic.send(event(1), event(2))
    events.run()
    events.topic.delete_first(2)
    events.topic.send(event(3))
    events.run()
    assert events.numbers == [1, 2, 3]
    assert events.open == []


def test_of_a_batch_that_was_deleted_in_part_before_it_ran_the_rest_is_taken(events: Events[Any]) -> None:
    events.topic.send(*map(event, range(6)))
    events.backlog().close(1, events.digest, events.laptop.clock())
    events.topic.delete_first(4)
    events.run()
    assert events.numbers == [4, 5]
    [(_, _, rule, reason)] = events.records
    assert (rule, reason.partition(": ")[0]) == ("row:malformed", "stream:lost")


def test_a_batch_that_was_deleted_before_it_ran_is_told(events: Events[Any]) -> None:
    events.topic.send(*map(event, range(6)))
    events.backlog().close(1, events.digest, events.laptop.clock())
    events.topic.delete_first(6)
    events.run()
    assert events.open == [(1, "stream:lost", None)]


def test_a_stream_that_was_made_anew_loses_nothing(events: Events[Any]) -> None:
    events.topic.send(event(1), event(2), event(3))
    events.run()
    events.topic.delete()
    events.run()
    if hasattr(events.topic, "create"):
        events.topic.create()
    events.topic.send(event(4))
    events.run()
    assert events.numbers == [1, 2, 3, 4]


def test_bad_messages_are_quarantined_by_position_and_run_again_once(events: Events[Any]) -> None:
    events.topic.send(event(1), b"what is this", event(500), None, event(2))
    events.run()
    assert events.numbers == [1, 2]
    rows = {record[1]: record[2] for record in events.records}
    assert sorted(rows.values()) == ["row:malformed", "row:malformed", "small"]
    assert len(rows) == 3
    events.apply(expectations=[])
    assert replay(events.laptop.storage, NAME, now_us=events.laptop.clock()) is not None
    events.run()
    events.topic.send(event(3))
    events.run()
    assert events.numbers == [1, 2, 3, 500]
    assert events.open == [(2, "row:malformed", 2)]


def test_from_the_latest_nothing_is_taken_that_was_there_and_all_that_comes(
    tmp_path: Path, stream: Written
) -> None:
    stream.send(event(1))
    events = Events(tmp_path / "project", stream).apply({"startAt": "Latest"})
    events.run()
    stream.send(event(2), event(3))
    # Another process, which was not there when the stream was first seen.
    events.run()
    assert (events.numbers, events.open) == ([2, 3], [])


def test_one_batch_takes_at_most_so_many_messages_and_the_next_the_rest(
    tmp_path: Path, stream: Written
) -> None:
    events = Events(tmp_path / "project", stream).apply({"maxMessages": 10})
    stream.send(*map(event, range(25)))
    events.run()
    assert events.ledger.last_batch() == 3
    assert (events.numbers, events.open) == ([*range(25)], [])


def test_of_two_processes_that_see_other_ends_one_is_first(events: Events[Any]) -> None:
    events.topic.send(event(1))
    short = events.backlog()
    events.topic.send(event(2))
    long = events.backlog()
    short.close(1, events.digest, events.laptop.clock())
    with pytest.raises(Conflict):
        long.close(1, events.digest, events.laptop.clock())
    events.run()
    assert events.numbers == [1, 2]


def test_how_far_behind_a_pipeline_is(events: Events[Any]) -> None:
    events.topic.send(event(1), event(2))
    assert pipeline_summary(events.laptop.project, NAME).lag == 2
    events.run()
    assert pipeline_summary(events.laptop.project, NAME).lag == 0
    events.topic.send(event(3))
    assert pipeline_summary(events.laptop.project, NAME).lag == 1


def test_tombstones_are_left_out_if_the_spec_says_so(tmp_path: Path, stream: Written) -> None:
    events = Events(tmp_path / "project", stream).apply({"onTombstone": "Ignore"})
    stream.send(event(1), None, event(2))
    events.run()
    assert (events.numbers, events.open) == ([1, 2], [])
