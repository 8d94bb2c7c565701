"""One packed value without Arrow, as the windows of one entity are computed from it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from featurestore.online.entity_windows import stored_objects
from featurestore.online.layout import ROWS
from featurestore.online.packed import fields
from featurestore.online.packed.heap import Heap
from featurestore.online.packed.newest_row import NewestRow
from featurestore.online.packed.packing import COUNTED, HEAD, NULLS, Packing, SectionPacking

Columns = dict[str, list[Any]]


class PackedEntity:
    """See :class:`featurestore.online.entity_windows.KeptEntity`. ``value``: found to be sound.

    ``newest``: reads the rows of such values, which stand before its other sections.
    """

    def __init__(self, packing: Packing, newest: NewestRow, value: bytes) -> None:
        self._packing, self._value = packing, value
        self.published_us = Packing.published_us(value)
        self._counts: Sequence[int] = (0,) * len(packing.others)
        self._starts: list[int] = []
        self._columns: dict[int, Columns] = {}
        if value[0] & COUNTED:
            self._counts = struct.unpack_from(f"<{1 + len(packing.others)}I", value, HEAD.itemsize)[1:]
            self._starts.append(newest.end(value))

    def column(self, section: int, name: str) -> Sequence[Any]:
        place = section - ROWS - 1
        if not self._counts[place]:
            return ()
        while len(self._starts) <= place:
            self._pass_over(len(self._starts) - 1)
        if place not in self._columns:
            self._read(place)
        return self._columns[place][name]

    def _pass_over(self, place: int) -> None:
        """Find where the next section starts; its own start is known."""
        packing = self._packing.others[place]
        if not packing.has_heap:
            self._starts.append(self._starts[place] + self._counts[place] * packing.record.itemsize)
        else:
            self._read(place)

    def _read(self, place: int) -> None:
        """Read a section whose start is known, with which the start of the next one is."""
        packing, count, start = self._packing.others[place], self._counts[place], self._starts[place]
        if packing.has_lists:
            heap = Heap([self._value[start:]])
            read = packing.section(heap, np.array([count]), packing.schema.names)
            self._columns[place] = dict(
                zip(packing.schema.names, map(stored_objects, read.rows.columns), strict=True)
            )
            end = start + int(heap.taken[0])
        else:
            self._columns[place], end = _few_records(packing, self._value, start, count)
        if len(self._starts) == place + 1:
            self._starts.append(end)


def _few_records(packing: SectionPacking, value: bytes, start: int, count: int) -> tuple[Columns, int]:
    """The columns of a section without lists, and where its bytes end."""
    records = np.frombuffer(value, packing.record, count, start)
    end = start + records.nbytes
    columns: Columns = {}
    for field in packing.schema:
        listed = records[field.name].tolist()
        if fields.has_heap(field.type):
            listed, end = _texts(field.type, value, end, listed)
        elif pa.types.is_boolean(field.type):
            listed = list(map(bool, listed))
        if field.nullable:
            bit = packing.nullable.index(field.name)
            for row in np.flatnonzero(records[NULLS][:, bit >> 3] >> (bit & 7) & 1).tolist():
                listed[row] = None
        columns[field.name] = listed
    return columns, end


def _texts(kind: pa.DataType, value: bytes, start: int, sizes: Sequence[int]) -> tuple[list[Any], int]:
    texts: list[Any] = []
    for size in sizes:
        data = value[start : start + size]
        texts.append(data.decode() if pa.types.is_string(kind) else data)
        start += size
    return texts, start
