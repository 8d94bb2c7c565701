"""Types of numpy arrays, and what numpy lacks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]
"""Indexes of values in a list of them."""
Statuses = npt.NDArray[np.uint8]
"""See :class:`featurestore.views.value_status.Status`."""


def running_sums(terms: Ints | Flags) -> Ints:
    """Sums of all terms before each index, and of all.

    >>> running_sums(np.array([2, 3])).tolist()
    [0, 2, 5]
    """
    sums = np.zeros(len(terms) + 1, np.int64)
    np.cumsum(terms, out=sums[1:])
    return sums


def numbers(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """The numbers of an Arrow array without nulls. Its own ``to_numpy`` would load pandas, which takes a second."""
    whole = column.combine_chunks() if hasattr(column, "chunks") else column
    return np.from_dlpack(whole)


def arrow_flags(flags: Flags) -> pa.Array:
    """As an Arrow array. ``pa.array`` and ``pa.scalar`` would load pandas, to ask whether it is one of its series."""
    import pyarrow as pa

    return pa.Array.from_buffers(
        pa.bool_(), len(flags), [None, pa.py_buffer(np.packbits(flags, bitorder="little").tobytes())]
    )
