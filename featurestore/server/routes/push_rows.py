"""``POST /push/<pipeline>``: rows become a file of the pipeline's source, durable before the answer."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any

import pyarrow as pa

from featurestore.server.arrow_body import read_arrow_body
from featurestore.server.audit_log import Read
from featurestore.server.messages import PushAnswer, PushRequest, read_body
from featurestore.server.problem_details import HttpProblem
from featurestore.server.route import ARROW_STREAM, JSON, HttpRequest, Reply, Route, json_reply

KEY = "Idempotency-Key"


async def _answer(request: HttpRequest) -> Reply:
    backend, pipeline = request.backend, request.parts["pipeline"]
    if not backend.settings.push:
        raise HttpProblem(
            HTTPStatus.FORBIDDEN, "this server takes no rows", hint="`featurestore serve --push`"
        )
    await backend.admit_push(request.caller, pipeline)
    key = request.headers.get(KEY.lower().encode(), b"").decode("latin-1").strip().strip('"')
    if not key:
        raise HttpProblem(
            HTTPStatus.BAD_REQUEST,
            f"the header {KEY} is missing",
            hint="Give each push a key of its own, and send it again with the same key until it is answered",
        )
    rows = await backend.run(_rows, request)
    most = backend.settings.max_entities
    if len(rows) > most:
        raise HttpProblem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"there are too many rows: wanted at most {most:,}, got {len(rows):,}",
            hint="Push them in several requests, each with a key of its own",
        )
    request.read = Read(pipelines=[pipeline], rows=len(rows))
    push = partial(backend.store.push, pipeline, rows, idempotency_key=key)
    pushed = await backend.run(push)
    return json_reply(PushAnswer(rows=pushed.rows, is_new=pushed.is_new, online=pushed.online))


def _rows(request: HttpRequest) -> pa.Table | list[dict[str, Any]]:
    if ARROW_STREAM.encode() not in request.headers.get(b"content-type", b""):
        return read_body(PushRequest, request.body).rows
    return read_arrow_body(request.body)


ROUTE = Route(
    "POST",
    "/push/{pipeline}",
    "push_rows",
    "Rows for a pipeline, taken once for each idempotency key",
    _answer,
    takes=PushRequest,
    takes_arrow=True,
    header=KEY,
    gives={JSON: PushAnswer},
    may_fail=(400, 401, 403, 404, 413, 422, 503, 504),
)
