"""HTTPS for the API server's reviews: a path that only it is told takes an AdmissionReview and gives one back."""

from __future__ import annotations

import hmac
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from featurestore.errors import FeatureStoreError
from featurestore_operator.webhook.admission import Review

if TYPE_CHECKING:
    from featurestore_operator.webhook.certificate import ServingCertificate

logger = logging.getLogger(__name__)

RENEW_S = 3600.0
RETRY_S = 10.0
_LARGEST = 8 * 1024**2
"""No object of the API server is half as large."""
_CALL_S = 10.0
_LOOK_AGAIN_S = 5.0
"""How often another path makes it ask which one is right."""

Answer = Callable[[Mapping[str, Any]], Review]
"""The review of a request."""


class Webhook:
    """Serves on ``port`` of all addresses once it has a certificate; 0 is any free port.

    ``certificate``: what to serve with from now on; asked for at the start, once an hour, and when somebody asks at
    another path, as the API server does once it was told another one.
    """

    def __init__(self, port: int, answer: Answer, certificate: Callable[[], ServingCertificate]) -> None:
        self._certificate = certificate
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._served: ServingCertificate | None = None
        self._renewing = threading.Lock()
        self._renewed_s = float("-inf")
        self._server = _Server(port, answer, self._is_asked)
        self.port: int = self._server.server_port
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._serving = threading.Thread(target=self._server.serve_forever, name="webhook-serve", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        if self._serving.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def _run(self) -> None:
        while True:
            try:
                with self._renewing:
                    self._renew()
                wait_s = RENEW_S
            except FeatureStoreError as error:
                logger.warning("the webhook's certificate cannot be kept: %s", error)
                wait_s = RETRY_S
            if self._stopping.wait(wait_s):
                return

    def _is_asked(self, path: str) -> bool:
        """Whether the API server would ask at this path."""
        if self._knows(path):
            return True
        with self._renewing:
            if not self._knows(path) and time.monotonic() - self._renewed_s > _LOOK_AGAIN_S:
                try:
                    self._renew()
                except FeatureStoreError as error:
                    logger.warning("it is not known where the API server asks for reviews: %s", error)
        return self._knows(path)

    def _knows(self, path: str) -> bool:
        served = self._served
        return served is not None and hmac.compare_digest(served.path.encode(), path.encode())

    def _renew(self) -> None:
        self._renewed_s = time.monotonic()
        serving = self._certificate()
        if serving == self._served:
            return
        # The standard library reads certificates from files only.
        with TemporaryDirectory() as folder:
            file = Path(folder) / "tls.pem"
            file.touch(mode=0o600)
            file.write_bytes(serving.certificate + serving.key)
            # New connections get it; those that are open keep theirs.
            self._tls.load_cert_chain(file)
        if self._served is None:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self._serving.start()
        self._served = serving


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, answer: Answer, is_asked: Callable[[str], bool]) -> None:
        self.answer, self.is_asked = answer, is_asked
        super().__init__(("", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    """One connection. The handshake is made here, by the first read, so that a slow one keeps nobody waiting."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _CALL_S

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= _LARGEST or not self.server.is_asked(self.path.partition("?")[0]):
            self.close_connection = True
            self._send(HTTPStatus.NOT_FOUND, b"")
            return
        try:
            request = json.loads(self.rfile.read(length))["request"]
            uid = request["uid"]
        except (ValueError, KeyError, TypeError):
            self._send(HTTPStatus.BAD_REQUEST, b"")
            return
        self._send(HTTPStatus.OK, json.dumps(self._answer(request).to_dict(uid)).encode())

    def _answer(self, request: Mapping[str, Any]) -> Review:
        try:
            return self.server.answer(request)
        except Exception:
            # A defect of ours must not keep people from their objects; conditions say what is wrong with them.
            logger.exception("a review failed because of a bug")
            return Review(True, warnings=("It was not checked: see the operator's log",))

    def _send(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        """Log nothing: reviews are routine."""
