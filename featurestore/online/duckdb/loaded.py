"""A generation in memory: where the rows of each entity are, and its columns as what a read takes from fastest."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurestore.arrays import Flags, Ints
from featurestore.online.answer import answer
from featurestore.online.duckdb.generations import Generation
from featurestore.online.duckdb.key_table import KeyBuckets, KeyTable
from featurestore.online.entities import Stored
from featurestore.online.layout import EVENT_US, ROWS
from featurestore.online.reading import (
    UNKNOWN,
    FewRow,
    Keys,
    OnlineQuery,
    OnlineValues,
    array_values,
    few_values,
    number_times,
)
from featurestore.resources.outputs import Output
from featurestore.views.schema import TIMESTAMP, arrow_type
from featurestore.views.value_column import ArrowColumn, NumberColumn, ValueColumn, absent_places
from featurestore.views.value_status import Status

_ASKED = 256
"""So many lists of columns are looked up once: callers may make up as many as they like."""
_FEW = 12
"""Up to so many entities, one at a time is faster than arrays."""
PRESENT, NULL_VALUE, NOT_FOUND, OUTSIDE = (
    int(Status.PRESENT),
    int(Status.NULL_VALUE),
    int(Status.NOT_FOUND),
    int(Status.OUTSIDE_MAX_AGE),
)


class _Column(NamedTuple):
    """``one[row]`` gives Python's object. ``numbers``: None for what has no fixed width."""

    one: Any
    is_null: Any
    numbers: npt.NDArray[Any] | None
    null: Flags | None
    values: pa.Array


class _LoadedEntity:
    """See :class:`featurestore.online.entity_windows.KeptEntity`."""

    def __init__(self, generation: LoadedGeneration, place: int) -> None:
        self._generation, self._place = generation, place
        self._spans: dict[int, tuple[int, int]] = {}

    @property
    def published_us(self) -> int:
        return self._generation.published_us(self._place)

    def column(self, section: int, name: str) -> Sequence[Any]:
        span = self._spans.get(section)
        if span is None:
            span = self._spans[section] = self._generation.span(section, self._place)
        return self._generation.rows(section, name, *span)


class LoadedGeneration:
    """Never changes, so that any number of threads read it, and processes that are forked after it was loaded."""

    def __init__(self, generation: Generation, stored: Stored, buckets: KeyBuckets | None = None) -> None:
        self.generation, self.stored = generation, stored
        self._keys = KeyTable(stored.keys, buckets)
        rows = stored.sections[ROWS]
        count = len(stored)
        starts = np.searchsorted(rows.entity, np.arange(count + 1, dtype=np.int32)).astype(np.int32)
        self._starts, self._time_us = starts, rows.integers(EVENT_US)
        self._published_us = np.ascontiguousarray(stored.published_us)
        self._one = memoryview(starts), memoryview(self._time_us), memoryview(self._published_us)  # type: ignore[arg-type]
        self._columns: dict[tuple[int, str], _Column] = {}
        self._asked: dict[tuple[str, ...], list[_Column]] = {}

    @property
    def buckets(self) -> KeyBuckets:
        """Where its keys are found."""
        return self._keys.buckets

    def renamed(self, generation: Generation) -> LoadedGeneration:
        """The same values as another generation."""
        renamed = copy(self)
        renamed.generation = generation
        return renamed

    def read(self, query: OnlineQuery, keys: Keys, now_us: int) -> OnlineValues:
        """What the view answers."""
        version = self.generation.version
        if query.has_windows:
            if len(keys) <= _FEW:
                return few_values(query, self._few_windows(query, keys, now_us), version)
            return self._windows(query, keys, now_us)
        columns = self._columns_of(query)
        if len(keys) <= _FEW:
            ttl_us = query.ttl_us
            places = map(self._place, keys)
            return few_values(query, [self._few(columns, place, now_us, ttl_us) for place in places], version)
        return self._many(query, columns, keys, now_us)

    def _columns_of(self, query: OnlineQuery) -> list[_Column]:
        columns = self._asked.get(query.columns)
        if columns is None:
            if len(self._asked) == _ASKED:
                self._asked.clear()
            columns = self._asked[query.columns] = [self._column(ROWS, name) for name in query.columns]
        return columns

    def _place(self, key: bytes | None) -> int:
        return -1 if key is None else self._keys.find(key)

    def _few_windows(self, query: OnlineQuery, keys: Keys, now_us: int) -> list[FewRow]:
        columns = self._columns_of(query.plain)
        return [
            query.with_windows(
                self._few(columns, place, now_us, query.ttl_us), _LoadedEntity(self, place), now_us
            )
            for place in map(self._place, keys)
        ]

    def published_us(self, place: int) -> int:
        """When an entity was last published."""
        return int(self._one[2][place])

    def span(self, section: int, place: int) -> tuple[int, int]:
        """The rows ``[low, high)`` that an entity has in a section."""
        # Of the entities' own type, or all of them would be converted.
        ends = np.array([place, place + 1], np.int32)
        low, high = self.stored.sections[section].entity.searchsorted(ends).tolist()
        return low, high

    def rows(self, section: int, name: str, low: int, high: int) -> Sequence[Any]:
        """A column of some rows of a section: Python's objects, times as numbers."""
        column = self._column(section, name)
        one, is_null = column.one, column.is_null
        if is_null is not None:
            return [None if is_null[row] else one[row] for row in range(low, high)]
        if column.numbers is None:
            return [one[row] for row in range(low, high)]
        numbers: list[Any] = one[low:high].tolist()
        return numbers

    def _few(self, columns: list[_Column], place: int, now_us: int, ttl_us: int | None) -> FewRow:
        if place < 0:
            return UNKNOWN
        starts, times, published = self._one
        at_us = max(published[place], now_us)
        low, row = starts[place], starts[place + 1] - 1
        while row >= low and times[row] > at_us:
            row -= 1
        if row < low:
            return UNKNOWN
        time_us: int = times[row]
        if ttl_us is not None and at_us - time_us > ttl_us:
            return OUTSIDE, time_us, None
        return (
            PRESENT,
            time_us,
            [
                None if column.is_null is not None and column.is_null[row] else column.one[row]
                for column in columns
            ],
        )

    def _many(self, query: OnlineQuery, columns: list[_Column], keys: Keys, now_us: int) -> OnlineValues:
        place = self._places(keys)
        known = place >= 0
        if not known.all():
            place = np.where(known, place, 0)
        version = self.generation.version
        if not len(self._time_us):
            unknown = np.full(len(keys), NOT_FOUND, np.uint8)
            nothing = {output.name: _nothing(output, unknown) for output in query.outputs}
            return OnlineValues(
                nothing, number_times(np.zeros(len(keys), np.int64), unknown, unknown != PRESENT), version
            )
        at_us = np.maximum(self._published_us[place], now_us)
        row = self._starts[place + 1].astype(np.intp) - 1  # what is taken by other numbers takes longer
        time_us = self._time_us[row]
        later = np.flatnonzero(time_us > at_us)
        while len(later):
            before = row[later] > self._starts[place[later]]
            known[later[~before]] = False
            later = later[before]
            row[later] -= 1
            time_us[later] = self._time_us[row[later]]
            later = later[time_us[later] > at_us[later]]
        statuses = np.full(len(keys), PRESENT, np.uint8)
        if query.ttl_us is not None:
            statuses[at_us - time_us > query.ttl_us] = OUTSIDE
        statuses[~known] = NOT_FOUND
        absent = absent_places(statuses)
        values = {
            output.name: _taken(output, column, row, statuses, absent)
            for output, column in zip(query.outputs, columns, strict=True)
        }
        return OnlineValues(values, number_times(time_us, statuses, absent), version)

    def _windows(self, query: OnlineQuery, keys: Keys, now_us: int) -> OnlineValues:
        place = self._places(keys)
        known = np.flatnonzero(place >= 0)
        stored = self.stored.take(place[known], query.form.needed(query.outputs))
        here = np.full(len(place), -1, np.int64)
        here[known] = np.arange(len(known))
        return array_values(query, answer(query, stored, here, now_us), self.generation.version)

    def _places(self, keys: Keys) -> Ints:
        asked = [key for key in keys if key is not None]
        if len(asked) == len(keys):
            return self._keys.find_many(asked)
        place = np.full(len(keys), -1, np.int64)
        place[[n for n, key in enumerate(keys) if key is not None]] = self._keys.find_many(asked)
        return place

    def _column(self, section: int, name: str) -> _Column:
        known = self._columns.get((section, name))
        if known is None:
            values = self.stored.sections[section].rows.column(name)
            known = self._columns[section, name] = _column(values)
        return known


