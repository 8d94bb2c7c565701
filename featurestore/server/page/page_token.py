"""The token of a person: in a cookie that no script and no other site can use, and that only pages look at."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qs

from featurestore.server.caller import bearer_token
from featurestore.server.problem_details import HttpProblem
from featurestore.server.route import HttpRequest

COOKIE = "featurestore-token"
MOST_BYTES = 3_500
"""Browsers keep no cookie of more than 4096 bytes."""
_MOST_FIELDS = 1_000


def page_token(headers: Mapping[bytes, bytes]) -> str:
    """The token of a request for a page: from its cookie, or as programs and proxies send it.

    Raises:
        HttpProblem: there is none (401).
    """
    if b"authorization" in headers:
        return bearer_token(headers)
    pairs = (pair.strip().partition(b"=") for pair in headers.get(b"cookie", b"").split(b";"))
    encoded = next((value for name, _, value in pairs if name == COOKIE.encode()), b"")
    try:
        token = base64.urlsafe_b64decode(encoded).decode()
    except ValueError:
        token = ""
    return token or bearer_token(headers)


def token_cookie(token: str, *, secure: bool) -> bytes:
    """The header that gives a browser the token; an empty one takes it away."""
    value = base64.urlsafe_b64encode(token.encode()).decode()
    end = "" if token else "; Max-Age=0"
    return f"{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}{end}".encode()


def read_form(request: HttpRequest) -> dict[str, str]:
    """The fields of a form that was sent from a page of ours.

    Raises:
        HttpProblem: it was sent from elsewhere (403), or it is not a form (422).
    """
    if request.headers.get(b"sec-fetch-site", b"none") not in (b"same-origin", b"none"):
        raise HttpProblem(HTTPStatus.FORBIDDEN, "this form was sent from another site")
    try:
        fields = parse_qs(
            request.body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY, "the body is not a form") from error
    return {name: values[-1] for name, values in fields.items()}
