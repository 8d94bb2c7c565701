"""What tells rows of one event time apart, in few bytes: created time, batch, file and row.

Each row has one byte, the mark: two bits for each of the four numbers, which say how many bytes it takes. The created time
is its distance from the event time, doubled, and less one and turned over if it is negative: small in either direction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featurestore.arrays import Ints

Bytes = npt.NDArray[np.uint8]

_WIDTHS = np.array([(0, 4, 5, 8), (1, 2, 4, 8), (0, 1, 2, 4), (2, 3, 4, 8)])
_MARKS = np.arange(256)
_CODES = _MARKS[:, None] >> 2 * np.arange(4) & 3
"""Of each mark: the four codes of widths."""
_TAKEN = (np.arange(8) < _WIDTHS[np.arange(4), _CODES][:, :, None]).reshape(256, 32)
"""Of each mark: which bytes of the four numbers there are."""
SIZES: Ints = _TAKEN.sum(axis=1)
"""Of each mark: bytes of the row's four numbers."""


def pack_identities(event_us: Ints, created_us: Ints, *numbers: npt.NDArray[Any]) -> tuple[Bytes, Bytes]:
    """The marks of all rows, and the bytes of all rows.

    >>> one = [np.array([n]) for n in (1000, 1000, 7, 0, 300)]
    >>> marks, data = pack_identities(*one)
    >>> marks.tolist(), data.tolist()
    ([0], [7, 44, 1])
    """
    distance = created_us - event_us
    distance = (distance << 1) ^ (distance >> 63)
    four = np.stack([distance, *(number.astype(np.int64) for number in numbers)], axis=1).view(np.uint64)
    # A file that is negative keeps its four bytes.
    four[:, 2] &= np.uint64(0xFFFFFFFF)
    marks = np.zeros(len(four), np.uint8)
    for place, widths in enumerate(_WIDTHS.tolist()):
        for width in widths[:-1]:
            marks += ((four[:, place] >> np.uint64(8 * width)) > 0).astype(np.uint8) << 2 * place
    data: Bytes = four.astype("<u8").view(np.uint8)[_TAKEN[marks]]
    return marks, data


def unpack_identities(event_us: Ints, marks: Bytes, data: Bytes) -> list[Ints]:
    """Created time, batch, file and row of each row.

    >>> event_us, created_us = np.array([5, 5]), np.array([-(1 << 62), 6])
    >>> numbers = np.array([1, 1 << 40]), np.array([-1, 300]), np.array([1 << 20, 0])
    >>> marks, data = pack_identities(event_us, created_us, *numbers)
    >>> [column.tolist() for column in unpack_identities(event_us, marks, data)] == [
    ...     column.tolist() for column in (created_us, *numbers)
    ... ]
    True
    """
    four = np.zeros((len(marks), 32), np.uint8)
    four[_TAKEN[marks]] = data
    distance, batch, file, row = four.view("<i8").astype(np.int64).T
    distance = (distance.view(np.uint64) >> np.uint64(1)).astype(np.int64) ^ -(distance & 1)
    return [event_us + distance, batch, file.astype(np.int32).astype(np.int64), row]
