"""Keys of entities as bytes, and an index that finds many of them at once.

One join key is its text. Several are joined so that no two entities share a text: strings carry their length.

>>> import pyarrow as pa
>>> key_texts(pa.table({"carrier": ["AA"], "number": [15]})).to_pylist()
[b'2:AA|15']
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Ints

Hashes = npt.NDArray[np.uint64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def key_texts(entities: pa.Table) -> pa.Array:
    """One ``binary`` per row of ``table[<join keys>]``; null where a key is null."""
    if entities.num_columns == 1:
        return _text(entities.column(0)).cast(pa.binary())
    parts = []
    for column in entities.columns:
        text = _text(column)
        if pa.types.is_string(column.type):
            length = pc.binary_length(text).cast(pa.string())
            text = pc.binary_join_element_wise(length, text, ":")
        parts.append(text)
    return pc.binary_join_element_wise(*parts, "|").cast(pa.binary())


@dataclass(frozen=True, slots=True)
class KeyIndex:
    """Finds keys by their hashes. Keys with equal hashes are told apart by their bytes."""

    keys: pa.Array
    _hashes: Hashes
    _place: npt.NDArray[np.intp]

    @classmethod
    def of(cls, keys: pa.Array) -> KeyIndex:
        """``keys``: as :func:`key_texts` gives them; none is null, no two are the same."""
        hashes = key_hashes(keys)
        place = np.argsort(hashes, kind="stable")
        return cls(keys, hashes[place], place)

    def find(self, wanted: pa.Array) -> Ints:
        """Place of each wanted key among the keys; −1 for null and for one that is not there."""
        places = np.full(len(wanted), -1, np.int64)
        hashes = key_hashes(wanted)
        at = np.searchsorted(self._hashes, hashes)
        open_ = np.flatnonzero(wanted.is_valid().to_numpy(zero_copy_only=False))
        while len(open_):
            # Hashes that are equal stand side by side: the next one is tried where the bytes differ.
            open_ = open_[at[open_] < len(self._hashes)]
            open_ = open_[self._hashes[at[open_]] == hashes[open_]]
            place = self._place[at[open_]]
            same = pc.equal(self.keys.take(pa.array(place)), wanted.take(pa.array(open_)))
            hit = same.to_numpy(zero_copy_only=False).astype(np.bool_)
            places[open_[hit]] = place[hit]
            open_ = open_[~hit]
            at[open_] += 1
        return places


def key_hashes(keys: pa.Array) -> Hashes:
    """A 64-bit hash of each key: a polynomial of its bytes, mixed as in SplitMix64 (Steele, Lea, Flood, 2014)."""
    _, offset_buffer, data_buffer = keys.buffers()
    if not len(keys):
        return np.zeros(0, np.uint64)
    offsets = np.frombuffer(offset_buffer, np.int32)[keys.offset : keys.offset + len(keys) + 1].astype(
        np.int64
    )
    length = np.diff(offsets)
    data = np.zeros(0, np.uint8)
    if data_buffer is not None:
        data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    starts = offsets[:-1] - offsets[0]
    powers = np.cumprod(np.full(int(length.max()) + 1, _MULTIPLIER))
    terms = (data.astype(np.uint64) + np.uint64(1)) * powers[np.arange(len(data)) - np.repeat(starts, length)]
    upto = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(terms, out=upto[1:])
    hashes = upto[starts + length] - upto[starts]
    for shift, factor in zip((30, 27), _MIX, strict=True):
        hashes = (hashes ^ (hashes >> np.uint64(shift))) * factor
    result: Hashes = hashes ^ (hashes >> np.uint64(31))
    return result


def _text(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks().cast(pa.string())
