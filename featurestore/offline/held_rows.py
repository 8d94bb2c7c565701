"""Rows of a view that are in memory, read as its row groups are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa

from featurestore.arrays import Ints

T = TypeVar("T")


class HeldRows:
    """See :class:`featurestore.storage.row_groups.RowsByPosition`. Their order is that of the view's row groups."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows.combine_chunks()

    def scan(
        self, columns: Sequence[str], words: Sequence[str], use: Callable[[int, pa.Table], T]
    ) -> Iterator[T]:
        """What ``use(0, rows)`` makes of all rows. ``words`` is for those who read files."""
        yield use(0, self._rows.select(list(columns)))

    def fetch(self, schema: pa.Schema, positions: Ints) -> pa.Table:
        """The rows at the positions, as ``schema`` names and types them."""
        return self._rows.select(schema.names).take(pa.array(positions)).cast(schema)
