"""Rows that are pushed, checked against the schema of their pipeline, as Arrow.

Whatever does not fit is refused as a whole, and each value of it is named: nothing is rounded, cut or guessed. Only a
``float32`` rounds, as its declaration says.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from featurestore.errors import RequestError
from featurestore.humanize import count
from featurestore.resources.data_pipeline import PushedColumn
from featurestore.resources.value import ColumnType
from featurestore.views.schema import arrow_type

MOST_ERRORS = 100
"""Values that are named; there may be more."""
_BITS = {ColumnType.INT8: 8, ColumnType.INT16: 16, ColumnType.INT32: 32, ColumnType.INT64: 64}
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True)
class RowError:
    """``row``: from 0; None if it is about the column as a whole. ``field``: its name; empty if it is about the row."""

    row: int | None
    field: str
    problem: str


class RowsRefused(RequestError):
    """Rows that do not have the schema of their pipeline. ``errors``: which, the first :data:`MOST_ERRORS` of them."""

    def __init__(self, pipeline: str, errors: Sequence[RowError]) -> None:
        self.errors = tuple(errors[:MOST_ERRORS])
        first = self.errors[0]
        at = ", ".join(
            text
            for text in (
                f"row {first.row}" if first.row is not None else "",
                repr(first.field) if first.field else "",
            )
            if text
        )
        super().__init__(
            f"the rows do not have the schema of the pipeline: {first.problem}",
            where=f"push to {pipeline!r}" + (f", {at}" if at else ""),
            got=f"{count(len(errors), 'error')}" + (" at least" if len(errors) > MOST_ERRORS else ""),
            hint="`featurestore describe pipeline` shows spec.source.push.schema",
        )


def checked_rows(
    pipeline: str, schema: Sequence[PushedColumn], rows: pa.Table | Sequence[Mapping[str, Any]]
) -> pa.Table:
    """``table[<the schema's columns, in its order>]``; a field that a row lacks is null.

    Raises:
        RowsRefused: a field is not known, or a value does not fit its type.
        RequestError: there are no rows.
    """
    if len(rows) == 0:
        raise RequestError("there are no rows", where=f"push to {pipeline!r}")
    errors = list(_unknown(schema, rows))
    columns = {}
    for column in schema:
        if isinstance(rows, pa.Table):
            columns[column.name] = _of_table(column, rows, errors)
        else:
            columns[column.name] = _of_values(column, [row.get(column.name) for row in rows], errors)
        if len(errors) > MOST_ERRORS:
            break
    if errors:
        raise RowsRefused(pipeline, errors)
    return pa.table(columns)


def _unknown(
    schema: Sequence[PushedColumn], rows: pa.Table | Sequence[Mapping[str, Any]]
) -> Iterator[RowError]:
    known = {column.name for column in schema}
    if isinstance(rows, pa.Table):
        for name in dict.fromkeys(rows.column_names):
            if name not in known:
                yield RowError(None, name, "the schema has no such field")
            elif rows.column_names.count(name) > 1:
                yield RowError(None, name, "there are several columns of this name")
        return
    for number, row in enumerate(rows):
        for name in row:
            if name not in known:
                yield RowError(number, str(name), "the schema has no such field")


def _of_table(column: PushedColumn, table: pa.Table, errors: list[RowError]) -> pa.Array:
    kind = arrow_type(column.type)
    if table.column_names.count(column.name) != 1:
        return pa.nulls(table.num_rows, kind)
    values = table[column.name].combine_chunks()
    if values.type == kind:
        return values
    if pa.types.is_timestamp(values.type) and column.type is ColumnType.TIMESTAMP:
        try:
            # A time without a zone is UTC. What is finer than a microsecond is refused.
            return values.cast(pa.timestamp(values.type.unit, "UTC")).cast(kind)
        except pa.ArrowInvalid as error:
            errors.append(RowError(None, column.name, str(error)))
            return pa.nulls(table.num_rows, kind)
    return _of_values(column, values.to_pylist(), errors)


def _of_values(column: PushedColumn, values: Sequence[Any], errors: list[RowError]) -> pa.Array:
    read = _READERS[column.type]
    converted = []
    for number, value in enumerate(values):
        try:
            converted.append(None if value is None else read(_python(value)))
        except (ValueError, TypeError, OverflowError):
            errors.append(RowError(number, column.name, f"wanted {column.type.value}, got {_shown(value)}"))
            if len(errors) > MOST_ERRORS:
                break
    kind = arrow_type(column.type)
    return pa.nulls(len(values), kind) if errors else pa.array(converted, kind)


def _python(value: Any) -> Any:
    """The value, without the wrapping of numpy: a number or truth value as Python's."""
    is_plain = isinstance(value, np.number | np.bool_) and not isinstance(value, np.timedelta64)
    return value.item() if is_plain else value


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text}" if len(text) <= 80 else f"{type(value).__name__} {text[:80]}…"


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    value.encode()
    return value


def _bytes(value: Any) -> bytes:
    """Bytes, or base64 of them."""
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(_string(value), validate=True)
    except binascii.Error as error:
        raise ValueError from error


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _integer(bits: int) -> Callable[[Any], int]:
    least, most = -(1 << bits - 1), (1 << bits - 1) - 1

    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise TypeError
        return value

    return read


def _float(value: Any) -> float:
    """A number that a float64 gives back, or one that JSON has no number for."""
    if type(value) is float:
        return value
    if type(value) is int and int(float(value)) == value:
        return float(value)
    if type(value) is str and value in _NUMBERS:
        return _NUMBERS[value]
    raise TypeError


def _float32(value: Any) -> float:
    number = _float(value)
    if math.isfinite(number) and abs(number) > 3.4028235677973366e38:
        raise OverflowError
    return number


def _date(value: Any) -> date:
    if type(value) is date:
        return value
    text = _string(value)
    parsed = date.fromisoformat(text)
    if parsed.isoformat() != text:
        raise ValueError
    return parsed


def _timestamp(value: Any) -> datetime:
    """A time, or ISO 8601; UTC if it has no zone."""
    if isinstance(value, datetime):
        if getattr(value, "nanosecond", 0):  # pandas has finer times, which would be cut.
            raise ValueError
        parsed = value
    else:
        text = _string(value)
        if not _TIME.fullmatch(text):
            raise ValueError
        parsed = datetime.fromisoformat(text)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _list(read: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    def read_all(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise TypeError
        return [None if item is None else read(item) for item in value]

    return read_all


_READERS: dict[ColumnType, Callable[[Any], Any]] = {
    ColumnType.STRING: _string,
    ColumnType.BYTES: _bytes,
    ColumnType.BOOL: _bool,
    **{kind: _integer(bits) for kind, bits in _BITS.items()},
    ColumnType.FLOAT32: _float32,
    ColumnType.FLOAT64: _float,
    ColumnType.DATE: _date,
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.LIST_STRING: _list(_string),
    ColumnType.LIST_INT64: _list(_integer(64)),
    ColumnType.LIST_FLOAT32: _list(_float32),
    ColumnType.LIST_FLOAT64: _list(_float),
}
