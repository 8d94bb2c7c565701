"""A route: which request it takes, and the function that answers it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel

from featurestore.server.caller import bearer_token
from featurestore.server.problem_details import PROBLEM_JSON, HttpProblem

if TYPE_CHECKING:
    from featurestore.server.audit_log import Read
    from featurestore.server.backend import Backend
    from featurestore.server.caller import Caller

JSON = "application/json"
ARROW_STREAM = "application/vnd.apache.arrow.stream"


@dataclass(slots=True)
class HttpRequest:
    """One request. ``headers``: names in lower case, as bytes. ``read``: for the audit log, once that is known.

    ``path``: with its query, as it was sent; ``parts``: of the path, what stands at the names in the route's. ``until_s``:
    the time of ``time.monotonic()`` by which it is answered.
    """

    backend: Backend
    headers: Mapping[bytes, bytes]
    body: bytes
    caller: Caller
    read: Read | None = None
    path: str = "/"
    query: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    until_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back."""

    body: bytes
    media_type: str = JSON
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


def problem_reply(request: HttpRequest, problem: HttpProblem) -> Reply:
    """The problem as programs read it."""
    content = orjson.dumps(problem.details().model_dump(exclude_none=True))
    return Reply(content, PROBLEM_JSON, problem.status, problem_headers(problem))


def problem_headers(problem: HttpProblem) -> tuple[tuple[bytes, bytes], ...]:
    """What a caller does next: when to come back, what to bring."""
    retry = () if problem.retry_after_s is None else ((b"retry-after", b"%d" % problem.retry_after_s),)
    asks = ((b"www-authenticate", b"Bearer"),) if problem.status == HTTPStatus.UNAUTHORIZED else ()
    return (*retry, *asks)


@dataclass(frozen=True, slots=True)
class Route:
    """``name`` labels it in metrics and in the OpenAPI document. ``takes``: the body of a request, as JSON; with
    ``takes_arrow`` also as an Arrow stream. ``header``: one that a request must have.

    ``gives``: media type to the model of an answer, None for what has no JSON schema. ``may_fail``: statuses of problems.
    ``is_open``: asked by everybody, and not audited. ``not_now``: a status with which an answer of the same form may come.
    ``is_page``: it is made for people. ``takes_form``: its body is a form. ``token``: of a request, from its headers.
    ``tell``: a problem, as this route's callers read it.
    """

    method: str
    path: str
    name: str
    summary: str
    answer: Callable[[HttpRequest], Awaitable[Reply]]
    takes: type[BaseModel] | None = None
    takes_arrow: bool = False
    header: str | None = None
    gives: Mapping[str, type[BaseModel] | None] = field(default_factory=dict)
    may_fail: tuple[int, ...] = ()
    not_now: int | None = None
    is_open: bool = False
    takes_form: bool = False
    token: Callable[[Mapping[bytes, bytes]], str] = bearer_token
    tell: Callable[[HttpRequest, HttpProblem], Reply] = problem_reply

    is_page: bool = False

    @property
    def has_body(self) -> bool:
        return self.takes is not None or self.takes_form

    @property
    def is_bounded(self) -> bool:
        """Whether it is refused while too many requests are being answered."""
        return self.has_body or self.is_page


def json_reply(value: Any, status: int = 200) -> Reply:
    """A value as JSON; numpy arrays are lists."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return Reply(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), status=status)
