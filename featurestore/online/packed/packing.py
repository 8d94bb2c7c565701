"""The packed value of an entity: all that is kept of it in one run of bytes (``docs/online-layout.md``).

    head │ counts │ rows: records, nulls, identities, heap │ section 1: records, heap │ … │ seal

A record holds what has a fixed width, and the lengths of what has not, whose bytes follow in the heap. Which
sections and columns there are is the definition's to say; the value says only how many records each has, and nothing
if that is one row and no more.

Packing and unpacking work on columns of many entities at once: no value becomes a Python object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Ints, running_sums
from featurestore.online.entities import Section, Stored
from featurestore.online.layout import CREATED_US, EVENT_US, ROWS, Form
from featurestore.online.packed import fields
from featurestore.online.packed.heap import ByteStream, Heap, UnreadableValue
from featurestore.online.packed.row_identity import SIZES, pack_identities, unpack_identities
from featurestore.online.packed.seal import SEAL, broken, sealed
from featurestore.online.versions import PACKED_LAYOUT
from featurestore.storage.delta import BATCH, FILE, ROW

NULLS = "__nulls"
"""Field of a record: bits of the columns that may be null."""
HEAD = np.dtype("<i8")
"""Lowest four bits: the layout; then the two flags; from the second byte on: when the value was published."""
COUNTED, HAS_NULLS = 0x10, 0x20
"""Flags: records are counted, else there is one row and nothing else; rows have bits of nulls, else none is null."""
HEAD_BITS = 8
_LAYOUT_BITS = 0x0F
_IDENTITY = (CREATED_US, BATCH, FILE, ROW)


class Packing:
    """How the entities of one definition are packed. ``build``: the CRC-32 of the build's whole name."""

    def __init__(self, form: Form, build: int) -> None:
        self._build = build
        self.counts = np.dtype(("<u4", (len(form.sections),)))
        self.rows = _RowsPacking(form.sections[ROWS])
        self.others = [SectionPacking(schema) for schema in form.sections[ROWS + 1 :]]

    def pack(self, stored: Stored, names: Sequence[bytes]) -> pa.Array:
        """``large_binary`` per entity. ``names``: its keys in the store."""
        each = np.arange(len(stored) + 1)
        ends = [np.searchsorted(section.entity, each.astype(np.int32)) for section in stored.sections]
        counts = np.stack([np.diff(of_section) for of_section in ends], axis=1)
        counted = (counts[:, ROWS] != 1) | (counts[:, ROWS + 1 :] != 0).any(axis=1)
        rows = stored.sections[ROWS]
        nulls = self.rows.nulls(rows.rows)
        has_nulls = np.zeros(len(stored), np.bool_)
        has_nulls[rows.entity[nulls.any(axis=1)]] = True
        flags = PACKED_LAYOUT + COUNTED * counted + HAS_NULLS * has_nulls
        head = ((stored.published_us << HEAD_BITS) | flags).astype(HEAD)
        pieces = [
            _fixed(head).pieces(each),
            ByteStream(counted * self._counts_size, counts[counted].astype("<u4")).pieces(each),
        ]
        if len(rows.entity):
            streams = self.rows.streams(rows.rows, nulls, has_nulls[rows.entity])
            pieces += [stream.pieces(ends[ROWS]) for stream in streams]
        for place, packing in enumerate(self.others, ROWS + 1):
            section = stored.sections[place]
            if len(section.entity):
                pieces += [stream.pieces(ends[place]) for stream in packing.streams(section.rows)]
        nothing = pa.scalar(b"", pa.large_binary())
        room = pa.scalar(bytes(SEAL.itemsize), pa.large_binary())
        values = pc.binary_join_element_wise(*pieces, room, nothing)
        return sealed(self._build, names, values)

    @staticmethod
    def published_us(value: bytes) -> int:
        """When a value was published, by its head."""
        return int.from_bytes(value[: HEAD.itemsize], "little", signed=True) >> HEAD_BITS

    def unpack(self, keys: pa.Array, names: Sequence[bytes], values: Sequence[bytes]) -> Stored:
        """The entities with these keys, which have these names in the store.

        Raises:
            Unreadable: a value is of another layout, or damaged.
        """
        self.require_sound(names, values)
        return self.unpack_sound(keys, values)

    def unpack_sound(
        self, keys: pa.Array, values: Sequence[bytes], columns: Sequence[Sequence[str]] | None = None
    ) -> Stored:
        """:meth:`unpack` of values that were found to be sound. ``columns``: of each section those that are wanted; else all."""
        heap = Heap(values)
        head = heap.records(HEAD, np.ones(len(values), np.int64)).astype(np.int64)
        counted = (head & COUNTED) != 0
        counts = np.zeros((len(values), self._counts_size // 4), np.int64)
        counts[:, ROWS] = 1
        counts[counted] = heap.records(np.dtype([("each", self.counts)]), counted.astype(np.int64))["each"]
        names = self.rows.schema.names if columns is None else columns[ROWS]
        sections = [self.rows.section(heap, counts[:, ROWS], (head & HAS_NULLS) != 0, names)]
        for place, packing in enumerate(self.others, ROWS + 1):
            names = packing.schema.names if columns is None else columns[place]
            sections.append(packing.section(heap, counts[:, place], names))
        heap.pass_over(np.full(len(values), SEAL.itemsize, np.int64))
        heap.require_end()
        return Stored(keys, head >> HEAD_BITS, tuple(sections))

    def require_sound(self, names: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Raises UnreadableValue unless each value is what was written under this name of a key, in this layout."""
        places = broken(self._build, names, values)
        if not places:
            return
        value = values[places[0]]
        layout = value[0] & _LAYOUT_BITS if value else PACKED_LAYOUT
        foreign = layout != PACKED_LAYOUT
        raise UnreadableValue(
            f"a value in the online store {'has another layout' if foreign else 'is damaged'}",
            where=names[places[0]].decode(errors="replace"),
            wanted=f"layout {PACKED_LAYOUT}, with a checksum of build, key and value",
            got=(f"layout {layout}" if foreign else f"{len(value):,} bytes") if value else "an empty value",
            hint="Does something else write to the same keys? The next publication rebuilds all of them",
        )

    @property
    def _counts_size(self) -> int:
        return self.counts.itemsize


class _RowsPacking:
    """The section of rows: what tells them apart takes few bytes, and bits of nulls are there only where one is null."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.nullable = [field.name for field in schema if field.nullable]
        self._plain = [field for field in schema if field.name not in _IDENTITY]
        self.record = np.dtype([(field.name, fields.field_type(field.type)) for field in self._plain])
        self.nulls_size = -(-len(self.nullable) // 8)

    def nulls(self, rows: pa.RecordBatch) -> npt.NDArray[np.uint8]:
        """Bits of nulls, one line per row."""
        return _null_bits(rows, self.nullable)

    def streams(
        self, rows: pa.RecordBatch, nulls: npt.NDArray[np.uint8], has_nulls: npt.NDArray[np.bool_]
    ) -> list[ByteStream]:
        """``has_nulls``: of each row, whether its entity has bits of nulls."""
        records = np.zeros(rows.num_rows, self.record)
        heap: list[ByteStream] = []
        for field in self._plain:
            records[field.name], more = fields.pack(rows.column(field.name))
            heap += more
        integers = [rows.column(name).to_numpy(zero_copy_only=False) for name in (EVENT_US, *_IDENTITY)]
        marks, data = pack_identities(*integers)
        return [
            _fixed(records),
            ByteStream(has_nulls * self.nulls_size, nulls[has_nulls]),
            _fixed(marks),
            ByteStream(SIZES[marks], data),
            *heap,
        ]

    def section(
        self, heap: Heap, counts: Ints, has_nulls: npt.NDArray[np.bool_], wanted: Sequence[str]
    ) -> Section:
        """``counts``, ``has_nulls``: of each entity."""
        schema = pa.schema([self.schema.field(name) for name in wanted])
        records, ends = heap.records(self.record, counts), running_sums(counts)
        entity = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        nulls = np.zeros((len(entity), self.nulls_size), np.uint8)
        if has_nulls.any():
            bits = np.dtype([("each", np.uint8, (self.nulls_size,))])
            nulls[has_nulls[entity]] = heap.records(bits, counts * has_nulls)["each"]
        arrays: dict[str, pa.Array] = {}
        marks = heap.records(np.dtype(np.uint8), counts)
        sizes = np.diff(running_sums(SIZES[marks])[ends])
        if any(name in wanted for name in _IDENTITY):
            data = heap.records(np.dtype(np.uint8), sizes)
            columns = unpack_identities(records[EVENT_US].astype(np.int64), marks, data)
            for name, column in zip(_IDENTITY, columns, strict=True):
                arrays[name] = pa.array(column).cast(self.schema.field(name).type)
        else:
            heap.pass_over(sizes)
        for field in self._plain:
            if field.name in wanted:
                null = _null_flags(nulls, self.nullable, field.name) if field.nullable else None
                arrays[field.name] = fields.unpack(field.type, records[field.name], null, heap, ends)
            else:
                fields.skip(field.type, records[field.name], heap, ends)
        if not wanted:
            return Section.empty(schema)
        return Section(entity, pa.RecordBatch.from_arrays([arrays[name] for name in wanted], schema=schema))


class SectionPacking:
    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.nullable = [field.name for field in schema if field.nullable]
        layout = [(field.name, fields.field_type(field.type)) for field in schema]
        if self.nullable:
            layout.append((NULLS, np.dtype((np.uint8, (-(-len(self.nullable) // 8),)))))
        self.record = np.dtype(layout)
        self.has_heap = any(fields.has_heap(field.type) for field in schema)
        self.has_lists = any(pa.types.is_list(field.type) for field in schema)

    def streams(self, rows: pa.RecordBatch) -> list[ByteStream]:
        records = np.zeros(rows.num_rows, self.record)
        heap: list[ByteStream] = []
        for name in self.schema.names:
            records[name], more = fields.pack(rows.column(name))
            heap += more
        if self.nullable:
            records[NULLS] = _null_bits(rows, self.nullable)
        return [_fixed(records), *heap]

    def section(self, heap: Heap, counts: Ints, wanted: Sequence[str]) -> Section:
        """``counts``: how many records each entity has. Rows have the wanted columns, or there are none."""
        schema = pa.schema([self.schema.field(name) for name in wanted])
        if not (wanted or self.has_heap):
            heap.pass_over(counts * self.record.itemsize)
            return Section.empty(schema)
        records, ends = heap.records(self.record, counts), running_sums(counts)
        columns: dict[str, pa.Array] = {}
        for field in self.schema:
            if field.name in wanted:
                null = _null_flags(records[NULLS], self.nullable, field.name) if field.nullable else None
                columns[field.name] = fields.unpack(field.type, records[field.name], null, heap, ends)
            else:
                fields.skip(field.type, records[field.name], heap, ends)
        if not wanted:
            return Section.empty(schema)
        entity = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        return Section(entity, pa.RecordBatch.from_arrays([columns[name] for name in wanted], schema=schema))


def _null_bits(rows: pa.RecordBatch, nullable: Sequence[str]) -> npt.NDArray[np.uint8]:
    if not nullable:
        return np.zeros((rows.num_rows, 0), np.uint8)
    null = [rows.column(name).is_null().to_numpy(zero_copy_only=False) for name in nullable]
    return np.packbits(np.stack(null, axis=1), axis=1, bitorder="little")


def _null_flags(
    nulls: npt.NDArray[np.uint8], nullable: Sequence[str], name: str
) -> npt.NDArray[np.bool_] | None:
    bit = nullable.index(name)
    null: npt.NDArray[np.bool_] = (nulls[:, bit // 8] >> (bit % 8) & 1).astype(np.bool_)
    return null if null.any() else None


def _fixed(records: npt.NDArray[Any]) -> ByteStream:
    return ByteStream(np.full(len(records), records.itemsize, np.int64), records.view(np.uint8))
