"""Times in a request as microseconds since 1970, UTC. A time without a zone is UTC.

A column that mixes times with and without a zone is an error, not a guess.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Ints
from featurestore.errors import RequestError
from featurestore.timestamps import to_us

EVENT_TIMESTAMP = "event_timestamp"
"""The column that is taken as the time of each row where a request names none. It is Feast's name."""
_WANTED = "a timestamp, a date, or text such as '2013-01-01T05:00:00Z'"
_FRACTION = 6


def microseconds(column: pa.ChunkedArray, name: str) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Times of a column, and which of them are not null. Parts of a microsecond are cut off.

    Raises:
        RequestError: the column does not hold times, or times with and without a zone.
    """
    where = f"entities, column {name!r}"
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = _parsed(column, where)
    if pa.types.is_null(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(column.type):
        raise RequestError(
            "a column does not hold times",
            where=where,
            wanted=_WANTED,
            got=str(column.type),
            hint="Convert it, or rename it and call get_online_features() to read features as they are now",
        )
    valid = column.is_valid().to_numpy()
    if column.type.unit == "ns":
        # Rounded towards the past, so that what came later within the microsecond is not seen.
        return column.cast(pa.int64()).fill_null(0).to_numpy() // 1000, valid
    try:
        times = column.cast(pa.timestamp("us", column.type.tz))
    except pa.ArrowInvalid as error:
        raise RequestError("a time is out of range", where=where, got=str(error)) from error
    return times.cast(pa.int64()).fill_null(0).to_numpy(), valid


def request_time_column(
    table: pa.Table, event_times: Collection[str], index_times: Sequence[str] = ()
) -> str | None:
    """The column with the time of each row, where a request names none; None if the request is about now.

    A column ``event_timestamp`` is taken, as Feast does. Other columns that may be meant as the time are not
    taken in silence, and not ignored either: what is a label's time must not be read as of today.
    ``event_times``: names that the views asked for give to the time of their events. ``index_times``: levels of
    a pandas frame's index that may be meant.

    Raises:
        RequestError: there are such columns, or there is such an index.
    """
    if EVENT_TIMESTAMP in table.column_names:
        return EVENT_TIMESTAMP
    times = [name for name in table.column_names if name in event_times or _is_time(table.schema.field(name))]
    if times:
        raise RequestError(
            "this request may be about the past or about now",
            where="entities",
            wanted=f"timestamp_column={times[0]!r} to read features as they were at the time in each row, or "
            "get_online_features() to read them as they are now",
            got=f"{'columns' if len(times) > 1 else 'a column'} {', '.join(map(repr, times))} and no "
            "timestamp_column",
        )
    if index_times:
        raise RequestError(
            "this request may be about the past or about now",
            where="entities",
            wanted="a column with the time of each row to read features as they were (reset_index() makes one of the "
            "index), or get_online_features() to read them as they are now",
            got=f"an index {', '.join(map(repr, index_times))} of times",
        )
    return None


def historical_time_column(table: pa.Table) -> str:
    """The column with the time of each row: ``event_timestamp``, else the only one that holds times.

    Raises:
        RequestError: several or none do.
    """
    names: list[str] = table.column_names
    times = [name for name in names if _is_time(table.schema.field(name))]
    if EVENT_TIMESTAMP in names or not names:
        return EVENT_TIMESTAMP
    if len(times) != 1:
        raise RequestError(
            "the time of each row is not known",
            where="entities",
            wanted=f"a column {EVENT_TIMESTAMP!r}, or exactly one column of times",
            got=f"columns {names}, of times: {times}",
            hint="get_features(…, timestamp_column=NAME) takes any column",
        )
    return times[0]


def _is_time(field: pa.Field) -> bool:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def timestamp_us(value: Any, where: str) -> int:
    """Microseconds of a datetime, a date or ISO 8601 text.

    >>> timestamp_us("1970-01-01T01:00:00+01:00", "as_of")
    0

    Raises:
        RequestError: it is none of these.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise RequestError("this is not a time", where=where, wanted=_WANTED, got=repr(value)) from error
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime) or value != value:
        raise RequestError("this is not a time", where=where, wanted=_WANTED, got=repr(value))
    return to_us(value)


def from_datetimes(values: Sequence[Any], where: str) -> pa.Array:
    """Python datetimes, each in its own zone, as one column in UTC. NaT and None are null.

    Raises:
        RequestError: some have a zone and some have none, or a value is not a datetime.
    """
    times = [None if value is None or value != value else value for value in values]
    for value in times:
        if value is not None and not isinstance(value, datetime):
            raise RequestError("a column mixes types", where=where, wanted="times", got=repr(value))
    zoned = [value for value in times if value is not None and value.tzinfo is not None]
    plain = [value for value in times if value is not None and value.tzinfo is None]
    if zoned and plain:
        raise RequestError(
            "a column mixes times with and without a zone",
            where=where,
            wanted="all with a zone, or all without (which means UTC)",
            got=f"{plain[0].isoformat()} and {zoned[0].isoformat()}",
        )
    kind = pa.timestamp("us", tz="UTC" if zoned else None)
    counts = [None if value is None else to_us(value) for value in times]
    return pa.array(counts, pa.int64()).cast(kind)


def _parsed(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    words = column.cast(pa.string())
    # Digits below a microsecond are cut off, as everywhere.
    words = pc.replace_substring_regex(words, rf"(\.\d{{{_FRACTION}}})\d+", r"\1")
    zoned = pc.match_substring_regex(words, r"[T ].*([Zz]|[+-]\d\d(:?\d\d)?)$")
    kinds = pc.unique(zoned).drop_null().to_pylist()
    if len(kinds) > 1:
        raise RequestError(
            "a column mixes times with and without a zone",
            where=where,
            wanted="all with a zone, or all without (which means UTC)",
            got=f"{_first(words, pc.invert(zoned))!r} and {_first(words, zoned)!r}",
        )
    try:
        return words.cast(pa.timestamp("us", tz="UTC" if kinds == [True] else None))
    except pa.ArrowInvalid as error:
        raise RequestError("a string is not a time", where=where, wanted=_WANTED, got=str(error)) from error


def _first(words: pa.ChunkedArray, mask: pa.ChunkedArray) -> str:
    return str(words.filter(mask)[0].as_py())
