"""Frames that a user passes (pandas, Polars, Arrow, a dict of lists, a list of dicts) as Arrow tables.

Neither pandas nor Polars is imported: a pandas frame brings its own methods, everything else that is a frame
speaks Arrow's PyCapsule interface.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.client.times import EVENT_TIMESTAMP, from_datetimes
from featurestore.errors import RequestError, did_you_mean
from featurestore.resources.value import KeyType
from featurestore.views.schema import TIMESTAMP, arrow_type

_ACCEPTED = "a pandas or Polars frame, an Arrow table, a dict of lists or a list of dicts"
_EXACT = 1 << 53


def read_frame(frame: Any) -> pa.Table:
    """The frame as an Arrow table, rows and columns in the given order.

    Raises:
        RequestError: it is not a frame, its columns differ in length or share a name, or values have no type.
    """
    if isinstance(frame, pa.Table):
        table = frame
    elif is_pandas(frame):
        if len(frame) and not len(frame.columns):
            raise RequestError(
                "the data frame has rows but no columns",
                where="entities",
                wanted="a column for each join key",
                hint="reset_index() makes columns of its index",
            )
        table = _from_columns([(str(name), frame.iloc[:, n]) for n, name in enumerate(frame.columns)])
    elif hasattr(frame, "__arrow_c_stream__"):
        table = _from_stream(frame)
    elif hasattr(frame, "__arrow_c_array__"):
        table = pa.Table.from_batches([pa.record_batch(frame)])
    elif isinstance(frame, Mapping):
        table = _from_columns([(str(name), values) for name, values in frame.items()])
    elif isinstance(frame, Sequence) and not isinstance(frame, str | bytes):
        table = _from_records(frame)
    else:
        hint = "Call .collect() first" if hasattr(frame, "collect") else ""
        hint = _ONE_COLUMN if hasattr(frame, "to_frame") else hint
        raise RequestError(
            "this is not a data frame",
            where="entities",
            wanted=_ACCEPTED,
            got=type(frame).__name__,
            hint=hint,
        )
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise RequestError("columns share a name", where="entities", got=", ".join(sorted(twice)))
    return _without_views(table)


def key_column(table: pa.Table, name: str, kind: KeyType, view: str) -> pa.ChunkedArray:
    """The join key of a frame in its declared type.

    Whole numbers are taken from any integer column, and from floats if each is whole and below 2^53: so pandas
    writes integers with a null among them. Nothing else is converted: the text "1" is not the number 1.

    Raises:
        RequestError: the column is missing or of another type, or a value does not fit.
    """
    if name not in table.column_names:
        raise RequestError(
            f"the view {view!r} needs a join key that is missing",
            where="entities",
            wanted=f"a column {name!r} of type {kind.value}",
            got=f"columns {table.column_names}",
            hint=did_you_mean(name, table.column_names),
        )
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    given, wanted = column.type, arrow_type(kind)
    if pa.types.is_null(given) or (kind is KeyType.STRING and _is_text(given)):
        return column.cast(wanted)
    if kind is not KeyType.STRING and (pa.types.is_integer(given) or pa.types.is_floating(given)):
        try:
            return _whole(column).cast(wanted)
        except pa.ArrowInvalid as error:
            raise _wrong_type(view, name, kind, str(error)) from error
    raise _wrong_type(view, name, kind, str(given))


_ONE_COLUMN = "A single column becomes a data frame by .to_frame()"


def _from_stream(frame: Any) -> pa.Table:
    try:
        return pa.table(frame)
    except pa.ArrowInvalid as error:
        raise RequestError(
            "this is not a data frame",
            where="entities",
            wanted=_ACCEPTED,
            got=f"{type(frame).__name__}: {error}",
            hint=_ONE_COLUMN,
        ) from error


def typed_if_empty(table: pa.Table, keys: Mapping[str, KeyType], timestamp_column: str | None) -> pa.Table:
    """The table; one without rows with columns of the types that rows would have had.

    A list without dicts says nothing of columns: it gets all that are asked for. A frame without rows says no
    types, or any: a column that no value could be read from becomes one of the declared type.
    """
    if table.num_rows:
        return table
    fields = {name: arrow_type(kind) for name, kind in keys.items()}
    if timestamp_column is not None:
        fields[timestamp_column] = TIMESTAMP
    if not table.column_names:
        return pa.schema(fields).empty_table()
    for name, kind in fields.items():
        if name in table.column_names and not _same_family(table.schema.field(name).type, kind):
            at = table.column_names.index(name)
            table = table.set_column(at, name, pa.array([], kind))
    return table


def _same_family(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of the one type can be read as the other: integers of any width, any text, any time."""
    given = given.value_type if pa.types.is_dictionary(given) else given
    families = (pa.types.is_integer, _is_text, pa.types.is_timestamp)
    return any(family(given) and family(wanted) for family in families)


