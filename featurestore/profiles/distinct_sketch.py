"""How many values there are: the least hashes of them, which tell how close together all hashes are.

K minimum values (Bar-Yossef, Jayram, Kumar, Sivakumar, Trevisan, "Counting distinct elements in a data stream", 2002). Up to
1,024 values are counted; of more, the estimate is off by 3.1 % (one standard error). Two
sketches are put together by their hashes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from featurestore.arrays import numbers
from featurestore.hashing import Hashes, column_hashes, mixed

_KEPT = 1024
NO_HASHES = np.zeros(0, np.uint64)


def value_hashes(column: pa.Array) -> Hashes:
    """A hash of each value of an array without nulls; of equal values the same. All zeros are one value, and all NaN are."""
    if pa.types.is_floating(column.type):
        floats = numbers(column).astype(np.float64) + 0.0
        floats[np.isnan(floats)] = np.nan
        return mixed(floats.view(np.uint64))
    return column_hashes(column)


def least(known: Hashes, more: Hashes) -> Hashes:
    """The least of both, each once, in their order.

    >>> least(np.array([3, 5], np.uint64), np.array([5, 1], np.uint64)).tolist()
    [1, 3, 5]
    """
    if len(known) >= _KEPT:
        more = more[more < known[-1]]
    if not len(more):
        return known
    both = np.sort(np.concatenate([known, more]))
    is_first = np.ones(len(both), np.bool_)
    is_first[1:] = both[1:] != both[:-1]
    return both[is_first][:_KEPT]


def estimate(hashes: Hashes) -> int:
    """How many values the sketch has seen."""
    if len(hashes) < _KEPT:
        return len(hashes)
    return round((_KEPT - 1) / ((float(hashes[-1]) + 1.0) / 2.0**64))
