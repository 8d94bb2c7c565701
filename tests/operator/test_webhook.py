"""A real API server asks the webhook, and does what it answers."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.access import KubectlError
from cluster.control_plane import ControlPlane

from featurestore.errors import TransientError
from featurestore_operator.webhook.admission import Review
from featurestore_operator.webhook.certificate import ServingCertificate, make
from featurestore_operator.webhook.webhook import Webhook

ROOT = Path(__file__).parents[2]
READY_S = 90.0
PATH = "/review/" + "a1" * 32
SERVING = replace(make("localhost", datetime.now(UTC)), path=PATH)
STORE = {
    "apiVersion": "featurestore.dev/v1alpha1",
    "kind": "FeatureStore",
    "metadata": {"name": "default"},
    "spec": {"offline": {"uri": "s3://features"}},
}


class Answers:
    """Answers as it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer = Review(True)
        self.asked: list[Mapping[str, Any]] = []

    def __call__(self, request: Mapping[str, Any]) -> Review:
        self.asked.append(request)
        return self.answer


class Late:
    """A certificate that is there at the second time of asking."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> ServingCertificate:
        self.asked += 1
        if self.asked == 1:
            raise TransientError("the API server did not answer")
        return SERVING


@pytest.fixture
def answers(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Answers]:
    """The webhook, which the API server asks about the namespace."""
    answers = Answers()
    webhook = Webhook(0, answers, lambda: SERVING)
    webhook.start()
    everything = yaml.safe_load_all((ROOT / "operator/deploy/operator.yaml").read_text())
    [manifest] = [it for it in everything if it["kind"] == "ValidatingWebhookConfiguration"]
    for one in manifest["webhooks"]:
        one["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        one["clientConfig"] = {
            "url": f"https://localhost:{webhook.port}{PATH}",
            "caBundle": base64.b64encode(SERVING.authority).decode(),
        }
    file = tmp_path / "webhook.json"
    file.write_text(json.dumps(manifest))
    control_plane.kubectl("apply", f"--filename={file}")
    # It takes the API server a moment to know that it must ask.
    deadline = time.monotonic() + READY_S
    while not answers.asked:
        assert time.monotonic() < deadline
        applied(control_plane, namespace, dry_run=True)
    answers.asked.clear()
    yield answers
    control_plane.kubectl("delete", f"--filename={file}")
    webhook.stop()


def applied(plane: ControlPlane, namespace: str, *, dry_run: bool) -> str:
    how = ["--dry-run=server"] if dry_run else []
    return plane.kubectl("apply", f"--namespace={namespace}", "--filename=-", *how, stdin=json.dumps(STORE))


def test_what_is_allowed_is_written(answers: Answers, control_plane: ControlPlane, namespace: str) -> None:
    assert "created" in applied(control_plane, namespace, dry_run=False)
    [request] = answers.asked
    assert (request["operation"], request["name"]) == ("CREATE", "default")
    assert (request["namespace"], request["kind"]["kind"]) == (namespace, "FeatureStore")
    assert request["object"]["spec"]["offline"] == {"uri": "s3://features"}


def test_what_is_refused_is_not_written_and_the_user_reads_why(
    answers: Answers, control_plane: ControlPlane, namespace: str
) -> None:
    answers.answer = Review(False, "unknown column 'dlay'. Did you mean 'delay'?")
    with pytest.raises(KubectlError, match=r"unknown column 'dlay'. Did you mean 'delay'\?"):
        applied(control_plane, namespace, dry_run=False)
    assert not control_plane.kubectl("get", "featurestores", f"--namespace={namespace}", "-o", "name")


def test_a_dry_run_is_reviewed_too_and_changes_nothing(
    answers: Answers, control_plane: ControlPlane, namespace: str
) -> None:
    answers.answer = Review(True, warnings=("FeatureView 'delays' builds again",))
    assert "server dry run" in applied(control_plane, namespace, dry_run=True)
    assert [it["dryRun"] for it in answers.asked] == [True]
    assert not control_plane.kubectl("get", "featurestores", f"--namespace={namespace}", "-o", "name")


def test_deleting_is_reviewed_with_the_object_as_it_was(
    answers: Answers, control_plane: ControlPlane, namespace: str
) -> None:
    applied(control_plane, namespace, dry_run=False)
    control_plane.kubectl("delete", "featurestores", "default", f"--namespace={namespace}")
    assert answers.asked[-1]["operation"] == "DELETE"
    assert answers.asked[-1]["oldObject"]["spec"]["offline"] == {"uri": "s3://features"}


def test_a_webhook_that_never_got_a_certificate_can_be_stopped() -> None:
    certificate = Late()
    webhook = Webhook(0, Answers(), certificate)
    webhook.start()
    webhook.stop()
    assert certificate.asked == 1


class Told:
    """What the webhook is told to serve with; how often it asked."""

    def __init__(self) -> None:
        self.path, self.asked = PATH, 0

    def __call__(self) -> ServingCertificate:
        self.asked += 1
        return replace(SERVING, path=self.path)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def served(told: Told) -> Iterator[tuple[Webhook, Answers]]:
    answers = Answers()
    webhook = Webhook(0, answers, told)
    webhook.start()
    yield webhook, answers
    webhook.stop()


def post(webhook: Webhook, path: str) -> int:
    """The code of the answer to a pod that asks there."""
    body = json.dumps({"request": {"uid": "1", "operation": "CREATE", "object": STORE}}).encode()
    request = urllib.request.Request(f"https://localhost:{webhook.port}{path}", body, method="POST")
    trusted = ssl.create_default_context(cadata=SERVING.authority.decode())
    # The port is open before the certificate is there, and connections wait.
    try:
        with urllib.request.urlopen(request, context=trusted, timeout=READY_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


@pytest.mark.parametrize("path", ["/", "/review", "/review/", "/review/" + "0" * 64, PATH + "/", PATH[:-1]])
def test_a_pod_that_does_not_know_the_path_gets_no_review(served: tuple[Webhook, Answers], path: str) -> None:
    webhook, answers = served
    assert post(webhook, path) == 404
    assert answers.asked == []
    assert post(webhook, PATH) == 200
    assert len(answers.asked) == 1


def test_a_path_that_another_replica_made_is_learned_when_it_is_asked_for(
    served: tuple[Webhook, Answers], told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook, _ = served
    assert post(webhook, PATH) == 200
    monkeypatch.setattr("featurestore_operator.webhook.webhook._LOOK_AGAIN_S", 0.0)
    told.path = "/review/" + "b2" * 32
    assert post(webhook, told.path) == 200
    assert post(webhook, PATH) == 404


def test_whoever_guesses_makes_it_look_no_more_than_now_and_then(
    served: tuple[Webhook, Answers], told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook, _ = served
    monkeypatch.setattr("featurestore_operator.webhook.webhook._LOOK_AGAIN_S", 3600.0)
    assert [post(webhook, f"/review/{guess}") for guess in range(5)] == [404] * 5
    assert told.asked == 1
