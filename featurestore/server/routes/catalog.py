"""``GET /v1/views``: what can be read."""

from __future__ import annotations

from featurestore.errors import NotFound
from featurestore.server.backend import Backend
from featurestore.server.messages import ViewDescription, ViewList
from featurestore.server.route import JSON, HttpRequest, Reply, Route, json_reply


async def _answer(call: HttpRequest) -> Reply:
    return json_reply(await call.backend.run(_views, call.backend))


def _views(backend: Backend) -> ViewList:
    views = []
    for name in backend.store.list_views():
        try:
            views.append(ViewDescription.model_validate(backend.store.describe(name)))
        except NotFound:
            continue  # It was deleted since it was listed.
    return ViewList(views=views)


ROUTE = Route(
    "GET",
    "/v1/views",
    "list_views",
    "The views that can be read, with their features, types and freshness",
    _answer,
    gives={JSON: ViewList},
    may_fail=(503, 504),
)
