"""Notifications posted to a runner on a laptop, over HTTP."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from featurestore.arrivals.notifications.receiver import MOST_BYTES
from featurestore.errors import SpecError
from featurestore.runner.journal import Event
from featurestore.runner.webhook_receiver import TOKEN, TOKEN_FILE, TOKEN_PATH, WebhookReceiver

SECRET = "correct horse battery staple"
NOTE = json.dumps({"uri": "s3://raw/a.csv"}).encode()
PATH = "/notifications/flights"


class Posting:
    """A receiver, what it was told to look at, and those who post to it."""

    def __init__(self, state: Path, environ: dict[str, str], port: int = 0) -> None:
        self.hints: list[tuple[str, Sequence[str]]] = []
        self.events: list[Event] = []
        self.receiver = WebhookReceiver(
            ("127.0.0.1", port), state, environ, lambda name, urls: self.hints.append((name, urls)), self
        )

    def begin(self, step: Any) -> None: ...

    def progress(self, step: Any, progress: dict[str, Any]) -> None: ...

    def happened(self, event: Event) -> None:
        self.events.append(event)

    def send(
        self, path: str = PATH, body: bytes = NOTE, method: str = "POST", **headers: str
    ) -> http.client.HTTPResponse:
        assert self.receiver.port is not None
        connection = http.client.HTTPConnection("127.0.0.1", self.receiver.port, timeout=60)
        connection.request(
            method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        answer = connection.getresponse()
        answer.body = answer.read()  # type: ignore[attr-defined]
        return answer


@pytest.fixture
def posting(tmp_path: Path) -> Iterator[Callable[..., Posting]]:
    made: list[Posting] = []

    def make(environ: dict[str, str] | None = None) -> Posting:
        made.append(Posting(tmp_path / ".featurestore", {TOKEN: SECRET} if environ is None else environ))
        made[-1].receiver.attend(["flights"])
        return made[-1]

    yield make
    for each in made:
        each.receiver.close()


BEARER = f"Bearer {SECRET}"


def test_the_token_is_shown_as_a_bearer_as_a_password_or_in_the_url(posting: Any) -> None:
    it = posting()
    basic = base64.b64encode(f"sns:{SECRET}".encode()).decode()
    assert it.send(Authorization=BEARER).status == HTTPStatus.ACCEPTED
    assert it.send(Authorization=f"Basic {basic}").status == HTTPStatus.ACCEPTED
    assert it.send(f"{PATH}?access_token={SECRET.replace(' ', '%20')}").status == HTTPStatus.ACCEPTED
    assert it.hints == [("flights", ("s3://raw/a.csv",))] * 3


def test_whoever_has_no_token_or_another_pipelines_is_told_the_same_and_hints_at_nothing(
    posting: Any,
) -> None:
    it = posting()
    refused = [
        it.send(),
        it.send(Authorization="Bearer made-up-made-up-made-up"),
        it.send(Authorization="Bearer "),
        it.send(Authorization="Basic %%%"),
        it.send(f"{PATH}?access_token="),
        it.send("/notifications/no-such-pipeline", Authorization=BEARER),
        it.send("/notifications/flights/", Authorization=BEARER),
        it.send("/notifications/", Authorization=BEARER),
    ]
    assert {(answer.status, answer.body) for answer in refused} == {(refused[0].status, refused[0].body)}
    assert refused[0].status == HTTPStatus.UNAUTHORIZED
    assert it.hints == []


def test_the_token_is_checked_before_the_body_is_read(posting: Any) -> None:
    it = posting()
    with socket.create_connection(("127.0.0.1", it.receiver.port), timeout=60) as sender:
        sender.sendall(f"POST {PATH} HTTP/1.1\r\nHost: it\r\nContent-Length: 1000000\r\n\r\n".encode())
        assert b" 401 " in sender.recv(100)


@pytest.mark.parametrize("said", ["", "-1", "x", "1_0", "²"])
def test_a_body_whose_length_is_not_given_is_not_read(posting: Any, said: str) -> None:
    it = posting()
    length = f"Content-Length: {said}\r\n" if said else "Transfer-Encoding: chunked\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nHost: it\r\nAuthorization: {BEARER}\r\n{length}\r\n"
    with socket.create_connection(("127.0.0.1", it.receiver.port), timeout=60) as sender:
        sender.sendall(head.encode("latin-1", errors="replace"))
        assert b" 411 " in sender.recv(100)


def test_a_body_that_is_too_large_is_not_read(posting: Any) -> None:
    it = posting()
    head = f"POST {PATH} HTTP/1.1\r\nAuthorization: {BEARER}\r\nContent-Length: {MOST_BYTES + 1}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", it.receiver.port), timeout=60) as sender:
        sender.sendall(head.encode())
        assert b" 413 " in sender.recv(100)


def test_what_is_no_message_is_refused_and_what_names_no_object_is_taken(posting: Any) -> None:
    it = posting()
    assert it.send(body=b"{", Authorization=BEARER).status == HTTPStatus.BAD_REQUEST
    assert it.send(body=b'{"Event": "s3:TestEvent"}', Authorization=BEARER).status == HTTPStatus.ACCEPTED
    assert it.hints == []


def test_event_grid_and_cloud_events_get_the_handshake_that_they_want(posting: Any) -> None:
    it = posting()
    asks = [
        {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d"}}
    ]
    answer = it.send(body=json.dumps(asks).encode(), Authorization=BEARER)
    assert (answer.status, json.loads(answer.body)) == (HTTPStatus.OK, {"validationResponse": "512d"})
    origin = {"WebHook_Request_Origin": "eventgrid.azure.net"}
    answer = it.send(body=b"", method="OPTIONS", Authorization=BEARER, **origin)
    assert (answer.status, answer.headers["WebHook-Allowed-Origin"]) == (HTTPStatus.OK, "eventgrid.azure.net")
    assert it.send(body=b"", method="OPTIONS", **origin).status == HTTPStatus.UNAUTHORIZED


def test_nobody_listens_until_a_pipeline_wants_notifications(tmp_path: Path) -> None:
    it = Posting(tmp_path, {TOKEN: SECRET})
    it.receiver.attend([])
    assert it.receiver.port is None
    it.receiver.close()


def test_a_token_is_made_once_and_only_its_owner_reads_it(posting: Any, tmp_path: Path) -> None:
    it, kept = posting({}), tmp_path / ".featurestore" / TOKEN_FILE
    token = kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert str(kept) in it.events[0].message
    assert token not in it.events[0].message
    assert it.send(Authorization=f"Bearer {token}").status == HTTPStatus.ACCEPTED
    again = posting({})
    assert again.send(Authorization=f"Bearer {token}").status == HTTPStatus.ACCEPTED


@pytest.mark.parametrize("environ", [{TOKEN: "short"}, {TOKEN_PATH: "absent"}])
def test_a_token_that_cannot_be_used_is_an_error(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(SpecError, match="the token of notifications"):
        Posting(tmp_path, environ)


def test_a_port_that_is_taken_is_told_once_and_files_are_listed(posting: Any, tmp_path: Path) -> None:
    first = posting()
    other = Posting(tmp_path, {TOKEN: SECRET}, first.receiver.port)
    for _ in range(3):
        other.receiver.attend(["flights"])
    assert [event.what for event in other.events] == ["Failed"]
