"""Columns of an answer as JSON has them. Where there are many rows, numbers are written without a Python object for each."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.resources.value import ColumnType
from featurestore.views.value_column import ListColumn, NumberColumn, ValueColumn
from featurestore.views.value_status import Status

JsonColumn = Sequence[Any] | npt.NDArray[Any]
"""What orjson writes as a list."""

_STATUSES = tuple(status.name for status in Status)
_STATUS_ARRAY = np.array(_STATUSES, dtype=object)
_FLOATS = (ColumnType.FLOAT32, ColumnType.FLOAT64)
_NUMBERS = (*_FLOATS, ColumnType.INT8, ColumnType.INT16, ColumnType.INT32, ColumnType.INT64)
_FLOAT_LISTS = (ColumnType.LIST_FLOAT32, ColumnType.LIST_FLOAT64)
_PRESENT = np.uint8(Status.PRESENT)
_NOT_NUMBERS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def json_column(column: ValueColumn) -> JsonColumn:
    """The values of a column; None where there is none.

    >>> json_column(ListColumn(ColumnType.FLOAT64, [1.5, float("inf"), None], [1, 1, 3]))
    [1.5, 'Infinity', None]
    """
    if isinstance(column, ListColumn):
        return _few(column.kind, column.values)
    if isinstance(column, NumberColumn) and column.kind in _NUMBERS:
        return _numbers(column)
    return json_array(column.to_arrow())


def _numbers(column: NumberColumn) -> JsonColumn:
    """Numbers with a fixed width; of floats, orjson writes NaN as null."""
    numbers, absent = column.numbers, column.statuses != _PRESENT
    some = np.count_nonzero(absent)
    if column.kind in _FLOATS:
        numbers = numbers.astype(np.float64, copy=False)
        if some:
            numbers = np.where(absent, np.nan, numbers)
        if np.count_nonzero(np.isfinite(numbers)) != len(numbers) - some:
            return _few(column.kind, column.to_list())
        return np.ascontiguousarray(numbers)
    return column.to_list() if some else np.ascontiguousarray(numbers)


def _few(kind: ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    if kind in _FLOATS:
        return [_number(value) for value in values]
    if kind is ColumnType.TIMESTAMP:
        return _iso(values, "M8[us]")
    if kind is ColumnType.DATE:
        return _iso(values, "M8[D]")
    if kind is ColumnType.BYTES:
        return [None if value is None else base64.b64encode(value).decode() for value in values]
    if kind in _FLOAT_LISTS:
        return [None if value is None else [_number(each) for each in value] for value in values]
    return values


def json_array(column: pa.Array) -> JsonColumn:
    """The values of an Arrow array of a declared type.

    >>> json_array(pa.array([1.5, float("-inf"), None]))
    [1.5, '-Infinity', None]
    """
    kind = column.type
    if pa.types.is_floating(kind):
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)  # orjson writes NaN as null
        if column.null_count == len(numbers) - np.count_nonzero(np.isfinite(numbers)):
            return np.ascontiguousarray(numbers)
        return [_number(value) for value in column.to_pylist()]
    if pa.types.is_integer(kind) and not column.null_count:
        return np.ascontiguousarray(column.to_numpy(zero_copy_only=False))
    if pa.types.is_timestamp(kind):
        return _iso_array(column.view(pa.int64()), "M8[us]")
    if pa.types.is_date(kind):
        return _iso_array(column.view(pa.int32()), "M8[D]")
    if pa.types.is_binary(kind):
        return _few(ColumnType.BYTES, column.to_pylist())
    if pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
        return _few(ColumnType.LIST_FLOAT64, column.to_pylist())
    values: list[Any] = column.to_pylist()
    return values


def json_statuses(column: ValueColumn) -> list[str]:
    """The name of each status."""
    if isinstance(column, ListColumn):
        return [_STATUSES[code] for code in column.codes]
    names: list[str] = _STATUS_ARRAY[column.statuses].tolist()
    return names


def _number(value: float | None) -> float | str | None:
    return value if value is None or isfinite(value) else _NOT_NUMBERS[str(float(value))]


def _iso(values: Sequence[int | None], unit: str) -> list[str | None]:
    texts = _texts(np.array([value or 0 for value in values], np.int64).astype(unit))
    return [None if value is None else text for value, text in zip(values, texts, strict=True)]


def _iso_array(numbers: pa.Array, unit: str) -> list[str | None]:
    texts: list[str | None] = list(
        _texts(pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False).astype(unit))
    )
    for place in (
        np.flatnonzero(numbers.is_null().to_numpy(zero_copy_only=False)) if numbers.null_count else ()
    ):
        texts[place] = None
    return texts


def _texts(times: npt.NDArray[np.datetime64]) -> list[str]:
    """ISO 8601: days, or microseconds in UTC.

    >>> _texts(np.array([1_000_001], "M8[us]"))
    ['1970-01-01T00:00:01.000001Z']
    """
    texts: list[str] = np.datetime_as_string(times).tolist()
    return texts if times.dtype == np.dtype("M8[D]") else [f"{text}Z" for text in texts]


def json_times(columns: Mapping[str, ValueColumn]) -> dict[str, JsonColumn]:
    """Event times of each column; those of one view are written once."""
    written: dict[int, JsonColumn] = {}
    for times in columns.values():
        if id(times) not in written:
            written[id(times)] = json_column(times)
    return {name: written[id(times)] for name, times in columns.items()}
