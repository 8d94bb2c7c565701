"""Types of numpy arrays, and what numpy lacks for them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
