"""A pipeline of a stream is killed at each step: the end is as of a run that nothing disturbed. Of each kind of stream."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from event_specs import NAME, START, STEPS, VIEW
from events import Events, Written, event
from examples import exhaustive, sample
from kafka_broker import send
from stream_kinds import STREAMS

from featurestore.arrivals.manifest import Action
from featurestore.quarantine.replay import replay

BOUNDED = {"maxMessages": 2}
_CLEAN: dict[str, tuple[Any, list[Any]]] = {}


def clean(kind: str, request: pytest.FixtureRequest, folder: Path) -> tuple[Any, list[Any]]:
    """A stream with good, bad and missing messages, and what a run makes of it that nothing disturbs."""
    if kind not in _CLEAN:
        stream: Any = STREAMS[kind](request)
        stream.send(event(1), event(500), event(2), b"{")
        if kind == "kafka":
            with stream.transaction(abort=True) as producer:
                send(producer, stream.name, (event(50),))
        else:
            stream.send(event(50))
            stream.delete_one(5)
        stream.send(event(3))
        events = Events[Any](folder / "clean", stream).apply(BOUNDED)
        events.laptop.apply(VIEW)
        events.run()
        _CLEAN[kind] = stream, outcome(events)
    return _CLEAN[kind]


def outcome(events: Events[Any]) -> list[Any]:
    """All that is kept of messages, but for names of files and times of the run."""
    at = {"level": ["info"], "event_timestamp": [START + timedelta(hours=1)]}
    return [
        *events.laptop.kept_rows(NAME),
        events.positions,
        events.laptop.store(START).get_features("levels:n", at).to_dict(),
    ]


KILLS = [
    (kind, step, times) for step in STEPS for times in range(1, 16 if exhaustive() else 4) for kind in STREAMS
]


@pytest.mark.parametrize(("kind", "step", "times"), sample(KILLS, 9), ids=str)
def test_killed_anywhere_the_end_is_as_of_a_run_that_nothing_disturbed(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, step: str, times: int
) -> None:
    stream, wanted = clean(kind, request, tmp_path)
    events = Events[Any](tmp_path / "project", stream).apply(BOUNDED)
    events.laptop.apply(VIEW)
    with events.laptop.killed_at(step, times):
        events.run()
    events.run()
    assert outcome(events) == wanted


@pytest.mark.parametrize(("kind", "step"), sample([(k, s) for s in STEPS[:4] for k in STREAMS], 4), ids=str)
def test_a_killed_replay_is_done_once(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, step: str
) -> None:
    stream: Written = STREAMS[kind](request)
    events = Events(tmp_path / "project", stream).apply()
    events.topic.send(event(1), event(500))
    events.run()
    events.apply(expectations=[])
    manifest = replay(events.laptop.storage, NAME, now_us=events.laptop.clock())
    assert manifest is not None
    assert [entry.action for entry in manifest.entries] == [Action.REPLAY]
    with events.laptop.killed_at(step):
        events.run()
    events.run()
    assert events.numbers == [1, 500]
    assert events.open == []
