"""The ASGI application: each request within its limits, and each error a problem that says no more than it may."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import cache, partial
from http import HTTPStatus

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as AsgiRoute
from starlette.types import Receive, Scope, Send

from featurestore.errors import NotFound
from featurestore.server.backend import Backend
from featurestore.server.caller import ANYBODY
from featurestore.server.openapi import openapi
from featurestore.server.page import PAGES
from featurestore.server.page.problem_page import page_problem
from featurestore.server.problem_details import HttpProblem, http_problem
from featurestore.server.route import JSON, HttpRequest, Reply, Route, problem_reply
from featurestore.server.routes import ROUTES

_log = logging.getLogger("featurestore.server")
_LOOK_S = 10.0
_LOOK_UNREADY_S = 0.5
"""How often views are tried, and how often while the server is not ready."""


class Application:
    """The ASGI application of one process. What a route answers goes to it at once, all else by way of Starlette."""

    def __init__(self, backend: Backend) -> None:
        routes = (*ROUTES, _described(ROUTES), *PAGES)
        self._endpoints = {(route.method, route.path): _Endpoint(route, backend) for route in routes}
        self._others = Starlette(
            routes=[
                AsgiRoute(path, endpoint, methods=[method])
                for (method, path), endpoint in self._endpoints.items()
            ],
            exception_handlers={HTTPException: partial(_unknown, backend)},
            lifespan=lambda app: _looking(backend),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = (scope["method"], scope["path"]) if scope["type"] == "http" else None
        endpoint = self._endpoints.get(asked) if asked else None
        await (endpoint or self._others)(scope, receive, send)


class _Endpoint:
    """Answers one route."""

    def __init__(self, route: Route, backend: Backend) -> None:
        self._route, self._backend = route, backend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        measurements = self._backend.measurements
        measurements.began()
        self._backend.in_flight += 1
        status = 499  # What proxies log if a client leaves before it is answered.
        query = scope["query_string"].decode("latin-1")
        request = HttpRequest(
            self._backend,
            dict(scope["headers"]),
            b"",
            ANYBODY,
            path=f"{scope['path']}?{query}" if query else scope["path"],
            query=query,
            parts=scope.get("path_params", {}),
            until_s=time.monotonic() + self._backend.settings.timeout_s,
        )
        try:
            reply = await self._reply(request, receive)
            self._audit(request, reply.status)
            headers = [
                (b"content-type", reply.media_type.encode()),
                (b"content-length", b"%d" % len(reply.body)),
            ]
            if self._backend.readiness.draining or self._is_last():
                headers.append((b"connection", b"close"))
            headers += reply.headers
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await send({"type": "http.response.body", "body": reply.body})
            status = reply.status
        except _ClientLeft:
            self._audit(request, status)
        finally:
            self._backend.in_flight -= 1
            measurements.ended(self._route.name, status, time.perf_counter() - began)

    def _is_last(self) -> bool:
        """Whether the connection ends with this answer: clients that keep theirs never meet a server that is new."""
        return random.random() * self._backend.settings.keepalive_requests < 1

    def _audit(self, request: HttpRequest, status: int) -> None:
        """Write who read what before it is sent: nothing leaves that cannot be written down."""
        if not self._route.is_open:
            self._backend.audit_log.write(request.caller, self._route.name, status, request.read)

    async def _reply(self, request: HttpRequest, receive: Receive) -> Reply:
        try:
            if self._backend.in_flight > self._backend.settings.max_requests and self._route.is_bounded:
                raise HttpProblem(
                    HTTPStatus.SERVICE_UNAVAILABLE, "there are too many requests at once", retry_after_s=1
                )
            async with asyncio.timeout(self._backend.settings.timeout_s):
                if not self._route.is_open:
                    request.caller = await self._backend.caller(request.headers, self._route.token)
                if self._route.has_body:
                    request.body = await self._body(request.headers, receive)
                return await self._route.answer(request)
        except _ClientLeft:
            raise
        except TimeoutError:
            problem = HttpProblem(
                HTTPStatus.GATEWAY_TIMEOUT,
                f"there was no whole request, or no answer, within {self._backend.settings.timeout_s:g} s",
            )
        except Exception as error:  # noqa: BLE001
            problem = http_problem(error)
            if isinstance(error, NotFound) and self._backend.authenticator.asks:
                problem.hint = ""  # It lists names, also of what the caller may not read.
            if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                _log.error(
                    "%s: %s", self._route.name, error, exc_info=error if problem.status == 500 else None
                )
        return self._route.tell(request, problem)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """The body of a request, once all of it is there.

        Raises:
            HttpProblem: it is too large.
        """
        most = self._backend.settings.max_body_bytes
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > most:
            raise _too_large(most)
        pieces: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientLeft
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > most:
                raise _too_large(most)
            more = message.get("more_body", False)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _ClientLeft(Exception):
    """Nobody waits for the answer any more."""


def _too_large(most: int) -> HttpProblem:
    return HttpProblem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is too large: wanted at most {most:,} bytes",
        hint="Ask for the entities in several requests",
    )


async def _unknown(backend: Backend, request: Request, error: Exception) -> Response:
    """A path or a method that no route has."""
    assert isinstance(error, HTTPException)
    problem = HttpProblem(
        HTTPStatus(error.status_code), "no route answers this", hint="/openapi.json has all routes"
    )
    asked = HttpRequest(backend, dict(request.scope["headers"]), b"", ANYBODY, path=request.url.path)
    tell = page_problem if b"text/html" in asked.headers.get(b"accept", b"") else problem_reply
    reply = tell(asked, problem)
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, reply.status, {**(error.headers or {}), **headers}, reply.media_type)


def _described(routes: Iterable[Route]) -> Route:
    """The route of the OpenAPI document."""

    @cache
    def document() -> bytes:
        # Once it is asked for: it takes longer to make than all else that an application begins with.
        return orjson.dumps(openapi(routes))

    async def answer(call: HttpRequest) -> Reply:
        return Reply(document())

    return Route("GET", "/openapi.json", "openapi", "This document", answer, gives={JSON: None}, is_open=True)


@contextlib.asynccontextmanager
async def _looking(backend: Backend) -> AsyncIterator[None]:
    """While the application runs, views are tried now and then."""

    async def look() -> None:
        while True:
            try:
                loaded = await backend.run(backend.readiness.look)
                backend.measurements.fresh(loaded.ages_s, loaded.ready)
            except Exception:  # noqa: BLE001 - the next look may go well
                _log.exception("the views could not be looked at")
            await asyncio.sleep(_LOOK_S if backend.readiness.last.ready else _LOOK_UNREADY_S)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        backend.close()
