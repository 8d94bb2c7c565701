"""HTTP for probes and Prometheus: ``/healthz``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

Check = Callable[[], str | None]
"""What is wrong, or None."""
Guard = Callable[[str], HTTPStatus]
"""OK if a request with this ``Authorization`` may have the answer, else why not."""


class Endpoint:
    """Serves on ``port`` of all addresses; 0 means any free one. ``port`` says which.

    ``guard``: who may read the metrics; None for everybody.
    """

    def __init__(
        self,
        port: int,
        healthy: Check,
        ready: Check,
        registry: CollectorRegistry,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard
        self._checks = {"/healthz": healthy, "/readyz": ready}
        self._metrics = make_wsgi_app(registry)
        self._server = make_server("", port, self._answer, _Server, _Quiet)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environment["PATH_INFO"]
        if path == "/metrics":
            status = self._guard(environment.get("HTTP_AUTHORIZATION", "")) if self._guard else HTTPStatus.OK
            if status is not HTTPStatus.OK:
                start(f"{status.value} {status.phrase}", [("Content-Type", "text/plain")])
                return [status.description.encode()]
            metrics: Iterable[bytes] = self._metrics(environment, start)
            return metrics
        check = self._checks.get(path)
        wrong = "not found" if check is None else check()
        code = (
            HTTPStatus.NOT_FOUND
            if check is None
            else HTTPStatus.SERVICE_UNAVAILABLE
            if wrong
            else HTTPStatus.OK
        )
        start(f"{code.value} {code.phrase}", [("Content-Type", "text/plain")])
        return [(wrong or "ok").encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        """Log nothing: probes are routine."""
