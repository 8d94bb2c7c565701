"""``/assets/…``: style and script of the page. Their addresses change when they do, so that browsers keep them."""

from __future__ import annotations

import hashlib
from functools import cache
from http import HTTPStatus
from importlib.resources import files

from featurestore.server.problem_details import HttpProblem
from featurestore.server.route import HttpRequest, Reply, Route

_TYPES = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_DIGITS = 12


def address(name: str) -> str:
    """Where a browser finds it."""
    return f"/assets/{hashlib.sha256(_content(name)).hexdigest()[:_DIGITS]}/{name}"


@cache
def _content(name: str) -> bytes:
    return files("featurestore.server.page").joinpath("assets", name).read_bytes()


async def _answer(request: HttpRequest) -> Reply:
    name = request.parts["name"]
    if name not in _TYPES or request.path != address(name):
        raise HttpProblem(HTTPStatus.NOT_FOUND, "there is no such file")
    headers = (
        (b"cache-control", b"public, max-age=31536000, immutable"),
        (b"x-content-type-options", b"nosniff"),
        (b"cross-origin-resource-policy", b"same-origin"),
    )
    return Reply(_content(name), _TYPES[name], headers=headers)


PAGES = (Route("GET", "/assets/{digest}/{name}", "page_asset", "Style and script", _answer, is_open=True),)
