"""How one column of a section is packed: a field of fixed width in each record, and bytes in the heap.

======================  ==========================  ====================================================
type                    field                       heap, for each record
======================  ==========================  ====================================================
numbers, bool, times    the value                   –
string, bytes           u32 length in bytes         the bytes
lists of numbers        u32 length, bit 31: nulls   marks of nulls (if bit 31), the numbers
list of strings         u32 length, bit 31: nulls   marks of nulls (if bit 31), u32 lengths in bytes, the bytes
======================  ==========================  ====================================================

A mark is one byte per element, 1 where it is null. Everything is little-endian. Null is 0 or empty.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Flags, Ints, running_sums
from featurestore.online.packed.heap import ByteStream, Heap

Field = npt.NDArray[Any]

_LENGTH = np.dtype("<u4")
_HOLED = np.int64(1 << 31)
_NUMBERS = {
    pa.bool_(): "u1",
    pa.int8(): "i1",
    pa.int16(): "<i2",
    pa.int32(): "<i4",
    pa.int64(): "<i8",
    pa.uint32(): "<u4",
    pa.float32(): "<f4",
    pa.float64(): "<f8",
    pa.date32(): "<i4",
    pa.timestamp("us", tz="UTC"): "<i8",
}


def field_type(kind: pa.DataType) -> np.dtype[Any]:
    """The type of a column's field."""
    return np.dtype(_NUMBERS[kind]) if kind in _NUMBERS else _LENGTH


def has_heap(kind: pa.DataType) -> bool:
    """Whether a column of this type has bytes in the heap."""
    return kind not in _NUMBERS


def pack(column: pa.Array) -> tuple[Field, list[ByteStream]]:
    """The field of each record, and what goes to the heap."""
    if column.type in _NUMBERS:
        return _numbers(column), []
    if not pa.types.is_list(column.type):
        lengths, text = _text(column)
        return lengths, [text]
    counts = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    elements = column.flatten()
    null = elements.is_null().to_numpy(zero_copy_only=False)
    holed = np.diff(running_sums(null)[running_sums(counts)]) > 0
    streams = [ByteStream(counts * holed, null[np.repeat(holed, counts)].astype(np.uint8))]
    if elements.type in _NUMBERS:
        numbers = _numbers(elements)
        streams.append(ByteStream(counts * numbers.itemsize, numbers))
    else:
        lengths, text = _text(elements)
        sizes = np.diff(running_sums(text.sizes)[running_sums(counts)])
        streams += [ByteStream(counts * _LENGTH.itemsize, lengths), ByteStream(sizes, text.data)]
    return (counts | (holed * _HOLED)).astype(_LENGTH), streams


def unpack(kind: pa.DataType, field: Field, null: Flags | None, heap: Heap, ends: Ints) -> pa.Array:
    """The column. ``null``: which records have none; ``ends``: records of each entity."""
    if kind in _NUMBERS:
        return _of_numbers(kind, field, null)
    if not pa.types.is_list(kind):
        return _of_text(kind, field, heap.stream(field.astype(np.int64), ends), null)
    counts, holed = _counts(field)
    null_marks = np.zeros(int(counts.sum()), np.bool_)
    null_marks[np.repeat(holed, counts)] = np.frombuffer(heap.stream(counts * holed, ends), np.bool_)
    item = kind.value_type
    data = heap.stream(counts * field_type(item).itemsize, ends)
    fields = np.frombuffer(data, field_type(item))
    if item in _NUMBERS:
        elements = _of_numbers(item, fields, null_marks)
    else:
        sizes = np.diff(running_sums(fields.astype(np.int64))[running_sums(counts)])
        elements = _of_text(item, fields, heap.stream(sizes, ends), null_marks)
    mask = None if null is None else pa.array(null)
    return pa.ListArray.from_arrays(
        pa.array(running_sums(counts).astype(np.int32)), elements, kind, mask=mask
    )


def skip(kind: pa.DataType, field: Field, heap: Heap, ends: Ints) -> None:
    """Skip the column's bytes in the heap."""
    if kind in _NUMBERS:
        return
    if not pa.types.is_list(kind):
        heap.skip(field.astype(np.int64), ends)
        return
    counts, holed = _counts(field)
    heap.skip(counts * holed, ends)
    if kind.value_type in _NUMBERS:
        heap.skip(counts * field_type(kind.value_type).itemsize, ends)
    else:
        lengths = np.frombuffer(heap.stream(counts * _LENGTH.itemsize, ends), _LENGTH)
        heap.skip(np.diff(running_sums(lengths.astype(np.int64))[running_sums(counts)]), ends)


def _counts(field: Field) -> tuple[Ints, Flags]:
    both = field.astype(np.int64)
    return both & ~_HOLED, both >= _HOLED


def _numbers(column: pa.Array) -> Field:
    dtype = _NUMBERS[column.type]
    if pa.types.is_temporal(column.type):
        column = column.view(pa.int64() if dtype == "<i8" else pa.int32())
    if column.null_count:
        column = column.fill_null(pa.scalar(0).cast(column.type))
    numbers: Field = column.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    return numbers


def _of_numbers(kind: pa.DataType, field: Field, null: Flags | None) -> pa.Array:
    if pa.types.is_boolean(kind):
        return pa.array(field.astype(np.bool_), kind, mask=null)
    # A field lies askew in its record.
    return pa.array(np.ascontiguousarray(field), mask=null).view(kind)


def _text(column: pa.Array) -> tuple[Field, ByteStream]:
    """Lengths in bytes, and the bytes of all."""
    if column.null_count:
        column = column.fill_null(b"" if pa.types.is_binary(column.type) else "")
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    lengths = np.diff(offsets) if len(offsets) else np.zeros(0, np.int32)
    data = column.buffers()[2]
    content = b"" if data is None or not len(lengths) else data[int(offsets[0]) : int(offsets[-1])]
    return lengths.astype(_LENGTH), ByteStream(lengths.astype(np.int64), content)


def _of_text(kind: pa.DataType, lengths: Field, data: bytes, null: Flags | None) -> pa.Array:
    offsets = pa.py_buffer(running_sums(lengths.astype(np.int64)).astype(np.int32))
    valid = None if null is None else pa.py_buffer(np.packbits(~null, bitorder="little"))
    return pa.Array.from_buffers(kind, len(lengths), [valid, offsets, pa.py_buffer(data)])
