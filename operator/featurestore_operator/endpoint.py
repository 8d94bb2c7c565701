"""HTTP for probes and Prometheus: ``/healthz``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from featurestore_operator.http_server import HttpServer

Check = Callable[[], str | None]
"""What is wrong, or None."""
Guard = Callable[[str], HTTPStatus]
"""OK if a request with this ``Authorization`` may have the answer, else why not."""
_GZIP_LEVEL = 3
"""Names and labels come again and again: higher levels take longer for little."""


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
        self._registry, self._guard = registry, guard
        # None of them is a coroutine, so that each has a thread: metrics of many resources take a while.
        routes = [
            Route("/healthz", lambda _: _checked(healthy)),
            Route("/readyz", lambda _: _checked(ready)),
            Route("/metrics", self._metrics),
        ]
        self._server = HttpServer("endpoint", Starlette(routes=routes), port)
        self.port = self._server.port

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def _metrics(self, request: Request) -> Response:
        if self._guard is not None:
            status = self._guard(request.headers.get("Authorization", ""))
            if status is not HTTPStatus.OK:
                return PlainTextResponse(status.description, status)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        headers, body = {"Content-Type": content_type}, encode(self._registry)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"], body = "gzip", gzip.compress(body, _GZIP_LEVEL)
        return Response(body, headers=headers)


def _checked(check: Check) -> Response:
    wrong = check()
    return PlainTextResponse(wrong or "ok", HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK)
