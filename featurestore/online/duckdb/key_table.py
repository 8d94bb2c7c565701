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
        # Numpy takes by numbers of any other type five times as slowly.
        bucket = (wanted >> np.uint32(self._shift)).astype(np.intp)
        at = self._starts[bucket].astype(np.intp)
        # What stands behind a bucket has another hash than all of the bucket.
        same = self._hashes.take(at, mode="clip") == wanted
        if same.all():
            return self._checked(self._place[at].astype(np.int64), keys)
        open_, end = np.flatnonzero(~same), self._starts[bucket + 1]
        while len(open_):
            at[open_] += 1
            open_ = open_[at[open_] < end[open_]]
            open_ = open_[self._hashes[at[open_]] != wanted[open_]]
        hit = np.flatnonzero(self._hashes.take(at, mode="clip") == wanted)
        places[hit] = self._checked(self._place[at[hit]].astype(np.int64), [keys[n] for n in hit.tolist()])
        return places

    def _checked(self, place: Ints, keys: Sequence[bytes]) -> Ints:
        """``place``: of what has the hashes of these keys."""
        if self._are(place, keys):
            return place
        # Another key has the same hash: one by one, which tries all that have it.
        return np.array([self.find(key) for key in keys], np.int64)

    def _are(self, place: Ints, keys: Sequence[bytes]) -> bool:
        """Whether the keys at these places are these."""
        low = self._offsets[place]
        length = self._offsets[place + 1] - low
        if not (length == np.fromiter(map(len, keys), np.int32, len(keys))).all():
            return False
        ends = length.cumsum()
        total = int(ends[-1]) if len(ends) else 0
        index = np.arange(total) + (low - (ends - length)).repeat(length)
        return bool(self._data[index].tobytes() == b"".join(keys))


def _shift(count: int) -> int:
    """By how many bits a hash is longer than the number of its bucket."""
    return _HASH_BITS - min(_HASH_BITS - 1, count.bit_length() + 1)


def _hashes(keys: pa.Array) -> Iterator[int]:
    for first in range(0, len(keys), _HASHED_AT_ONCE):
        yield from map(crc32, keys.slice(first, _HASHED_AT_ONCE).to_pylist())
