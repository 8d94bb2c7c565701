"""HTTP that takes notifications: ``POST /notifications/<pipeline>``, with the pipeline's token.

In this order, so that whoever has no token costs nothing: is there room for another connection, is the token right, is
the body of a bounded size, is it there in time, what does it say. Every answer ends the connection.

The token is a bearer token (MinIO, Event Grid with a header), the password of basic authentication (SNS), or the
parameter ``access_token`` of the URL (https://github.com/cloudevents/spec, HTTP 1.1 Web Hooks; Pub/Sub, versitygw),
which comes in lines of logs that others write: here none is written.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import threading
import time
from collections.abc import Sequence
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from featurestore.arrivals.notifications.object_events import read_message
from featurestore.errors import RequestError, TransientError
from featurestore.printable import printable

logger = logging.getLogger(__name__)

PATH = "/notifications/"
SHORTEST_TOKEN = 16
"""Characters. A shorter one opens nothing."""
MOST_BYTES = 1 << 20
"""Of a body. Event Grid sends at most this much, Amazon a quarter of it."""
_CONNECTIONS = 64
_CALL_S = 10.0
_RETRY_AFTER_S = 2


class NotificationDoor(Protocol):
    """Whom notifications are for. Called by several threads at once."""

    def token(self, address: str) -> str | None:
        """What senders to this pipeline must show; None if nobody may send to it, or there is no such pipeline.

        Raises:
            TransientError: it cannot be read now, or another process takes them.
        """

    def take(self, address: str, urls: Sequence[str]) -> None:
        """Have the pipeline look at these objects."""


class Receiver:
    """Serves on an address; port 0 is any free one, and ``port`` says which.

    Raises:
        OSError: the port is not free.
    """

    def __init__(self, host: str, port: int, door: NotificationDoor) -> None:
        self._server = _Server(host, port, door)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            name="notifications",
            kwargs={"poll_interval": 0.05},
            daemon=True,
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, door: NotificationDoor) -> None:
        self.door = door
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say so in the log: a client that leaves is routine, a defect of ours is not."""
        logger.debug("a connection of a sender of notifications broke", exc_info=True)


class _Refused(Exception):
    """``status``: how the request is answered; ``why``: the text."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _CALL_S

    def setup(self) -> None:
        super().setup()
        self._until_s = time.monotonic() + _CALL_S

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_OPTIONS(self) -> None:
        self._answer(self._allow)

    def _answer(self, method: Any) -> None:
        try:
            status, headers, body = method()
        except _Refused as refused:
            status, headers, body = refused.status, {}, f"{refused}\n".encode()
        except TransientError as error:
            logger.debug("a notification was refused for now: %s", error)
            status, headers, body = HTTPStatus.SERVICE_UNAVAILABLE, {}, b"not now, or not by this process\n"
        except Exception:
            logger.exception("a notification was refused because of a bug")
            status, headers, body = HTTPStatus.INTERNAL_SERVER_ERROR, {}, b"an unexpected error\n"
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers = {"Retry-After": str(_RETRY_AFTER_S)}
        if status is HTTPStatus.UNAUTHORIZED:
            headers = {"WWW-Authenticate": "Bearer"}
        self.send_response(status)
        for name, value in {
            "Content-Type": "text/plain",
            "Content-Length": str(len(body)),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _post(self) -> tuple[HTTPStatus, dict[str, str], bytes]:
        address = self._admitted()
        try:
            message = read_message(self._body())
        except RequestError as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, error.problem) from error
        if message.validation:
            answer = json.dumps({"validationResponse": message.validation}).encode()
            return HTTPStatus.OK, {"Content-Type": "application/json"}, answer
        if message.confirm:
            logger.warning(
                "%s: Amazon SNS sends nothing until this page was opened: %s",
                address,
                printable(message.confirm),
            )
        if message.urls:
            self.server.door.take(address, message.urls)
        return HTTPStatus.ACCEPTED, {}, b""

    def _allow(self) -> tuple[HTTPStatus, dict[str, str], bytes]:
        """The handshake of CloudEvents' Web Hooks: whoever has the token may send."""
        self._admitted()
        origin = self.headers.get("WebHook-Request-Origin", "*")
        allowed = origin if origin.isprintable() else "*"
        return (
            HTTPStatus.OK,
            {"WebHook-Allowed-Origin": allowed, "WebHook-Allowed-Rate": "*", "Allow": "POST"},
            b"",
        )

    def _admitted(self) -> str:
        """The address, once the token was found to be that of its pipeline."""
        parts = urlsplit(self.path)
        if not parts.path.startswith(PATH):
            raise _Refused(HTTPStatus.NOT_FOUND, "not found")
        address = unquote(parts.path.removeprefix(PATH))
        shown = _shown(self.headers.get("Authorization", ""), parts.query)
        wanted = self.server.door.token(address) if shown else None
        is_right = wanted is not None and len(wanted) >= SHORTEST_TOKEN
        # Compared in any case, so that the time it takes tells nothing of which pipelines there are.
        if not hmac.compare_digest(_digest(shown), _digest(wanted or "")) or not is_right:
            raise _Refused(HTTPStatus.UNAUTHORIZED, "the token is missing, or is not that of this pipeline")
        return address

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or self.headers.get("Transfer-Encoding"):
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "the length of the body is not given")
        # A number of more digits than this is too large as well, and slow to read.
        if len(length) > 10 or int(length) > MOST_BYTES:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"wanted at most {MOST_BYTES:,} bytes")
        pieces, left = [], int(length)
        while left:
            if time.monotonic() > self._until_s:
                raise _Refused(HTTPStatus.REQUEST_TIMEOUT, f"the body was not there within {_CALL_S:g} s")
            piece = self.rfile.read1(left)
            if not piece:
                raise _Refused(HTTPStatus.BAD_REQUEST, "the body is shorter than was said")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        """Log nothing: URLs may hold tokens."""


def _shown(authorization: str, query: str) -> str:
    """The token that a request shows; empty if it shows none."""
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return parse_qs(query, max_num_fields=16).get("access_token", [""])[0]


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="surrogateescape")).digest()
