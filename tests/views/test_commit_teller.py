"""Whoever is to be told of commits is told of each, at least once, and nothing waits for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cluster.binaries import MissingError, environment_python
from event_receiver import Receiver, event_receiver
from eventually import eventually
from laptop import STORE, Laptop, view_of
from own_environment import SCRIPTS
from pydantic import ValidationError
from training import NOON, PIPELINE, rows
from unavailable import unavailable

from featurestore.reconcile.conditions import Condition, read_status
from featurestore.resources.events import CommitEvents
from featurestore.storage import paths
from featurestore.views.builds import BuildResult, read_active_build, read_build
from featurestore.views.commit_teller import CommitTeller, Sink, sink_of, tell

WITHIN_S = 60.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with event_receiver() as started:
        yield started


@pytest.fixture
def laptop(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Laptop:
    """A store whose commits the receiver is told of."""
    sink = f"events: {{sink: {{url: '{receiver.url}'}}}}, offline"
    monkeypatch.setattr("laptop.STORE", STORE.replace("offline", sink))
    monkeypatch.setenv("FEATURESTORE_EVENTS_TOKEN", "secret")
    made = Laptop(tmp_path, NOON + timedelta(days=10))
    made.apply(PIPELINE, view_of("v"))
    return made


def land(laptop: Laptop, name: str) -> BuildResult:
    """The view's build, once a file is in it."""
    laptop.drop(name, rows(3, len(name)))
    laptop.run()
    return serving(laptop)


def serving(laptop: Laptop, view: str = "view") -> BuildResult:
    active = read_active_build(laptop.storage, view)
    assert active is not None
    build = read_build(laptop.storage, view, active.digest)
    assert build is not None
    return build


def condition(laptop: Laptop) -> Condition:
    status = read_status(laptop.storage, "views", "view")
    condition = status.condition("EventsDelivered") if status else None
    assert condition is not None
    return condition


def understood(requests: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What the SDK of CloudEvents makes of what was posted."""
    try:
        python = environment_python("cloudevents")
    except MissingError as missing:
        unavailable(missing)
    path = folder / "requests.jsonl"
    path.write_text("".join(json.dumps(request) + "\n" for request in requests))
    command = [python, SCRIPTS / "cloudevents_check.py", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    events: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return events


def test_each_commit_is_told_in_order_and_the_sdk_of_cloudevents_understands_it(
    laptop: Laptop, receiver: Receiver, tmp_path: Path
) -> None:
    first = land(laptop, "a.parquet")
    second = land(laptop, "bb.parquet")
    laptop.run()
    assert receiver.ids == [f"{first.digest}:{first.version}", f"{first.digest}:{second.version}"]
    told = understood(receiver.requests, tmp_path)[-1]
    attributes = {name: told["attributes"][name] for name in ("type", "source", "id", "specversion")}
    assert attributes == {
        "type": "dev.featurestore.commit",
        "source": "view",
        "id": f"{second.digest}:{second.version}",
        "specversion": "1.0",
    }
    assert told["data"] == {
        "view": "view",
        "build": second.digest,
        "version": second.version,
        "datasetVersion": second.source_version,
        "rowsAdded": second.rows - first.rows,
        "rowsRemoved": 0,
        "rowsQuarantined": second.rows_quarantined - first.rows_quarantined,
        "watermark": told["data"]["watermark"],
    }
    assert {request["headers"]["Authorization"] for request in receiver.requests} == {"Bearer secret"}
    assert (condition(laptop).status.value, condition(laptop).reason) == ("True", "Delivered")


@pytest.mark.parametrize("status", [503, 401, 302])
def test_a_sink_that_takes_nothing_holds_up_no_data_and_is_told_of_all_of_it_later(
    laptop: Laptop, receiver: Receiver, status: int
) -> None:
    receiver.answer = status
    land(laptop, "a.parquet")
    build = land(laptop, "bb.parquet")
    assert (condition(laptop).status.value, condition(laptop).reason) == ("False", "SinkUnavailable")
    recorded = read_status(laptop.storage, "views", "view")
    assert recorded is not None
    assert recorded.online_version == build.version
    receiver.requests.clear()
    receiver.answer = 200
    laptop.run()
    assert receiver.ids == [
        f"{build.digest}:{version}" for version in range(build.version - 1, build.version + 1)
    ]
    laptop.run()
    assert condition(laptop).status.value == "True"


@pytest.mark.parametrize("step", ["before-event", "after-event"])
def test_whoever_is_killed_between_commit_and_telling_tells_it_at_the_next_look(
    laptop: Laptop, receiver: Receiver, step: str
) -> None:
    receiver.answer = 503
    land(laptop, "a.parquet")
    build = land(laptop, "bb.parquet")
    receiver.requests.clear()
    receiver.answer = 200
    sink = Sink(receiver.url)
    with laptop.killed_at(step, 2):
        tell(laptop.storage, sink, "view", build.digest, build.version)
        raise AssertionError("it was not killed")
    CommitTeller().look(laptop.storage, sink, "view", (build,))
    last = f"{build.digest}:{build.version}"
    eventually(
        lambda: receiver.ids[-1] == last and len(receiver.ids) == (2 if step == "before-event" else 3),
        WITHIN_S,
    )
    assert receiver.ids[0] == f"{build.digest}:{build.version - 1}"


def test_a_commit_that_the_sink_refuses_does_not_hold_up_those_of_other_views(
    laptop: Laptop, receiver: Receiver
) -> None:
    other = view_of("v")
    other["metadata"]["name"] = "other"
    laptop.apply(other)
    receiver.refuses = "view"
    laptop.drop("a.parquet", rows(3))
    laptop.run()
    sink, teller = Sink(receiver.url), CommitTeller()
    builds = {name: serving(laptop, name) for name in ("view", "other")}
    for name, build in builds.items():
        teller.look(laptop.storage, sink, name, (build,))
    told = paths.told_commits("other", builds["other"].digest)
    eventually(lambda: laptop.storage.find(told) is not None, WITHIN_S)
    teller.forget(laptop.storage)
    assert laptop.storage.find(paths.told_commits("view", builds["view"].digest)) is None


def test_who_is_told_says_the_spec_or_else_knative() -> None:
    events = CommitEvents.model_validate({"sink": {"url": "https://a.example/in?x=1"}})
    environ = {"K_SINK": "http://broker", "FEATURESTORE_EVENTS_TOKEN": "t"}
    assert sink_of(events, environ) == Sink("https://a.example/in?x=1", "t")
    assert sink_of(events, environ, "own") == Sink("https://a.example/in?x=1", "own")
    assert sink_of(None, environ) == Sink("http://broker")
    assert sink_of(None, {}) is None


@pytest.mark.parametrize("url", ["ftp://a", "https://user:secret@a.example", "https://", "a.example"])
def test_an_address_that_is_none_or_has_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        CommitEvents.model_validate({"sink": {"url": url}})


def test_a_sink_that_is_new_to_a_view_is_told_of_its_newest_commits(
    laptop: Laptop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurestore.views.commit_teller._FIRST", 1)
    land(laptop, "a.parquet")
    build = land(laptop, "bb.parquet")
    receiver.requests.clear()
    laptop.storage.delete(paths.told_commits("view", build.digest))
    tell(laptop.storage, Sink(receiver.url), "view", build.digest, build.version)
    assert receiver.ids == [f"{build.digest}:{build.version}"]
