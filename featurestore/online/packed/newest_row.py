"""The newest row of packed values without Arrow: one value at a time for few, all at once for many.

Both are for outputs that are read and not computed: of a value only its header and its section of rows is looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from featurestore.arrays import Flags
from featurestore.online.layout import EVENT_US, ROWS
from featurestore.online.packed.packing import COUNTED, HAS_NULLS, HEAD, HEAD_BITS, Packing
from featurestore.online.packed.row_identity import SIZES
from featurestore.online.reading import UNKNOWN, FewRow, OnlineQuery, OnlineValues, number_times
from featurestore.online.versions import PACKED_LAYOUT
from featurestore.resources.value import ColumnType
from featurestore.views.value_column import NumberColumn, ValueColumn, absent_places
from featurestore.views.value_status import Status

PRESENT, NULL_VALUE, NOT_FOUND, OUTSIDE = (
    int(Status.PRESENT),
    int(Status.NULL_VALUE),
    int(Status.NOT_FOUND),
    int(Status.OUTSIDE_MAX_AGE),
)
_HOLED = 1 << 31
_SIZES: list[int] = SIZES.tolist()
_HEAD, _COUNT = struct.Struct("<q"), struct.Struct("<I")
_CODES = {"u1": "B", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u4": "I", "f4": "f", "f8": "d"}

_Value = Callable[[tuple[Any, ...], Sequence[bytes]], Any]


class NewestRow:
    """Reads the newest row of one view's packed values."""

    def __init__(self, query: OnlineQuery, packing: Packing) -> None:
        self._query, self._ttl_us = query, query.ttl_us
        section = packing.rows
        self._record = struct.Struct(_format(section.record))
        self._one = struct.Struct("<q" + _format(section.record)[1:])
        self._counts_size = packing.counts.itemsize
        self._nulls_size = section.nulls_size
        self._names = list(section.record.names or ())
        kinds = [section.schema.field(name).type for name in self._names]
        self._heap = [(place, kind) for place, kind in enumerate(kinds) if not _is_number(kind)]
        self._columns = [self._names.index(output.column) for output in query.outputs]
        self._bits = [section.nullable.index(output.column) for output in query.outputs]
        self._bools = [output.type is ColumnType.BOOL for output in query.outputs]
        self._places_in_one = None if self._heap or any(self._bools) else [1 + at for at in self._columns]
        self.is_flat = all(_is_number(section.schema.field(output.column).type) for output in query.outputs)
        """Whether all that is asked has a fixed width."""
        self._flat = np.dtype([("head", HEAD), ("row", section.record)])
        self._counted = np.dtype([("head", HEAD), ("counts", packing.counts), ("row", section.record)])

    def few(self, value: bytes, now_us: int) -> FewRow:
        """The newest row of one value, which is sound."""
        if value[0] == PACKED_LAYOUT and self._places_in_one is not None:
            # One row, of numbers that are not null.
            one = self._one.unpack_from(value)
            published_us, time_us = one[0] >> HEAD_BITS, one[1]
            at_us = published_us if published_us > now_us else now_us
            if time_us > at_us:
                return UNKNOWN
            if self._ttl_us is not None and at_us - time_us > self._ttl_us:
                return OUTSIDE, time_us, None
            return PRESENT, time_us, [one[place] for place in self._places_in_one]
        head, records, end = self._records(value)
        at_us = max(head >> HEAD_BITS, now_us)
        for place in reversed(range(len(records))):
            time_us = records[place][0]
            if time_us <= at_us:
                break
        else:
            return UNKNOWN
        if self._ttl_us is not None and at_us - time_us > self._ttl_us:
            return OUTSIDE, time_us, None
        null = bytes(self._nulls_size)
        if head & HAS_NULLS:
            low = end + place * self._nulls_size
            null = value[low : low + self._nulls_size]
            end += len(records) * self._nulls_size
        heap = self._from_heap(value, end, records, place)[0] if self._heap else {}
        return PRESENT, time_us, self._values(records[place], null, heap)

    def end(self, value: bytes) -> int:
        """Where the rows of one value end."""
        head, records, end = self._records(value)
        if head & HAS_NULLS:
            end += len(records) * self._nulls_size
        return self._from_heap(value, end, records, 0)[1] if records else end

    def _records(self, value: bytes) -> tuple[int, list[tuple[Any, ...]], int]:
        """The head, the records of all rows, and where those end."""
        (head,) = _HEAD.unpack_from(value)
        count, start, size = 1, _HEAD.size, self._record.size
        if head & COUNTED:
            (count,) = _COUNT.unpack_from(value, start)
            start += self._counts_size
        records = [self._record.unpack_from(value, start + n * size) for n in range(count)]
        return head, records, start + count * size

    def many(
        self, values: Sequence[bytes], rows: Sequence[int] | None, length: int, now_us: int, version: int
    ) -> OnlineValues | None:
        """All values at once; None if an entity has several rows, or some have only one row and others more.

        ``rows``: of which of the ``length`` requested entities they are; None for all.
        """
        prefixes = _prefixes(values, self._flat) if values else np.zeros(0, self._flat)
        counted = (prefixes["head"] & COUNTED) != 0
        start = self._flat.itemsize
        if counted.any():
            if not counted.all():
                return None
            prefixes, start = _prefixes(values, self._counted), self._counted.itemsize
            if (prefixes["counts"][:, ROWS] != 1).any():
                return None
        row = prefixes["row"]
        time_us = np.ascontiguousarray(row[EVENT_US])
        at_us = np.maximum(prefixes["head"] >> HEAD_BITS, now_us)
        statuses = np.full(len(values), PRESENT, np.uint8)
        if self._ttl_us is not None:
            statuses[at_us - time_us > self._ttl_us] = OUTSIDE
        statuses[time_us > at_us] = NOT_FOUND
        place: Any = slice(None)
        if rows is not None:
            place = np.array(rows, np.int64)
            statuses = _spread(statuses, place, length, NOT_FOUND)
        nulls = self._nulls(values, np.flatnonzero(prefixes["head"] & HAS_NULLS), start)
        absent = absent_places(statuses)
        columns: dict[str, ValueColumn] = {}
        for output, bit, is_bool in zip(self._query.outputs, self._bits, self._bools, strict=True):
            numbers = row[output.column]
            numbers = numbers.astype(np.bool_) if is_bool else np.ascontiguousarray(numbers)
            if rows is not None:
                numbers = _spread(numbers, place, length, 0)
            codes, missing = statuses, absent
            if nulls is not None:
                null: Flags = (nulls[:, bit // 8] >> (bit % 8) & 1).astype(np.bool_)
                if rows is not None:
                    null = _spread(null, place, length, False)
                codes = np.where(null & (statuses == PRESENT), np.uint8(NULL_VALUE), statuses)
                missing = absent_places(codes)
            columns[output.name] = NumberColumn(output.type, numbers, codes, missing)
        if rows is not None:
            time_us = _spread(time_us, place, length, 0)
        return OnlineValues(columns, number_times(time_us, statuses, absent), version)

    def _nulls(self, values: Sequence[bytes], places: Any, start: int) -> np.ndarray[Any, Any] | None:
        """Bits of nulls of each value; those at ``places`` have some."""
        if not len(places):
            return None
        nulls = np.zeros((len(values), self._nulls_size), np.uint8)
        data = b"".join([values[place][start : start + self._nulls_size] for place in places.tolist()])
        nulls[places] = np.frombuffer(data, np.uint8).reshape(-1, self._nulls_size)
        return nulls

    def _values(self, record: tuple[Any, ...], null: bytes, heap: dict[int, Any]) -> list[Any]:
        values: list[Any] = []
        for column, bit, is_bool in zip(self._columns, self._bits, self._bools, strict=True):
            if null[bit >> 3] >> (bit & 7) & 1:
                values.append(None)
            elif column in heap:
                values.append(heap[column])
            else:
                values.append(bool(record[column]) if is_bool else record[column])
        return values

    def _from_heap(
        self, value: bytes, at: int, records: list[tuple[Any, ...]], place: int
    ) -> tuple[dict[int, Any], int]:
        """Values of a row by their place in the record, and the heap's end: it is walked through from its beginning.

        ``at``: where the marks of identities begin.
        """
        marks = value[at : at + len(records)]
        at += len(records) + sum(map(_SIZES.__getitem__, marks))
        values: dict[int, Any] = {}
        for column, kind in self._heap:
            lengths = [record[column] for record in records]
            if pa.types.is_list(kind):
                values[column], at = _list(kind.value_type, value, at, lengths, place)
            else:
                low = at + sum(lengths[:place])
                data = value[low : low + lengths[place]]
                values[column] = data.decode() if pa.types.is_string(kind) else data
                at += sum(lengths)
        return values, at


def _prefixes(values: Sequence[bytes], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """The beginning of each value, filled up with zeros where one is shorter."""
    return np.array(values, f"S{dtype.itemsize}").view(dtype)


def _spread(
    values: np.ndarray[Any, Any], place: np.ndarray[Any, Any], length: int, otherwise: Any
) -> np.ndarray[Any, Any]:
    spread = np.full(length, otherwise, values.dtype)
    spread[place] = values
    return spread


def _list(item: pa.DataType, value: bytes, at: int, lengths: list[int], place: int) -> tuple[list[Any], int]:
    """The list of one row, and where the column's bytes end."""
    counts = [length & ~_HOLED for length in lengths]
    before, count = sum(counts[:place]), counts[place]
    marks_before = sum(
        n for n, length in zip(counts[:place], lengths[:place], strict=True) if length & _HOLED
    )
    marks = value[at + marks_before : at + marks_before + count] if lengths[place] & _HOLED else bytes(count)
    at += sum(n for n, length in zip(counts, lengths, strict=True) if length & _HOLED)
    total = sum(counts)
    if not (pa.types.is_string(item)):
        code = {pa.int64(): "q", pa.float32(): "f", pa.float64(): "d"}[item]
        width = struct.calcsize(code)
        numbers = struct.unpack_from(f"<{count}{code}", value, at + before * width)
        items: Sequence[Any] = numbers
        at += total * width
    else:
        sizes = struct.unpack_from(f"<{total}I", value, at)
        at += total * 4
        low = at + sum(sizes[:before])
        items = []
        for size in sizes[before : before + count]:
            items.append(value[low : low + size].decode())
            low += size
        at += sum(sizes)
    return [None if mark else item for mark, item in zip(marks, items, strict=True)], at


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind))


def _format(dtype: np.dtype[Any]) -> str:
    """What ``struct`` calls a packed dtype."""
    text = "<"
    for name in dtype.names or ():
        field = dtype[name]
        if field.subdtype is None:
            text += _CODES[field.str[1:]]
        elif field.subdtype[0] == np.uint8:
            text += f"{field.shape[0]}s"
        else:
            text += f"{field.shape[0]}{_CODES[field.subdtype[0].str[1:]]}"
    return text