def _taken(
    output: Output, column: _Column, row: npt.NDArray[np.intp], statuses: Any, absent: Flags | None
) -> ValueColumn:
    if column.null is not None:
        null = column.null[row] & (statuses == PRESENT)
        statuses = np.where(null, np.uint8(NULL_VALUE), statuses)
        absent = absent_places(statuses)
    if column.numbers is not None:
        return NumberColumn(output.type, column.numbers[row], statuses, absent)
    values = column.values.take(pa.array(row, mask=statuses != PRESENT))
    return ArrowColumn(output.type, values, statuses)


def _nothing(output: Output, statuses: Any) -> ValueColumn:
    return ArrowColumn(output.type, pa.nulls(len(statuses), arrow_type(output.type)), statuses)


def _column(values: pa.Array) -> _Column:
    null = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    is_null = None if null is None else memoryview(null)
    kind = values.type
    if pa.types.is_primitive(kind):
        numbers = _numbers(values)
        return _Column(memoryview(numbers), is_null, numbers, null, values)  # type: ignore[arg-type]
    one: Any = _Lists(values) if pa.types.is_list(kind) else _Texts(values)
    return _Column(one, is_null, None, null, values)


def _numbers(values: pa.Array) -> npt.NDArray[Any]:
    if pa.types.is_boolean(values.type):
        flags: npt.NDArray[Any] = values.fill_null(False).to_numpy(zero_copy_only=False)
        return np.ascontiguousarray(flags)
    kind = {pa.date32(): pa.int32(), TIMESTAMP: pa.int64()}.get(values.type, values.type)
    dtype = np.dtype(kind.to_pandas_dtype())
    # What stands where a value is null does not matter: it is not looked at.
    return np.frombuffer(values.buffers()[1] or b"", dtype)[values.offset : values.offset + len(values)]


class _Texts:
    """Strings or bytes, one at a time."""

    def __init__(self, values: pa.Array) -> None:
        _, offsets, data = values.buffers()
        self._offsets = memoryview(np.frombuffer(offsets or bytes(4), np.int32)[values.offset :])  # type: ignore[arg-type]
        self._data = memoryview(data if data is not None else b"")
        self._make: Any = _text if pa.types.is_string(values.type) else bytes

    def __getitem__(self, row: int) -> Any:
        return self._make(self._data[self._offsets[row] : self._offsets[row + 1]])


def _text(data: memoryview) -> str:
    return str(data, "utf-8")


class _Lists:
    """Lists, one at a time."""

    def __init__(self, values: pa.Array) -> None:
        self._values = values

    def __getitem__(self, row: int) -> Any:
        return self._values[row].as_py()
