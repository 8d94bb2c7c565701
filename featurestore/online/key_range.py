"""Which entities one part of a publication is about: those whose keys are in a range, or some by name.

Data files of a view are sorted by key, so that a range of keys is in few of their row groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Flags
from featurestore.offline.entity_codes import EntityCodes
from featurestore.storage.row_groups import Bounds


class Chosen(Protocol):
    """Some entities, by their join keys."""

    def bounds(self, keys: pa.Schema) -> dict[str, Bounds]:
        """What no value of their keys is outside of."""
        ...

    def mask(self, keys: pa.Table) -> Flags:
        """Which rows of ``table[<join keys>]`` are theirs; string keys may be dictionaries. Never one with a null."""
        ...


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Entities from ``low`` on and before ``high``, by their first key, then by the next one. None: no bound.

    A bound may be of the first keys alone.
    """

    low: tuple[Any, ...] | None = None
    high: tuple[Any, ...] | None = None

    def bounds(self, keys: pa.Schema) -> dict[str, Bounds]:
        first = Bounds(self.low and self.low[0], self.high and self.high[0])
        return {keys.names[0]: first}

    def mask(self, keys: pa.Table) -> Flags:
        inside = np.ones(keys.num_rows, np.bool_)
        for column in keys.columns:
            if column.null_count:
                inside &= column.is_valid().to_numpy()
        if self.low is not None:
            inside &= _not_before(keys, self.low)
        if self.high is not None:
            inside &= ~_not_before(keys, self.high)
        return inside

    @classmethod
    def at(cls, starts: Sequence[tuple[Any, int]], parts: int) -> list[KeyRange]:
        """Ranges that make up all entities, about so many. ``starts``: first keys, and how many rows follow each."""
        ordered = sorted(starts)
        upto = np.cumsum([rows for _, rows in ordered])
        places = np.searchsorted(upto, np.arange(1, parts) * int(upto[-1]) // parts)
        ends = [None, *((value,) for value in dict.fromkeys(ordered[place][0] for place in places)), None]
        return [cls(low, high) for low, high in pairwise(ends)]

    def cut(self, sample: pa.Table, parts: int) -> list[KeyRange]:
        """Ranges that make up this one, at most so many. ``sample``: keys in it, of about as many rows each; sorted."""
        if not sample.num_rows:
            return [self]
        places = np.unique(np.arange(1, parts) * sample.num_rows // parts)
        chosen = sample.take(pa.array(places))
        ends = dict.fromkeys(zip(*(column.to_pylist() for column in chosen.columns), strict=True))
        lows = [self.low, *(end for end in ends if end != self.low)]
        return [KeyRange(low, high) for low, high in zip(lows, [*lows[1:], self.high], strict=True)]


class KeySet:
    """Entities ``table[<join keys>]``, each once; at least one, and none with a null."""

    def __init__(self, entities: pa.Table) -> None:
        self.entities = entities
        self._codes = EntityCodes.of_asked(entities, np.ones(entities.num_rows, np.bool_))

    def bounds(self, keys: pa.Schema) -> dict[str, Bounds]:
        return {name: Bounds(*ends) for name, ends in zip(keys.names, self._codes.bounds(), strict=True)}

    def mask(self, keys: pa.Table) -> Flags:
        inside: Flags = self._codes.of(keys) >= 0
        return inside

    def halves(self) -> tuple[Self, Self]:
        """Two of them that make up this one. There are at least two entities, sorted by value."""
        middle = self.entities.num_rows // 2
        return type(self)(self.entities.slice(0, middle)), type(self)(self.entities.slice(middle))


def _not_before(keys: pa.Table, bound: Sequence[Any]) -> Flags:
    """Which keys are not less than the bound, the first column first; those that it does not name do not matter."""
    reached = np.ones(keys.num_rows, np.bool_)
    for column, value in reversed(list(zip(keys.columns, bound, strict=False))):
        greater, equal = (_compared(column, value, how) for how in (pc.greater, pc.equal))
        reached = greater | (equal & reached)
    return reached


def _compared(column: pa.ChunkedArray, value: Any, how: Any) -> Flags:
    compared: Flags
    if not pa.types.is_dictionary(column.type):
        compared = how(column, pa.scalar(value, column.type)).fill_null(False).to_numpy()
        return compared
    parts = [np.zeros(0, np.bool_)]
    for chunk in column.chunks:
        words = chunk.dictionary
        of_words = how(words, pa.scalar(value, words.type)).fill_null(False).to_numpy(zero_copy_only=False)
        # The last place stands for rows whose key is null.
        indices = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        parts.append(np.append(of_words, False)[indices])
    compared = np.concatenate(parts)
    return compared
