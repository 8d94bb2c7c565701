"""The values of one served column with their statuses: Python's objects for few rows, arrays for many.

A value whose status is not ``PRESENT`` is null, in every form:

=============  ====================  ==========================================
``to_list``    ``to_arrow``          ``to_numpy``
=============  ====================  ==========================================
``None``       null                  NaN among floats, NaT among times, ``None`` among objects; a masked array of
                                     other types if a value is null
=============  ====================  ==========================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurestore.arrays import Flags, Statuses
from featurestore.resources.outputs import Output
from featurestore.resources.value import ColumnType
from featurestore.timestamps import EPOCH
from featurestore.views.feature_query import FeatureValues
from featurestore.views.schema import arrow_type
from featurestore.views.value_status import Status

_PRESENT = np.uint8(Status.PRESENT)
_DAY_ONE = date(1970, 1, 1)


def _timestamp(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def _date(days: int) -> date:
    return _DAY_ONE + timedelta(days)


_UNITS = {ColumnType.TIMESTAMP: "datetime64[us]", ColumnType.DATE: "datetime64[D]"}
_NUMBERS = {
    ColumnType.BOOL: np.dtype(np.bool_),
    ColumnType.INT8: np.dtype(np.int8),
    ColumnType.INT16: np.dtype(np.int16),
    ColumnType.INT32: np.dtype(np.int32),
    ColumnType.INT64: np.dtype(np.int64),
    ColumnType.FLOAT32: np.dtype(np.float32),
    ColumnType.FLOAT64: np.dtype(np.float64),
    ColumnType.DATE: np.dtype(np.int32),
    ColumnType.TIMESTAMP: np.dtype(np.int64),
}


class ValueColumn(Protocol):
    """Values of one declared type and their statuses, one per requested entity."""

    @property
    def kind(self) -> ColumnType: ...

    @property
    def statuses(self) -> Statuses: ...

    def to_list(self) -> list[Any]:
        """Python's objects."""
        ...

    def to_numpy(self) -> npt.NDArray[Any]:
        """One array."""
        ...

    def to_arrow(self) -> pa.Array:
        """Of the declared type."""
        ...


# None of these is frozen: making one takes a third of the time, and a read of one entity makes ten.
@dataclass(slots=True)
class ListColumn:
    """Few values. ``values``: None for null; times are numbers, as they are stored. ``codes``: statuses."""

    kind: ColumnType
    values: Sequence[Any]
    codes: Sequence[int]

    @property
    def statuses(self) -> Statuses:
        return np.array(self.codes, np.uint8)

    def to_list(self) -> list[Any]:
        kind = self.kind
        # Not by a table: members of an enum are slow to hash.
        if kind is not ColumnType.TIMESTAMP and kind is not ColumnType.DATE:
            return list(self.values)
        make = _timestamp if kind is ColumnType.TIMESTAMP else _date
        return [None if value is None else make(value) for value in self.values]

    def to_numpy(self) -> npt.NDArray[Any]:
        if self.kind not in _NUMBERS:
            return _objects(self.values)
        null = np.array([value is None for value in self.values]) if None in self.values else None
        numbers = [0 if value is None else value for value in self.values]
        return _shown(self.kind, np.array(numbers, _NUMBERS[self.kind]), null)

    def to_arrow(self) -> pa.Array:
        if self.kind in _UNITS:
            return pa.array(self.values, pa.from_numpy_dtype(_NUMBERS[self.kind])).view(arrow_type(self.kind))
        return pa.array(self.values, arrow_type(self.kind))


@dataclass(slots=True)
class NumberColumn:
    """Many values of a type with a fixed width. ``numbers``: as stored, anything where the value is null.

    ``absent``: where it is; None if nowhere.
    """

    kind: ColumnType
    numbers: npt.NDArray[Any]
    statuses: Statuses
    absent: Flags | None

    def to_list(self) -> list[Any]:
        values = self.numbers.tolist()
        if self.absent is not None:
            for place in np.flatnonzero(self.absent).tolist():
                values[place] = None
        return ListColumn(self.kind, values, ()).to_list() if self.kind in _UNITS else values

    def to_numpy(self) -> npt.NDArray[Any]:
        return _shown(self.kind, self.numbers, self.absent)

    def to_arrow(self) -> pa.Array:
        array = pa.array(self.numbers, mask=self.absent)
        return array.view(arrow_type(self.kind)) if self.kind in _UNITS else array


@dataclass(slots=True)
class ArrowColumn:
    """Many values of any type."""

    kind: ColumnType
    values: pa.Array
    statuses: Statuses

    def to_list(self) -> list[Any]:
        if self.kind is ColumnType.TIMESTAMP:
            return ListColumn(self.kind, self.values.view(pa.int64()).to_pylist(), ()).to_list()
        listed: list[Any] = self.values.to_pylist()
        return listed

    def to_numpy(self) -> npt.NDArray[Any]:
        if self.kind not in _NUMBERS:
            return _objects(self.values.to_pylist())
        dtype = _NUMBERS[self.kind]
        values = self.values.view(pa.from_numpy_dtype(dtype)) if self.kind in _UNITS else self.values
        if values.null_count:
            values = values.fill_null(False if self.kind is ColumnType.BOOL else 0)
        null = self.values.is_null().to_numpy(zero_copy_only=False) if self.values.null_count else None
        return _shown(self.kind, values.to_numpy(zero_copy_only=False), null)

    def to_arrow(self) -> pa.Array:
        return self.values


def arrow_columns(outputs: Iterable[Output], values: FeatureValues) -> dict[str, ValueColumn]:
    """The values of a view's outputs, by name."""
    return {
        output.name: ArrowColumn(output.type, values.columns[output.name], values.statuses[output.name])
        for output in outputs
    }


def event_time_column(values: FeatureValues) -> ValueColumn:
    """The event times of a view's values."""
    known = values.event_times.is_valid().to_numpy(zero_copy_only=False)
    statuses = np.where(known, np.uint8(Status.PRESENT), np.uint8(Status.NOT_FOUND))
    return ArrowColumn(ColumnType.TIMESTAMP, values.event_times, statuses)


def _objects(values: Sequence[Any]) -> npt.NDArray[Any]:
    """One object per value, also of values that are lists themselves."""
    array = np.empty(len(values), object)
    for place, value in enumerate(values):
        array[place] = value
    return array


def absent_places(statuses: Statuses) -> Flags | None:
    """Where a value is null by its status; None if nowhere."""
    absent: Flags = statuses != _PRESENT
    return absent if absent.any() else None


def _shown(kind: ColumnType, numbers: npt.NDArray[Any], null: Flags | None) -> npt.NDArray[Any]:
    if kind in _UNITS:
        times = numbers.astype(_UNITS[kind])
        if null is not None:
            times[null] = np.datetime64("NaT")
        return times
    if null is None:
        return numbers
    if numbers.dtype.kind == "f":
        shown = numbers.copy()
        shown[null] = np.nan
        return shown
    masked: npt.NDArray[Any] = np.ma.masked_array(numbers, null)
    return masked
