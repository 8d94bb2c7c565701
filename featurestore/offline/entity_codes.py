"""Entities as numbers: each asked entity gets a code, and rows of a table get the code of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Codes

UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class EntityCodes:
    """Codes ``0 … n - 1`` of the asked entities, in the order of their keys; −1 for all others.

    ``of_rows``: the code of each row that was asked; −1 where a key is null.
    """

    of_rows: Codes
    _keys: tuple[pa.Array, ...]
    _pairs: tuple[npt.NDArray[np.int64], ...]

    @classmethod
    def of_asked(cls, entities: pa.Table, asked: npt.NDArray[np.bool_]) -> EntityCodes:
        """Codes of the entities ``table[<keys>]`` in those rows that are asked for."""
        wanted = entities.filter(pa.array(asked))
        keys = tuple(_sorted_values(column) for column in wanted.columns)
        parts = [_codes(column, values) for column, values in zip(entities.columns, keys, strict=True)]
        codes = np.where(asked, parts[0], UNKNOWN)
        pairs = []
        for part, values in zip(parts[1:], keys[1:], strict=True):
            pair = _pair(codes, part, len(values))
            known = np.unique(pair)
            pairs.append(known[known >= 0])
            codes = _place(pair, pairs[-1])
        return cls(codes.astype(np.int32), keys, tuple(pairs))

    def of(self, keys: pa.Table) -> Codes:
        """Codes of the rows ``table[<keys>]``; string keys may be dictionaries."""
        codes = _codes(keys.column(0), self._keys[0])
        for column, values, pairs in zip(keys.columns[1:], self._keys[1:], self._pairs, strict=True):
            codes = _place(_pair(codes, _codes(column, values), len(values)), pairs)
        return codes.astype(np.int32)

    def bounds(self) -> list[tuple[Any, Any]]:
        """Least and greatest asked value of each key; there is at least one."""
        return [(values[0].as_py(), values[-1].as_py()) for values in self._keys]


def _sorted_values(column: pa.ChunkedArray) -> pa.Array:
    values = pc.unique(column).drop_null()
    return values.take(pc.sort_indices(values))


def _codes(column: pa.ChunkedArray, values: pa.Array) -> npt.NDArray[np.int64]:
    """Index of each row's key in ``values``; −1 for null and for one that is not there."""
    if not len(column):
        return np.zeros(0, np.int64)
    if pa.types.is_dictionary(column.type):
        return np.concatenate([_dictionary_codes(chunk, values) for chunk in column.chunks])
    codes = pc.index_in(column.cast(values.type), value_set=values).fill_null(UNKNOWN)
    return np.asarray(codes.to_numpy(), np.int64)


def _dictionary_codes(chunk: pa.DictionaryArray, values: pa.Array) -> npt.NDArray[np.int64]:
    words = pc.index_in(chunk.dictionary.cast(values.type), value_set=values).fill_null(UNKNOWN)
    # The last place stands for rows whose key is null.
    of_words = np.append(words.to_numpy(zero_copy_only=False).astype(np.int64), UNKNOWN)
    result: npt.NDArray[np.int64] = of_words[chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
    return result


def _pair(codes: npt.NDArray[np.int64], more: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """One number for two codes; −1 if either is. Codes are below 2^31, so it fits."""
    return np.where((codes >= 0) & (more >= 0), codes * count + more, UNKNOWN)


def _place(pair: npt.NDArray[np.int64], known: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Place of each number among the known ones, which are sorted; −1 if it is not there."""
    if not len(known):
        return np.full(len(pair), UNKNOWN, np.int64)
    place = np.minimum(np.searchsorted(known, pair), len(known) - 1)
    return np.where(known[place] == pair, place, UNKNOWN)
