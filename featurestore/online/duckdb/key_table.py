"""Finds an entity's place in a generation by its key: a table of hashes, in buckets of about one.

One key is looked up without numpy, in about a microsecond; many are looked up at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurestore.arrays import Ints

_HASH_BITS = 32
_HASHED_AT_ONCE = 10_000
"""So that other threads are not held up for longer than a millisecond."""


class KeyBuckets(NamedTuple):
    """Hashes of keys in their order, the places of those keys, and where each bucket begins."""

    hashes: npt.NDArray[np.uint32]
    place: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]

    @classmethod
    def of(cls, keys: pa.Array) -> KeyBuckets:
        count = len(keys)
        shift = _shift(count)
        hashes = np.fromiter(_hashes(keys), np.uint32, count)
        place = np.argsort(hashes, kind="stable")
        hashes = hashes[place]
        buckets = np.arange((1 << (_HASH_BITS - shift)) + 1, dtype=np.uint64) << np.uint64(shift)
        return cls(hashes, place.astype(np.int32), np.searchsorted(hashes, buckets).astype(np.int32))


class KeyTable:
    """``keys``: ``binary``, none null, no two the same. Keys with equal hashes are told apart by their bytes.

    ``buckets``: those of these keys, if they are known.
    """

    def __init__(self, keys: pa.Array, buckets: KeyBuckets | None = None) -> None:
        count = len(keys)
        self._shift = _shift(count)
        self.buckets = KeyBuckets.of(keys) if buckets is None else buckets
        self._hashes, self._place, self._starts = self.buckets
        _, offsets, data = keys.buffers()
        used = slice(keys.offset, keys.offset + count + 1)
        self._offsets = np.frombuffer(offsets, np.int32)[used] if count else np.zeros(1, np.int32)
        self._data = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        arrays: tuple[Any, ...] = (self._hashes, self._place, self._starts, self._offsets, self._data)
        # Views that give Python's own integers and bytes, several times faster than arrays do.
        self._one: tuple[Any, ...] = tuple(memoryview(array) for array in arrays)

    def find(self, key: bytes) -> int:
        """The place of a key; −1 if it is not there."""
        hashes, places, starts, offsets, data = self._one
        wanted = crc32(key)
        bucket = wanted >> self._shift
        for at in range(starts[bucket], starts[bucket + 1]):
            if hashes[at] == wanted:
                place: int = places[at]
                if data[offsets[place] : offsets[place + 1]] == key:
                    return place
        return -1

    def find_many(self, keys: Sequence[bytes]) -> Ints:
        """The place of each key; −1 for one that is not there."""
        places = np.full(len(keys), -1, np.int64)
        if not len(self._place) or not len(keys):
            return places
        wanted = np.fromiter(map(crc32, keys), np.uint32, len(keys))
        bucket = wanted >> np.uint32(self._shift)
        at, end = self._starts[bucket], self._starts[bucket + np.uint32(1)]
        last = len(self._place) - 1
        open_ = np.flatnonzero((at < end) & (self._hashes[np.minimum(at, last)] != wanted))
        while len(open_):
            at[open_] += 1
            tried = at[open_]
            open_ = open_[(tried < end[open_]) & (self._hashes[np.minimum(tried, last)] != wanted[open_])]
        hit = np.flatnonzero(at < end)
        place = self._place[at[hit]]
        places[hit] = place
        chosen = keys if len(hit) == len(keys) else [keys[n] for n in hit.tolist()]
        if not self._are(place, chosen):
            # Another key has the same hash: one by one, which tries all that have it.
            places[hit] = [self.find(key) for key in chosen]
        return places

    def _are(self, place: npt.NDArray[np.int32], keys: Sequence[bytes]) -> bool:
        """Whether the keys at these places are these."""
        low, length = self._offsets[place], self._offsets[place + 1] - self._offsets[place]
        if not np.array_equal(length, np.fromiter(map(len, keys), np.int32, len(keys))):
            return False
        ends = np.cumsum(length)
        total = int(ends[-1]) if len(ends) else 0
        index = np.arange(total) + np.repeat(low - (ends - length), length)
        return bool(self._data[index].tobytes() == b"".join(keys))


def _shift(count: int) -> int:
    """By how many bits a hash is longer than the number of its bucket."""
    return _HASH_BITS - min(_HASH_BITS - 1, count.bit_length() + 1)


def _hashes(keys: pa.Array) -> Iterator[int]:
    for first in range(0, len(keys), _HASHED_AT_ONCE):
        yield from map(crc32, keys.slice(first, _HASHED_AT_ONCE).to_pylist())
