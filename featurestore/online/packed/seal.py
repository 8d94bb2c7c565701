"""The checksum at the end of a packed value, which covers its build and its key too.

A CRC-32 whose own bytes follow what it covers leaves the same rest for all: so a value is checked in one pass, and
without a copy (https://www.zlib.net/crc_v3.txt). It begins with the whole name of the build and the name of the key, so that a
value under another entity's key, or another view's, is told as well as one with a bit turned over.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from zlib import crc32

import numpy as np
import pyarrow as pa

_REST = 0x2144DF1C
SEAL = np.dtype("<u4")


def sealed(build: int, names: Sequence[bytes], values: pa.Array) -> pa.Array:
    """The values, ``large_binary`` without nulls, each with a checksum in the place of its last four bytes.

    ``build``: the CRC-32 of the build's whole name. ``names``: those of the keys.

    >>> values = sealed(9, [b"fs:k"], pa.array([b"abc1234"], pa.large_binary())).to_pylist()
    >>> broken(9, [b"fs:k"], values), broken(9, [b"fs:j"], values), broken(8, [b"fs:k"], values)
    ([], [0], [0])
    """
    offsets = np.frombuffer(values.buffers()[1], np.int64)[: len(values) + 1]
    ends = offsets[1:] - SEAL.itemsize
    data = np.frombuffer(values.buffers()[2] or b"", np.uint8).copy()
    view = memoryview(data)  # type: ignore[arg-type]
    sums = [
        crc32(view[low:high], crc32(name, build))
        for name, low, high in zip(names, offsets.tolist(), ends.tolist(), strict=False)
    ]
    data[ends[:, None] + np.arange(SEAL.itemsize)] = (
        np.array(sums, SEAL).view(np.uint8).reshape(-1, SEAL.itemsize)
    )
    return pa.Array.from_buffers(values.type, len(values), [None, values.buffers()[1], pa.py_buffer(data)])


def broken(build: int, names: Sequence[bytes], values: Sequence[bytes]) -> list[int]:
    """Places of values that are not what was written under the keys with these names in this build."""
    rests = list(map(crc32, values, map(crc32, names, repeat(build))))
    if rests.count(_REST) == len(rests):
        return []
    return [place for place, rest in enumerate(rests) if rest != _REST]
