"""Spans ``[low, high)`` of rows that are sorted by entity and time: how windows and joins find theirs.

All work is on whole arrays at once: the cost per request is that of a binary search, and no value
becomes a Python object.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featurestore.arrays import Ints


def entity_spans(sorted_entity: npt.NDArray[np.int32], wanted: npt.NDArray[np.int32]) -> tuple[Ints, Ints]:
    """Low and high row of each wanted entity; an empty span for one that is not there.

    >>> entity_spans(np.array([0, 0, 2], np.int32), np.array([2, 1, 0], np.int32))
    (array([2, 2, 0]), array([3, 2, 2]))
    """
    low = np.searchsorted(sorted_entity, wanted, "left").astype(np.int64)
    high = np.searchsorted(sorted_entity, wanted, "right").astype(np.int64)
    return low, high


def first_not_before(times: Ints, low: Ints, high: Ints, at: Ints) -> Ints:
    """For each span, its first row whose time is at least ``at``; ``high`` if there is none.

    >>> first_not_before(np.array([1, 5, 5, 9]), np.array([0, 0]), np.array([4, 3]), np.array([5, 6]))
    array([1, 3])
    """
    if not len(times):
        return low
    low, high = low.copy(), high.copy()
    while True:
        searching = low < high
        if not searching.any():
            return low
        middle = (low + high) >> 1
        earlier = searching & (times[np.minimum(middle, len(times) - 1)] < at)
        low = np.where(earlier, middle + 1, low)
        high = np.where(searching & ~earlier, middle, high)


def expand(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """All rows of all spans, one after the other: which span each belongs to, and the row.

    >>> expand(np.array([0, 5]), np.array([2, 6]))
    (array([0, 0, 1]), array([0, 1, 5]))
    """
    lengths = high - low
    span = np.repeat(np.arange(len(low), dtype=np.int64), lengths)
    ends = np.cumsum(lengths)
    return span, np.arange(len(span), dtype=np.int64) - np.repeat(ends - lengths - low, lengths)
