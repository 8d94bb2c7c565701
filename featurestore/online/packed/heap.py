"""Runs of bytes of many entities, written and read stream by stream, for all entities at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurestore.arrays import Ints, running_sums
from featurestore.errors import StorageError


class UnreadableValue(StorageError):
    """A stored value is of another layout, or damaged: it has to be rebuilt."""


@dataclass(frozen=True, slots=True)
class ByteStream:
    """Bytes of records, one after the other. ``sizes``: of each record, in bytes."""

    sizes: Ints
    data: bytes | npt.NDArray[Any]

    def pieces(self, ends: Ints) -> pa.Array:
        """The bytes by entity: ``ends[e] … ends[e + 1] - 1`` are the records of entity ``e``."""
        offsets = running_sums(self.sizes)[ends]
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(pa.large_binary(), len(ends) - 1, buffers)


class Heap:
    """Values of entities, read from their beginnings on: what is read of one is read of all."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self._bytes = b"".join(values)
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        self._end = np.cumsum(sizes)
        self._start = self._at = self._end - sizes

    @property
    def taken(self) -> Ints:
        """How many bytes of each entity were read."""
        return self._at - self._start

    def records(self, dtype: np.dtype[Any], counts: Ints) -> npt.NDArray[Any]:
        """Take this many records of each entity.

        Raises:
            Unreadable: a value is shorter than it says.
        """
        size = dtype.itemsize
        start = self._advance(counts * size)
        total = int(counts.sum())
        if not total:
            return np.zeros(0, dtype)
        within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(start, counts) + within * size
        # One record for each byte that one may begin at, of which some are taken.
        every = np.ndarray((len(self._bytes) - size + 1,), dtype, self._bytes, strides=(1,))
        taken: npt.NDArray[Any] = every[places]
        return taken

    def stream(self, sizes: Ints, ends: Ints) -> bytes:
        """The bytes of records with these sizes, those of all entities one after the other."""
        start = self._advance(_by_entity(sizes, ends))
        return b"".join(
            [self._bytes[low:high] for low, high in zip(start.tolist(), self._at.tolist(), strict=True)]
        )

    def skip(self, sizes: Ints, ends: Ints) -> None:
        """Pass over the bytes of records with these sizes."""
        self._advance(_by_entity(sizes, ends))

    def pass_over(self, sizes: Ints) -> None:
        """Pass over this many bytes of each entity."""
        self._advance(sizes)

    def require_end(self) -> None:
        """Raises Unreadable if a value is longer than it says."""
        if (self._at != self._end).any():
            raise _damaged("longer")

    def _advance(self, sizes: Ints) -> Ints:
        start = self._at
        self._at = start + sizes
        if (self._at > self._end).any():
            raise _damaged("shorter")
        return start


def _by_entity(sizes: Ints, ends: Ints) -> Ints:
    return np.diff(running_sums(sizes)[ends])


def _damaged(how: str) -> UnreadableValue:
    return UnreadableValue(
        f"a value in the online store is {how} than its lengths say",
        hint="Does something else write to the same keys?",
    )
