"""A route: which request it takes, and the function that answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel

if TYPE_CHECKING:
    from featurestore.server.audit_log import Read
    from featurestore.server.backend import Backend
    from featurestore.server.caller import Caller

JSON = "application/json"
ARROW_STREAM = "application/vnd.apache.arrow.stream"


@dataclass(slots=True)
class HttpRequest:
    """One request. ``headers``: names in lower case, as bytes. ``read``: for the audit log, once that is known."""

    backend: Backend
    headers: Mapping[bytes, bytes]
    body: bytes
    caller: Caller
    read: Read | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back."""

    body: bytes
    media_type: str = JSON
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """``name`` labels it in metrics and in the OpenAPI document. ``takes``: the body of a request, as JSON.

    ``gives``: media type to the model of an answer, None for what has no JSON schema. ``may_fail``: statuses of problems.
    ``is_open``: asked by everybody, and not audited. ``not_now``: a status with which an answer of the same form may come.
    """

    method: str
    path: str
    name: str
    summary: str
    answer: Callable[[HttpRequest], Awaitable[Reply]]
    takes: type[BaseModel] | None = None
    gives: Mapping[str, type[BaseModel] | None] = field(default_factory=dict)
    may_fail: tuple[int, ...] = ()
    not_now: int | None = None
    is_open: bool = False


def json_reply(value: Any, status: int = 200) -> Reply:
    """A value as JSON; numpy arrays are lists."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return Reply(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), status=status)
