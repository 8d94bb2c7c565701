"""``/sign-in`` and ``/sign-out``: a person gives the token that programs send in each request."""

from __future__ import annotations

import re
from dataclasses import replace
from http import HTTPStatus

from featurestore.server.page.page_token import MOST_BYTES, page_token, read_form, token_cookie
from featurestore.server.page.problem_page import page_problem
from featurestore.server.problem_details import HttpProblem
from featurestore.server.route import HttpRequest, Reply, Route

_LOCAL = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
"""An address of this server."""


async def _sign_in(request: HttpRequest) -> Reply:
    fields = read_form(request)
    token, wanted = fields.get("token", "").strip(), fields.get("next", "/")
    target = wanted if _LOCAL.fullmatch(wanted) and not wanted.startswith("/sign-") else "/"
    if len(token.encode()) > MOST_BYTES:
        problem = HttpProblem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"the token is too long for a browser to keep: wanted at most {MOST_BYTES:,} bytes",
            hint="A proxy that signs people in can send it in the header Authorization",
        )
        return page_problem(request, problem)
    try:
        await request.backend.caller({}, lambda _: token)
    except HttpProblem as problem:
        return page_problem(replace(request, path=target), problem)
    return _elsewhere(request, target, token)


async def _sign_out(request: HttpRequest) -> Reply:
    read_form(request)
    return _elsewhere(request, "/", "")


def _elsewhere(request: HttpRequest, target: str, token: str) -> Reply:
    behind_tls = request.headers.get(b"x-forwarded-proto") == b"https"
    secure = request.backend.settings.tls_cert is not None or behind_tls
    headers = (
        (b"location", target.encode()),
        (b"set-cookie", token_cookie(token, secure=secure)),
        (b"cache-control", b"no-store"),
    )
    return Reply(b"", "text/plain", HTTPStatus.SEE_OTHER, headers)


def _page(path: str, name: str, summary: str, answer: object) -> Route:
    return Route(
        "POST",
        path,
        name,
        summary,
        answer,  # type: ignore[arg-type]
        is_open=True,
        is_page=True,
        takes_form=True,
        token=page_token,
        tell=page_problem,
    )


PAGES = (
    _page("/sign-in", "page_sign_in", "Give a token to the browser", _sign_in),
    _page("/sign-out", "page_sign_out", "Take it away", _sign_out),
)
