"""``POST /v1/features``: features of some entities, as columns of JSON or as an Arrow stream."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa

from featurestore.client.answers import Answer
from featurestore.client.features import EVENT_TIME_SUFFIX
from featurestore.errors import RequestError
from featurestore.server.columnar import json_column, json_statuses, json_times
from featurestore.server.messages import FeaturesAnswer, FeaturesRequest, read_body
from featurestore.server.route import ARROW_STREAM, JSON, HttpRequest, Reply, Route, json_reply

STATUS_SUFFIX = "__status"


async def _answer(request: HttpRequest) -> Reply:
    asked = read_body(FeaturesRequest, request.body)
    read = await request.backend.read(
        request, asked.features, asked.entities, full_feature_names=asked.full_feature_names
    )
    if ARROW_STREAM.encode() in request.headers.get(b"accept", b""):
        return Reply(_stream(asked, read), ARROW_STREAM)
    answer: dict[str, Any] = {
        "rows": read.rows,
        "features": {name: json_column(column) for name, column in read.columns.items()},
    }
    if asked.statuses:
        answer["statuses"] = {name: json_statuses(column) for name, column in read.columns.items()}
    if asked.event_timestamps:
        answer["event_timestamps"] = json_times(read.times)
    answer["commits"] = read.commits
    return json_reply(answer)


def _stream(asked: FeaturesRequest, read: Answer) -> bytes:
    """The columns, each followed by ``<feature>__status`` and ``<feature>__ts`` if they were asked for.

    Raises:
        RequestError: one of these would have the name of another feature.
    """
    columns: dict[str, pa.Array] = {}
    for name, column in read.columns.items():
        more = {name: column.to_arrow()}
        if asked.statuses:
            more[name + STATUS_SUFFIX] = pa.array(json_statuses(column), pa.string())
        if asked.event_timestamps:
            more[name + EVENT_TIME_SUFFIX] = read.times[name].to_arrow()
        if twice := more.keys() & columns.keys():
            raise RequestError(
                f"two columns would have the name {min(twice)!r}",
                where="features",
                hint="Ask for one of the features in another request, or for JSON, which has statuses and times apart",
            )
        columns |= more
    table = pa.table(columns).replace_schema_metadata({"commits": orjson.dumps(read.commits)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


ROUTE = Route(
    "POST",
    "/v1/features",
    "read_features",
    "Features of some entities, as of now",
    _answer,
    takes=FeaturesRequest,
    gives={JSON: FeaturesAnswer, ARROW_STREAM: None},
    may_fail=(401, 403, 404, 413, 422, 503, 504),
)
