"""What Kubernetes and Prometheus ask: is it alive, is it ready, what does it measure."""

from __future__ import annotations

from featurestore.server.messages import Health
from featurestore.server.route import JSON, HttpRequest, Reply, Route, json_reply

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


async def _health(request: HttpRequest) -> Reply:
    return json_reply(Health(status="ok"))


async def _ready(request: HttpRequest) -> Reply:
    readiness = request.backend.readiness
    status = "draining" if readiness.draining else "ready" if readiness.ready else "loading"
    health = Health(status=status, waiting_for=list(readiness.last.waiting_for))
    return json_reply(health, 200 if readiness.ready else 503)


async def _metrics(request: HttpRequest) -> Reply:
    return Reply(request.backend.measurements.text(), _TEXT)


HEALTH = Route(
    "GET", "/healthz", "health", "Whether the process serves", _health, gives={JSON: Health}, is_open=True
)
READY = Route(
    "GET",
    "/readyz",
    "ready",
    "Whether the freshest commit of each view is loaded; 503 while it is not, or when the server is about to end",
    _ready,
    gives={JSON: Health},
    not_now=503,
    is_open=True,
)
METRICS = Route(
    "GET",
    "/metrics",
    "metrics",
    "Measurements for Prometheus",
    _metrics,
    gives={"text/plain": None},
    is_open=True,
)
