"""The order in which an epoch has the rows of a training set, and what each rank gets of it.

The order is of the set, the seed and the epoch: no number of ranks is part of it. So one number, how many rows all ranks
have read together, says where a run is, and any other number of ranks goes on there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np


class Remainder(StrEnum):
    """What becomes of the rows at the end of an epoch that are too few for a whole batch for each rank."""

    UNEVEN = "uneven"
    DROP = "drop"
    PAD = "pad"


class Run(NamedTuple):
    """Rows ``first`` to before ``last`` of a row group, as its epoch has them. ``block``: those that are mixed."""

    block: int
    group: int
    first: int
    last: int


class EpochOrder:
    """The rows of row groups in an epoch, each once.

    With a seed the row groups are shuffled and taken some at a time, ``interleave``: each of these is shuffled inside,
    and they give ``chunk`` rows in turns. So a rank whose batches are chunks reads some of the row groups, not all.
    Without a seed the rows stand as they are.

    ``groups``: rows of each row group, none of them 0. ``name``: tells one set from another.

    >>> order = EpochOrder([2, 3], "set", seed=None, epoch=0, interleave=4, chunk=2)
    >>> list(order.runs(1, 4))
    [Run(block=0, group=0, first=1, last=2), Run(block=1, group=1, first=0, last=2)]
    """

    def __init__(
        self, groups: Sequence[int], name: str, seed: int | None, epoch: int, interleave: int, chunk: int
    ) -> None:
        self._groups, self._chunk = np.array(groups, dtype=np.int64), chunk
        self._name = None if seed is None else f"{name}/{seed}/{epoch}"
        self._lanes = 1 if seed is None else interleave
        self._order = np.arange(len(groups)) if self._name is None else permutation(self._name, len(groups))
        ends = np.cumsum(self._groups[self._order])
        last = np.arange(self._lanes, len(groups) + self._lanes, self._lanes) - 1
        self._ends = ends[np.minimum(last, len(groups) - 1)] if len(groups) else ends
        self._block = -1
        self._chunks: tuple[Any, Any, Any] = ((), (), ())

    def runs(self, first: int, last: int) -> Iterator[Run]:
        """Where the rows ``first`` to before ``last`` of the epoch are."""
        while first < last:
            block = int(np.searchsorted(self._ends, first, side="right"))
            begin = int(self._ends[block - 1]) if block else 0
            end = min(last, int(self._ends[block]))
            group, start, ends = self._chunks_of(block)
            while first < end:
                at = int(np.searchsorted(ends, first - begin, side="right"))
                within = first - begin - (int(ends[at - 1]) if at else 0)
                count = min(end - first, int(ends[at]) - (first - begin))
                yield Run(block, int(group[at]), int(start[at]) + within, int(start[at]) + within + count)
                first += count

    def within(self, group: int) -> Any:
        """The order of the rows in a row group; None if they stand as they are."""
        return None if self._name is None else permutation(f"{self._name}/{group}", int(self._groups[group]))

    def _chunks_of(self, block: int) -> tuple[Any, Any, Any]:
        """Of each chunk of a block: its row group, its first row there, and how many rows the block has up to its end."""
        if block != self._block:
            groups = self._order[block * self._lanes : (block + 1) * self._lanes]
            counts = -(-self._groups[groups] // self._chunk)
            lane = np.repeat(np.arange(len(groups)), counts)
            turn = np.concatenate([np.arange(count) for count in counts])
            turns = np.lexsort((lane, turn))
            group, start = groups[lane[turns]], turn[turns] * self._chunk
            ends = np.cumsum(np.minimum(self._chunk, self._groups[group] - start))
            self._block, self._chunks = block, (group, start, ends)
        return self._chunks


def permutation(name: str, count: int) -> Any:
    """The numbers below ``count`` in an order that only the name decides, whatever the version of numpy.

    By SplitMix64 (Steele, Lea, Flood 2014), whose values differ for each number, so that any way of sorting gives the same.
    """
    key = np.frombuffer(hashlib.sha256(name.encode()).digest()[:8], dtype="<u8")
    with np.errstate(over="ignore"):
        mixed = key + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(mixed ^ (mixed >> np.uint64(31)))


def step_rows(left: int, batch_rows: int, world_size: int, remainder: Remainder) -> int:
    """How many of the ``left`` rows of an epoch all ranks read next, together.

    Uneven ranks get batches of fewer rows rather than one batch less: where less than a row for each would be left, this
    step leaves one for each.

    >>> step_rows(10, 4, 2, Remainder.DROP), step_rows(9, 4, 2, Remainder.UNEVEN), step_rows(3, 4, 2, Remainder.UNEVEN)
    (8, 6, 3)
    """
    whole = batch_rows * world_size
    if remainder is Remainder.UNEVEN and batch_rows > 1 and whole < left < whole + world_size:
        return whole - world_size
    return min(left, whole)


def share_of(rows: int, rank: int, world_size: int, remainder: Remainder) -> tuple[int, int]:
    """Which rows of a step are a rank's, as first and before last. What is padded lies behind the step's rows.

    >>> [share_of(5, rank, 2, Remainder.UNEVEN) for rank in (0, 1)]
    [(0, 3), (3, 5)]
    >>> [share_of(5, rank, 2, Remainder.DROP) for rank in (0, 1)], share_of(5, 1, 2, Remainder.PAD)
    ([(0, 2), (2, 4)], (3, 6))
    """
    each, more = divmod(rows, world_size)
    if remainder is Remainder.UNEVEN:
        first = rank * each + min(rank, more)
        return first, first + each + (rank < more)
    each += remainder is Remainder.PAD and more > 0
    return rank * each, (rank + 1) * each
