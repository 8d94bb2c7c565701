"""Hashes of keys and of rows' identities: the same on every machine, in every version of every library."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import numbers

Hashes = npt.NDArray[np.uint64]
_NULL = np.uint64(0x9E3779B97F4A7C15)


def mixed(values: Hashes) -> Hashes:
    """The finalizer of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).

    >>> [hex(it) for it in mixed(np.array([0, 1], np.uint64)).tolist()]
    ['0xe220a8397b1dcdaf', '0x910a2dec89025cc1']
    """
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def combined(parts: Iterable[Hashes], seed: int = 0) -> Hashes:
    """One hash of several numbers of each row, which depends on their order."""
    hashes: Hashes | None = None
    for part in parts:
        before = np.uint64(seed) if hashes is None else hashes
        hashes = mixed(mixed(part) ^ before)
    assert hashes is not None
    return hashes


def key_hashes(keys: pa.Table) -> Hashes:
    """One hash of each row's keys. Integers of all widths are the same number; nulls are all alike."""
    return combined(column_hashes(column) for column in keys.columns)


def column_hashes(column: pa.Array | pa.ChunkedArray) -> Hashes:
    """A hash of each value, which is the same of an integer of any width; nulls are all alike."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        whole = column.cast(pa.int32()) if pa.types.is_date32(kind) else column
        integers = whole.cast(pa.uint64() if kind == pa.uint64() else pa.int64(), safe=False)
        values = numbers(integers.fill_null(0) if integers.null_count else integers).astype(np.uint64)
    else:
        encoded = pc.dictionary_encode(column.cast(pa.string()) if kind != pa.binary() else column)
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        words = np.fromiter((_word(value) for value in encoded.dictionary.to_pylist()), np.uint64)
        codes = numbers(encoded.indices.fill_null(0) if encoded.indices.null_count else encoded.indices)
        values = words[codes] if len(words) else np.zeros(len(column), np.uint64)
    hashes = mixed(values)
    if column.null_count:
        hashes = np.where(numbers(column.is_null().cast(pa.uint8())) == 1, _NULL, hashes)
    return hashes


def _word(value: str | bytes | None) -> int:
    data = value if isinstance(value, bytes) else (value or "").encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
