"""What a served value is: there, null, unknown, or too old."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from featurestore.arrays import Statuses


class Status(IntEnum):
    """Status of one value, offline and online alike. The numbers are those of Feast's ``FieldStatus``.

    >>> print(Status.PRESENT, int(Status.PRESENT))
    PRESENT 1
    """

    INVALID = 0
    """What computes the value cannot give it, or it does not fit its type: only of a view on demand."""
    PRESENT = 1
    """A row matched and has a value."""
    NULL_VALUE = 2
    """A row matched and its value is null; a window that has nothing to aggregate."""
    NOT_FOUND = 3
    """The entity has no row at or before the time, or its key is null."""
    OUTSIDE_MAX_AGE = 4
    """The entity's newest row is older than the view's ttl; its value is not served."""

    def __str__(self) -> str:
        return self.name


def with_nulls(values: pa.Array, statuses: Statuses) -> Statuses:
    """The statuses, with ``NULL_VALUE`` where a row matched and its value is null."""
    import numpy as np

    if not values.null_count:
        return statuses
    null = values.is_null().to_numpy(zero_copy_only=False)
    return np.where(null & (statuses == Status.PRESENT), np.uint8(Status.NULL_VALUE), statuses)
