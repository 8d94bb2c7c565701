"""``GET /v1/views`` and ``/v1/services``: what can be read."""

from __future__ import annotations

from featurestore.errors import NotFound
from featurestore.server.backend import Backend
from featurestore.server.messages import ServiceDescription, ServiceList, ViewDescription, ViewList
from featurestore.server.route import JSON, HttpRequest, Reply, Route, json_reply


async def _view_answer(call: HttpRequest) -> Reply:
    return json_reply(await call.backend.run(_views, call.backend))


def _views(backend: Backend) -> ViewList:
    views = []
    for name in backend.store.list_views():
        try:
            views.append(ViewDescription.model_validate(backend.store.describe(name)))
        except NotFound:
            continue  # It was deleted since it was listed.
    return ViewList(views=views)


async def _service_answer(request: HttpRequest) -> Reply:
    return json_reply(await request.backend.run(_services, request.backend))


def _services(backend: Backend) -> ServiceList:
    services = []
    for name in backend.store.list_services():
        try:
            services.append(ServiceDescription.model_validate(backend.store.describe_service(name)))
        except NotFound:
            continue  # It was deleted since it was listed, or one of its views was.
    return ServiceList(services=services)


SERVICES = Route(
    "GET",
    "/v1/services",
    "list_services",
    "The services that can be read, with their join keys, features and types",
    _service_answer,
    gives={JSON: ServiceList},
    may_fail=(503, 504),
)
VIEWS = Route(
    "GET",
    "/v1/views",
    "list_views",
    "The views that can be read, with their features, types and freshness",
    _view_answer,
    gives={JSON: ViewList},
    may_fail=(503, 504),
)
