"""Notifications in a cluster: a controller before a real API server, with the receiver of its process."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import manifest
import pytest
from cluster.control_plane import ControlPlane
from eventually import eventually
from nats_server import NatsServer
from storage_server import buckets

from featurestore.arrivals.backlog import MOST_HINTS
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.notifications.receiver import PATH, Receiver
from featurestore.storage.filesystem import filesystem
from featurestore.storage.objects import Storage
from featurestore_operator.controllers.controller import Controller
from featurestore_operator.informer.cache import Cache
from featurestore_operator.informer.status_summary import StatusSummary
from featurestore_operator.kube import access
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import DATA_PIPELINE, FEATURE_STORE, SECRET
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics
from featurestore_operator.namespaces.open_store import SECRET_US
from featurestore_operator.settings import Settings

TOKEN = "a token of the tests"


class Notified:
    """Pipelines ``p``, which wants notifications, and ``silent``, which wants none, of a bucket ``raw``."""

    def __init__(self, api: Api, namespace: str, folder: Path, environ: dict[str, str]) -> None:
        self.api, self.namespace, self.environ = api, namespace, environ
        self.now_us = 4_000_000_000_000_000
        self.root = str(folder / "root")
        self.woken: list[Key] = []
        self.cache = Cache(lambda key, after_s: self.woken.append(key))
        settings = Settings(identity="it", trust_namespaces=True, notification_port=0)
        self.metrics = Metrics()
        self.controller = Controller(self.cache, api, settings, self.metrics, clock=lambda: self.now_us)
        self.receiver = Receiver("127.0.0.1", 0, self.controller.inbox)
        self.receiver.start()
        self.secret("source", environ)
        store = manifest.store(namespace)
        store["spec"] = {"offline": {"uri": self.root}}
        self.cache.put(FEATURE_STORE, api.create(FEATURE_STORE, store))
        for name, trigger in (("p", {"notifications": {"webhook": {}}}), ("silent", {})):
            pipeline = manifest.pipeline(namespace, name)
            source = {"uri": f"s3://raw/{name}/*.csv", "format": "CSV", "secretRef": {"name": "source"}}
            pipeline["spec"] |= {"source": source, "trigger": {"arrivals": {"maxWait": "0s"}, **trigger}}
            api.create(DATA_PIPELINE, pipeline)
            self.hear(name)

    def secret(self, name: str, values: dict[str, str]) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        metadata = {"namespace": self.namespace, "name": name}
        self.api.create(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})

    def hear(self, name: str = "p") -> None:
        self.cache.put(DATA_PIPELINE, self.api.get(DATA_PIPELINE, self.namespace, name))

    def look(self, name: str = "p") -> float | None:
        self.now_us += 1_000_000
        wait_s = self.controller.handle(Key("DataPipeline", self.namespace, name))
        self.hear(name)
        return wait_s

    def notified(self) -> tuple[str, str]:
        status = self.api.get(DATA_PIPELINE, self.namespace, "p")["status"]
        return next((it["status"], it["reason"]) for it in status["conditions"] if it["type"] == "Notified")

    def post(self, key: str, pipeline: str = "p", token: str = TOKEN) -> int:
        records = {"Records": [{"s3": {"bucket": {"name": "raw"}, "object": {"key": key}}}]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.receiver.port}{PATH}{self.namespace}/{pipeline}",
            json.dumps(records).encode(),
            {"Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def taken(self) -> list[str]:
        ledger = Ledger(Storage(self.root), "p")
        manifests = [ledger.manifest(number) for number in range(1, ledger.last_batch() + 1)]
        return [entry.arrival.uri for it in manifests for entry in it.entries]


@pytest.fixture
def it(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Notified]:
    api = Api(
        access.configuration(str(control_plane.kubeconfig_of("operator", ["system:masters"]))), Metrics()
    )
    with buckets(tmp_path / "s3", "raw") as environ:
        found = Notified(api, namespace, tmp_path, environ)
        yield found
        found.receiver.stop()
        found.controller.inbox.close()
    api.close()


def test_an_object_that_is_told_of_is_taken_long_before_the_next_listing(it: Notified) -> None:
    it.secret("p-webhook", {"token": TOKEN})
    it.look()
    assert it.look() == pytest.approx(600, abs=5)
    fs, _ = filesystem("s3://raw", it.environ)
    for name in ("a", "b"):
        fs.call_s3("put_object", Bucket="raw", Key=f"p/{name}.csv", Body=b"a\n1\n")
    it.woken.clear()
    assert it.post("p/a.csv") == HTTPStatus.ACCEPTED
    assert it.woken == [Key("DataPipeline", it.namespace, "p")]
    it.look()
    assert it.taken() == ["s3://raw/p/a.csv"]


def test_more_notifications_than_are_kept_are_counted_and_all_that_came_is_found_and_told_as_a_backlog(
    it: Notified,
) -> None:
    it.api.patch(DATA_PIPELINE, it.namespace, "p", {"spec": {"trigger": {"arrivals": {"maxFiles": 1}}}})
    it.hear()
    it.look()
    fs, _ = filesystem("s3://raw", it.environ)
    for name in ("a", "b", "c"):
        fs.call_s3("put_object", Bucket="raw", Key=f"p/{name}.csv", Body=b"a\n1\n")
    it.controller.inbox.take(f"{it.namespace}/p", [f"s3://raw/p/{number}.csv" for number in range(10_000)])
    dropped = it.metrics.registry.get_sample_value("featurestore_operator_hints_dropped_total")
    assert dropped == 10_000 - MOST_HINTS - 1
    it.look()
    status = it.api.get(DATA_PIPELINE, it.namespace, "p")["status"]
    assert status["pendingFiles"] == 3
    told = [each["message"] for each in status["conditions"] if each["type"] == "Backlogged"]
    assert [message.partition(";")[0] for message in told] == ["2 files (8 B) wait, 2 batches or more"]
    assert StatusSummary.of({"status": status}).backlogged == 1


def test_only_the_token_of_the_pipeline_opens_it_and_what_it_names_is_of_its_source(it: Notified) -> None:
    it.secret("p-webhook", {"token": TOKEN})
    for name in ("p", "silent"):
        it.look(name)
    it.woken.clear()
    asked: list[Any] = [
        it.post("p/a.csv", token="another token of whoever"),
        it.post("silent/a.csv", "silent"),
    ]
    asked += [it.post("p/a.csv", "absent"), it.post("p/a.csv", "../p")]
    assert asked == [HTTPStatus.UNAUTHORIZED] * 4
    assert it.post("silent/a.csv") == HTTPStatus.ACCEPTED
    assert it.woken == []


def test_a_pipeline_says_that_its_token_is_missing_and_takes_one_that_comes_later(it: Notified) -> None:
    it.secret("p-webhook", {"token": "short"})
    it.look()
    assert it.notified() == ("False", "SecretMissing")
    assert it.post("p/a.csv", token="short") == HTTPStatus.UNAUTHORIZED
    replaced = {"data": {"token": base64.b64encode(TOKEN.encode()).decode()}}
    it.api.patch(SECRET, it.namespace, "p-webhook", replaced)
    it.now_us += SECRET_US
    it.cache.wake(Key("DataPipeline", it.namespace, "p"))
    it.look()
    assert it.notified() == ("True", "Receiving")
    assert it.post("p/a.csv") == HTTPStatus.ACCEPTED


def test_events_that_nats_carries_are_taken_without_a_secret_and_a_server_that_is_away_is_said(
    it: Notified, nats: NatsServer
) -> None:
    carrier = {"servers": nats.address, "subject": f"hints.{it.namespace}"}
    trigger = {"notifications": {"webhook": None, "nats": carrier}}
    it.api.patch(DATA_PIPELINE, it.namespace, "p", {"spec": {"trigger": trigger}})
    it.hear()
    it.look()
    inbox = it.controller.inbox
    eventually(lambda: inbox.failure(f"{it.namespace}/p") is None)
    it.look()
    assert it.notified() == ("True", "Receiving")
    filesystem("s3://raw", it.environ)[0].call_s3("put_object", Bucket="raw", Key="p/a.csv", Body=b"a\n1\n")
    it.woken.clear()
    nats.publish(carrier["subject"], json.dumps({"uri": "s3://raw/p/a.csv"}).encode())
    eventually(lambda: it.woken == [Key("DataPipeline", it.namespace, "p")])
    it.look()
    assert it.taken() == ["s3://raw/p/a.csv"]
    trigger["notifications"] = {"nats": {**carrier, "servers": "127.0.0.1:1"}}
    it.api.patch(DATA_PIPELINE, it.namespace, "p", {"spec": {"trigger": trigger}})
    it.hear()
    it.look()
    eventually(lambda: inbox.failure(f"{it.namespace}/p"))
    it.look()
    assert it.notified() == ("False", "NotReceiving")


def test_a_sender_that_meets_an_operator_that_stands_by_is_told_to_ask_again(it: Notified) -> None:
    it.secret("p-webhook", {"token": TOKEN})
    assert it.post("p/a.csv") == HTTPStatus.SERVICE_UNAVAILABLE  # It was not looked at yet.
    it.look()
    it.controller.inbox.leads = lambda: False
    assert it.post("p/a.csv") == HTTPStatus.SERVICE_UNAVAILABLE
