"""``POST /get-online-features`` as Feast 0.67 speaks it: its clients read from this server unchanged."""

from __future__ import annotations

from math import isfinite
from typing import Any

from featurestore.resources.value import ColumnType
from featurestore.server.columnar import JsonColumn, json_column, json_statuses, json_times
from featurestore.server.messages import FeastAnswer, FeastRequest, read_body
from featurestore.server.route import JSON, HttpRequest, Reply, Route, json_reply
from featurestore.views.value_column import ValueColumn
from featurestore.views.value_status import Status

_NO_TIME = "1970-01-01T00:00:00Z"
"""What Feast answers for a value that has no time, and for the keys."""
_PRESENT, _NULL = Status.PRESENT.name, Status.NULL_VALUE.name


async def _answer(request: HttpRequest) -> Reply:
    asked = read_body(FeastRequest, request.body)
    features = asked.features if asked.feature_service is None else asked.feature_service
    read = await request.backend.read(
        request, features, asked.entities, full_feature_names=asked.full_feature_names
    )
    keys: list[dict[str, Any]] = [
        _result(values, [_PRESENT] * read.rows, [_NO_TIME] * read.rows) for values in asked.entities.values()
    ]
    times = {
        name: [_NO_TIME if time is None else time for time in column]
        for name, column in json_times(read.times).items()
    }
    results = [_result(*_values(column), times[name]) for name, column in read.columns.items()]
    names = [*asked.entities, *read.columns]
    return json_reply({"metadata": {"feature_names": names}, "results": [*keys, *results]})


def _result(values: JsonColumn, statuses: list[str], times: list[str]) -> dict[str, Any]:
    return {"values": values, "statuses": statuses, "event_timestamps": times}


def _values(column: ValueColumn) -> tuple[JsonColumn, list[str]]:
    """Values and statuses. Times are whole seconds since 1970, as Feast has them.

    Its JSON has no infinity, and its clients take NaN for null: those are null, and their status says so.
    """
    statuses = json_statuses(column)
    if column.kind is ColumnType.TIMESTAMP:
        numbers = column.to_numpy().astype("M8[us]").view("int64").tolist()
        pairs = zip(numbers, statuses, strict=True)
        return [us // 1_000_000 if status == _PRESENT else None for us, status in pairs], statuses
    if column.kind in (ColumnType.FLOAT32, ColumnType.FLOAT64):
        values = column.to_list()
        strange = [value is not None and not isfinite(value) for value in values]
        if any(strange):
            values = [None if odd else value for value, odd in zip(values, strange, strict=True)]
            statuses = [_NULL if odd else status for status, odd in zip(statuses, strange, strict=True)]
        return values, statuses
    return json_column(column), statuses


ROUTE = Route(
    "POST",
    "/get-online-features",
    "feast_get_online_features",
    "What Feast's clients ask",
    _answer,
    takes=FeastRequest,
    gives={JSON: FeastAnswer},
    may_fail=(401, 403, 404, 413, 422, 503, 504),
)
