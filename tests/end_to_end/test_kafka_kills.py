"""A pipeline of a topic is killed at each step: the end is as of a run that nothing disturbed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from event_specs import NAME, START, STEPS, VIEW
from events import Events, event
from examples import exhaustive, sample
from kafka_broker import Broker, Topic, send

from featurestore.arrivals.manifest import Action
from featurestore.quarantine.replay import replay
from featurestore.storage import paths


@pytest.fixture
def topic(kafka_broker: Broker) -> Topic:
    return kafka_broker.topic(2)


@pytest.fixture
def events(tmp_path: Path, topic: Topic) -> Events:
    return Events(tmp_path / "project", topic).apply()


@pytest.fixture(scope="module")
def clean(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> tuple[Topic, list[Any]]:
    """A topic with good, bad, aborted and missing messages, and what a run makes of it that nothing disturbs."""
    topic = kafka_broker.topic(2)
    topic.send(event(1), event(500), partition=0)
    with topic.transaction(abort=True) as producer:
        send(producer, topic.name, (event(50),))
    topic.send(event(2), b"{", partition=1)
    topic.send(event(3), partition=0)
    events = Events(tmp_path_factory.mktemp("clean") / "project", topic).apply({"maxMessages": 2})
    events.laptop.apply(VIEW)
    events.run()
    return topic, outcome(events)


def outcome(events: Events) -> list[Any]:
    """All that is kept of messages, but for names of files and times of the run."""
    tables = [paths.dataset(NAME), paths.quarantine("pipelines", NAME)]
    kept = [
        sorted(
            sorted((name, str(value)) for name, value in row.items() if name != "quarantined_at")
            for row in events.laptop.table(table)
        )
        for table in tables
    ]
    at = {"level": ["info"], "event_timestamp": [START + timedelta(hours=1)]}
    return [*kept, events.positions, events.laptop.store(START).get_features("levels:n", at).to_dict()]


KILLS = [(step, times) for step in STEPS for times in range(1, 16 if exhaustive() else 4)]


@pytest.mark.parametrize(("step", "times"), sample(KILLS, 8), ids=str)
def test_killed_anywhere_the_end_is_as_of_a_run_that_nothing_disturbed(
    clean: tuple[Topic, list[Any]], tmp_path: Path, step: str, times: int
) -> None:
    topic, wanted = clean
    events = Events(tmp_path / "project", topic).apply({"maxMessages": 2})
    events.laptop.apply(VIEW)
    with events.laptop.killed_at(step, times):
        events.run()
    events.run()
    assert outcome(events) == wanted


@pytest.mark.parametrize("step", STEPS[:4])
def test_a_killed_replay_is_done_once(events: Events, step: str) -> None:
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
