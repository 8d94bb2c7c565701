"""Columns of an answer as JSON has them. Where there are many rows, numbers are written without a Python object for each."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.views.value_status import Status

JsonColumn = list[Any] | npt.NDArray[Any]
"""What orjson writes as a list."""

_STATUS_NAMES = np.array(["INVALID", *(status.name for status in Status)], dtype=object)
_NOT_NUMBERS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def json_column(column: pa.Array | pa.ChunkedArray) -> JsonColumn:
    """The values of a column; a null is None.

    >>> json_column(pa.array([1.5, float("inf"), None]))
    [1.5, 'Infinity', None]
    """
    kind = column.type
    if pa.types.is_floating(kind):
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)  # orjson writes NaN as null
        if column.null_count == np.count_nonzero(~np.isfinite(numbers)):
            return numbers if numbers.flags.c_contiguous else np.ascontiguousarray(numbers)
        return [_json_number(value) for value in column.to_pylist()]
    if pa.types.is_integer(kind) and not column.null_count:
        return np.ascontiguousarray(column.to_numpy(zero_copy_only=False))
    if pa.types.is_temporal(kind):
        return json_times(column)
    if pa.types.is_binary(kind):
        return [None if value is None else base64.b64encode(value).decode() for value in column.to_pylist()]
    if pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
        return [
            None if value is None else [_json_number(each) for each in value] for value in column.to_pylist()
        ]
    values: list[Any] = column.to_pylist()
    return values


def json_times(column: pa.Array | pa.ChunkedArray) -> list[str | None]:
    """Dates, or times in UTC to the microsecond, as ISO 8601.

    >>> json_times(pa.array([1_000_001, None], pa.timestamp("us", "UTC")))
    ['1970-01-01T00:00:01.000001Z', None]
    """
    of_day = pa.types.is_date(column.type)
    numbers = column.cast(pa.int32() if of_day else pa.int64())
    times = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False).astype("M8[D]" if of_day else "M8[us]")
    texts = np.datetime_as_string(times) if of_day else np.char.add(np.datetime_as_string(times), "Z")
    listed: list[str | None] = texts.tolist()
    for place in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)) if column.null_count else ():
        listed[place] = None
    return listed


def json_statuses(statuses: Sequence[Status]) -> list[str]:
    """The name of each status."""
    names: list[str] = _STATUS_NAMES[np.asarray(statuses, np.uint8)].tolist()
    return names


def _json_number(value: float | None) -> float | str | None:
    return value if value is None else _NOT_NUMBERS.get(str(value), value)


def lengths(columns: Sequence[Sequence[Any]]) -> int:
    """How many entities a request is about: the longest of its columns."""
    return max((len(column) for column in columns), default=0)
