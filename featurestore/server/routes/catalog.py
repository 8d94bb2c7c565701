"""``GET /v1/views`` and ``/v1/services``: what can be read."""

from __future__ import annotations

from featurestore.errors import NotFound
from featurestore.server.messages import ServiceDescription, ServiceList, ViewDescription, ViewList
from featurestore.server.route import JSON, HttpRequest, Reply, Route, json_reply


async def _view_answer(request: HttpRequest) -> Reply:
    return json_reply(await request.backend.run(_views, request))


def _views(request: HttpRequest) -> ViewList:
    store, authenticator = request.backend.store, request.backend.authenticator
    views = []
    for name in sorted(authenticator.readable(request.caller, store.list_views())):
        try:
            views.append(ViewDescription.model_validate(store.describe(name)))
        except NotFound:
            continue  # It was deleted since it was listed.
    return ViewList(views=views)


async def _service_answer(request: HttpRequest) -> Reply:
    return json_reply(await request.backend.run(_services, request))


def _services(request: HttpRequest) -> ServiceList:
    store, authenticator = request.backend.store, request.backend.authenticator
    services = []
    for name in store.list_services():
        try:
            service = ServiceDescription.model_validate(store.describe_service(name))
        except NotFound:
            continue  # It was deleted since it was listed, or one of its views was.
        if authenticator.readable(request.caller, service.views) == set(service.views):
            services.append(service)
    return ServiceList(services=services)


SERVICES = Route(
    "GET",
    "/v1/services",
    "list_services",
    "The services that can be read, with their join keys, features and types",
    _service_answer,
    gives={JSON: ServiceList},
    may_fail=(401, 503, 504),
)
VIEWS = Route(
    "GET",
    "/v1/views",
    "list_views",
    "The views that can be read, with their features, types and freshness",
    _view_answer,
    gives={JSON: ViewList},
    may_fail=(401, 503, 504),
)