def _wrong_type(view: str, name: str, kind: KeyType, got: str) -> RequestError:
    return RequestError(
        "a join key has the wrong type",
        where=f"entities, column {name!r} for the view {view!r}",
        wanted=kind.value,
        got=got,
        hint="Convert the column before the call",
    )


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_integer(column.type):
        return column
    numbers = column.cast(pa.float64())
    numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    if pc.any(pc.greater_equal(pc.abs(numbers), float(_EXACT))).as_py():
        raise pa.ArrowInvalid("a float above 2^53, which may be another number than was meant")
    return numbers.cast(pa.int64())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_pandas(frame: Any) -> bool:
    """Whether it is a pandas DataFrame, or of a class that is made from one."""
    classes = type(frame).__mro__
    return any(
        kind.__module__.partition(".")[0] == "pandas" and kind.__name__ == "DataFrame" for kind in classes
    )


def index_times(frame: Any, event_times: Collection[str]) -> list[str]:
    """Names of the levels of a pandas frame's index that may be meant as the time of each row.

    Those that hold times, and those called ``event_timestamp`` or as ``event_times`` has it; "" has no name.
    """
    if not is_pandas(frame):
        return []
    levels = [frame.index.get_level_values(n) for n in range(frame.index.nlevels)]
    meant = {EVENT_TIMESTAMP, *event_times}
    return [
        str(level.name or "")
        for level in levels
        if level.name in meant or getattr(level.dtype, "kind", "") == "M"
    ]


def _from_records(records: Sequence[Any]) -> pa.Table:
    for place, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise RequestError(
                "a row is not a dict", where=f"entities[{place}]", wanted=_ACCEPTED, got=type(record).__name__
            )
    names = dict.fromkeys(str(name) for record in records for name in record)
    if records and not names:
        raise RequestError("the rows are empty", where="entities", wanted="the join keys in each", got="{}")
    return _from_columns([(name, [record.get(name) for record in records]) for name in names])


def _from_columns(columns: Sequence[tuple[str, Any]]) -> pa.Table:
    arrays = [_array(name, values) for name, values in columns]
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        got = ", ".join(f"{name!r}: {len(a)}" for (name, _), a in zip(columns, arrays, strict=True))
        raise RequestError("columns differ in length", where="entities", got=got)
    return pa.Table.from_arrays(arrays, names=[name for name, _ in columns])


def _array(name: str, values: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    where = f"entities, column {name!r}"
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise RequestError("a column is not a list", where=where, wanted="a list", got=repr(values))
    # Only Python's own objects need a look at each: a column of objects may mix times with and without zones.
    objects = isinstance(values, list | tuple) or getattr(values, "dtype", None) == np.dtype(object)
    if objects and any(isinstance(value, datetime) for value in values):
        return from_datetimes(list(values), where)
    plain = isinstance(values, list | tuple)
    try:
        return pa.array(values, from_pandas=None if plain and not _is_text_with_nan(values) else True)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise RequestError("a column has no type", where=where, got=str(error)) from error


def _is_text_with_nan(values: Sequence[Any]) -> bool:
    """True for what pandas makes of missing text in lists and dicts: NaN, which among texts is not a number."""
    return any(isinstance(v, str) for v in values) and any(isinstance(v, float) and v != v for v in values)


def _without_views(table: pa.Table) -> pa.Table:
    """Strings as Polars exports them, in the form that every version of every reader knows."""
    return pa.table(
        {name: _without_view(column) for name, column in zip(table.column_names, table.columns, strict=True)}
    )


def _without_view(column: pa.ChunkedArray) -> pa.ChunkedArray:
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    kind = column.type
    if pa.types.is_dictionary(kind) and kind.value_type in plain:
        values = plain[kind.value_type]
        chunks = [
            pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(values))
            for chunk in column.chunks
        ]
        return pa.chunked_array(chunks, pa.dictionary(kind.index_type, values))
    return column.cast(plain[kind]) if kind in plain else column
