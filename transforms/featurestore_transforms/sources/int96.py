"""Times of 96 bits, as Spark and Impala wrote them: a Julian day, and the nanoseconds of the day.

Arrow gives their seconds, and their nanoseconds since 1970 modulo 2^64, which alone say 2262 of the year 9999. In
Parquet no other times are in seconds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore_transforms.sources.arrow_types import UntakenType, is_list

_SECONDS, _MICROS = pa.timestamp("s"), pa.timestamp("us")
_PER_SECOND = 1_000_000
_MOST_SECONDS = (2**63 - 1) // _PER_SECOND - 1


def micros_type(dtype: pa.DataType) -> pa.DataType:
    """The type with microseconds for each time in seconds.

    >>> micros_type(pa.list_(pa.timestamp("s")))
    ListType(list<item: timestamp[us]>)

    Raises:
        UntakenType: a map holds such times.
    """
    if dtype == _SECONDS:
        return _MICROS
    if is_list(dtype):
        inner = micros_type(dtype.value_type)
        return dtype if inner == dtype.value_type else pa.list_(inner)
    if pa.types.is_struct(dtype):
        return pa.struct([pa.field(field.name, micros_type(field.type)) for field in dtype])
    if pa.types.is_map(dtype) and _SECONDS in (dtype.key_type, dtype.item_type):
        raise UntakenType("a map of times of 96 bits")
    return dtype


def joined(seconds: pa.Array, nanos: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """The values with times in microseconds, and in which rows one is more exact than that, or too far away.

    >>> values, odd = joined(pa.array([1, 1], _SECONDS), pa.array([1_000_002_000, 1_000_000_001], pa.timestamp("ns")))
    >>> values.cast(pa.int64()).to_pylist(), odd.tolist()
    ([1000002, None], [False, True])
    """
    dtype = seconds.type
    if dtype == _SECONDS:
        return _times(seconds, nanos)
    if is_list(dtype) and micros_type(dtype) != dtype:
        lengths = pc.list_value_length(seconds).fill_null(0).to_numpy(zero_copy_only=False)
        items, odd = joined(seconds.flatten(), nanos.flatten())
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        counts = np.concatenate([[0], np.cumsum(odd)])[offsets]
        mask = seconds.is_null() if seconds.null_count else None
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items, mask=mask), np.diff(counts) > 0
    if pa.types.is_struct(dtype):
        pairs = [joined(*pair) for pair in zip(seconds.flatten(), nanos.flatten(), strict=True)]
        mask = seconds.is_null() if seconds.null_count else None
        names = [field.name for field in dtype]
        values = pa.StructArray.from_arrays([value for value, _ in pairs], names, mask=mask)
        return values, np.any([odd for _, odd in pairs], axis=0)
    return seconds, np.zeros(len(seconds), np.bool_)


def _times(seconds: pa.Array, nanos: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    null = seconds.is_null().to_numpy(zero_copy_only=False)
    second = seconds.view(pa.int64()).fill_null(0).to_numpy()
    # Both count modulo 2^64, so their difference is exact.
    part = nanos.view(pa.int64()).fill_null(0).to_numpy().view(np.uint64) - second.view(
        np.uint64
    ) * np.uint64(10**9)
    odd = ~null & ((part >= 10**9) | (part % np.uint64(1000) != 0) | (np.abs(second) > _MOST_SECONDS))
    micros = np.where(odd, 0, second) * _PER_SECOND + (part // np.uint64(1000)).astype(np.int64)
    return pa.array(micros, pa.int64(), mask=null | odd).view(_MICROS), odd
