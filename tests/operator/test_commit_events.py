"""Commits in a cluster: the operator tells whoever the FeatureStore names, with what its Secret has."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from cluster.control_plane import ControlPlane
from cluster.fixtures import namespace_of
from cluster_story import LOOK_S, Story, story
from event_receiver import Receiver, event_receiver
from eventually import eventually

pytestmark = pytest.mark.slow
WITHIN_S = 120.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with event_receiver() as started:
        started.answer = 503
        yield started


@pytest.fixture
def it(
    controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> Iterator[Story]:
    with (
        namespace_of(controllers) as namespace,
        story(controllers, namespace, tmp_path_factory.mktemp("events")) as told,
    ):
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "sink"},
            "stringData": {"token": "of-the-sink"},
        }
        events = {"sink": {"url": receiver.url, "secretRef": {"name": "sink"}}}
        told.apply(secret, told.store(events=events), told.pipeline(), told.view())
        told.start()
        yield told


def delivered(it: Story) -> str:
    conditions = it.get("featureview", "things").get("status", {}).get("conditions", ())
    return next((each["status"] for each in conditions if each["type"] == "EventsDelivered"), "")


def test_a_commit_is_told_once_the_sink_takes_it_and_until_then_the_status_says_so(
    it: Story, receiver: Receiver
) -> None:
    it.drop_many(10)
    eventually(lambda: delivered(it) == "False", WITHIN_S, it.told, each_s=LOOK_S)
    eventually(lambda: it.get("featureview", "things")["status"].get("onlineCommit") == 1, WITHIN_S, it.told)
    refused = len(receiver.requests)
    receiver.answer = 202
    eventually(lambda: len(receiver.requests) > refused, WITHIN_S, it.told)
    last = receiver.requests[-1]
    assert last["headers"]["Authorization"] == "Bearer of-the-sink"
    assert json.loads(last["body"])["data"]["rowsAdded"] == 10
    eventually(lambda: delivered(it) == "True", WITHIN_S, it.told, each_s=LOOK_S)
