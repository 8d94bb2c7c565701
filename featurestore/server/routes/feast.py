"""``POST /get-online-features`` as Feast 0.67 speaks it: its clients read from this server unchanged."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import numpy as np
import pyarrow as pa

from featurestore.errors import RequestError
from featurestore.server.columnar import JsonColumn, json_column, json_statuses, json_times
from featurestore.server.messages import FeastAnswer, FeastRequest, read_body
from featurestore.server.problem_details import HttpProblem
from featurestore.server.route import JSON, HttpRequest, Reply, Route, json_reply
from featurestore.views.value_status import Status

_NO_TIME = "1970-01-01T00:00:00Z"
"""What Feast answers for a value that has no time, and for the keys."""


async def _answer(call: HttpRequest) -> Reply:
    asked = read_body(FeastRequest, call.body)
    if asked.feature_service is not None:
        raise HttpProblem(
            HTTPStatus.NOT_FOUND,
            f"there is no feature service {asked.feature_service!r}",
            hint="Name the features",
        )
    if not asked.features:
        raise RequestError("no features were requested", where="features", wanted="at least one view:feature")
    found = await call.backend.read(
        asked.features, asked.entities, full_feature_names=asked.full_feature_names
    )
    results: list[dict[str, Any]] = [
        {
            "values": values,
            "statuses": [Status.PRESENT.name] * found.rows,
            "event_timestamps": [_NO_TIME] * found.rows,
        }
        for values in asked.entities.values()
    ]
    for name, column in found.columns.items():
        values, statuses = _values(column), json_statuses(found.statuses[name])
        times = [_NO_TIME if time is None else time for time in json_times(found.times[name])]
        if pa.types.is_floating(column.type):
            # Feast's JSON has no infinity, and its clients take NaN for null.
            statuses = [
                Status.NULL_VALUE.name if status == Status.PRESENT.name and value != value else status
                for status, value in zip(statuses, values, strict=True)
            ]
        results.append({"values": values, "statuses": statuses, "event_timestamps": times})
    names = [*asked.entities, *found.columns]
    return json_reply({"metadata": {"feature_names": names}, "results": results})


def _values(column: pa.ChunkedArray) -> JsonColumn:
    """Times are whole seconds since 1970, as Feast has them; of floats, what is not finite is NaN, which is written as null."""
    if pa.types.is_timestamp(column.type):
        return [None if us is None else us // 1_000_000 for us in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_floating(column.type):
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return np.ascontiguousarray(np.where(np.isfinite(numbers), numbers, np.nan))
    return json_column(column)


ROUTE = Route(
    "POST",
    "/get-online-features",
    "feast_get_online_features",
    "What Feast's clients ask",
    _answer,
    takes=FeastRequest,
    gives={JSON: FeastAnswer},
    may_fail=(404, 413, 422, 503, 504),
)
