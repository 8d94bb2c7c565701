"""The packed value of an entity: all that is kept of it in one run of bytes (``docs/online-layout.md``).

    header │ section 0: records, heap │ section 1: records, heap │ … │ seal

A record holds what has a fixed width, and the lengths of what has not, whose bytes follow in the heap. Which
sections and columns there are is the definition's to say; the value says only how many records each has.

Packing and unpacking work on columns of many entities at once: no value becomes a Python object.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Ints, running_sums
from featurestore.online.entities import Section, Stored
from featurestore.online.layout import Form
from featurestore.online.packed import fields
from featurestore.online.packed.heap import ByteStream, Heap, UnreadableValue
from featurestore.online.packed.seal import SEAL, broken, sealed
from featurestore.online.versions import PACKED_LAYOUT

NULLS = "__nulls"
"""Field of a record: bits of the columns that may be null."""


class Packing:
    """How the entities of one definition are packed. ``prefix``: what stands before an entity's key in the store."""

    def __init__(self, form: Form, prefix: bytes) -> None:
        self._prefix = prefix
        self.header = np.dtype(
            [
                ("layout", "u1"),
                ("version", "<i8"),
                ("published_us", "<i8"),
                ("records", "<u4", (len(form.sections),)),
            ]
        )
        self.sections = [_SectionPacking(schema) for schema in form.sections]

    def pack(self, stored: Stored, version: int) -> pa.Array:
        """``large_binary`` per entity. ``version``: of the view's table that the values are of."""
        header = np.zeros(len(stored), self.header)
        header["layout"], header["version"], header["published_us"] = (
            PACKED_LAYOUT,
            version,
            stored.published_us,
        )
        each = np.arange(len(stored) + 1)
        pieces = []
        for place, (packing, section) in enumerate(zip(self.sections, stored.sections, strict=True)):
            ends = np.searchsorted(section.entity, each.astype(np.int32))
            header["records"][:, place] = np.diff(ends)
            if len(section.entity):
                pieces += [stream.pieces(ends) for stream in packing.streams(section.rows)]
        pieces.insert(0, _fixed(header).pieces(each))
        nothing = pa.scalar(b"", pa.large_binary())
        room = pa.scalar(bytes(SEAL.itemsize), pa.large_binary())
        return sealed(self._prefix, stored.keys, pc.binary_join_element_wise(*pieces, room, nothing))

    def unpack(
        self, keys: pa.Array, values: Sequence[bytes], columns: Sequence[Sequence[str]] | None = None
    ) -> Stored:
        """The entities with these keys. ``columns``: those of each section that are wanted; else all.

        Raises:
            Unreadable: a value is of another layout, or damaged.
        """
        require_sound([self._prefix + key for key in keys.to_pylist()], values)
        return self.unpack_sound(keys, values, columns)

    def unpack_sound(
        self, keys: pa.Array, values: Sequence[bytes], columns: Sequence[Sequence[str]] | None = None
    ) -> Stored:
        """:meth:`unpack` of values that were found to be sound."""
        heap = Heap(values)
        header = heap.records(self.header, np.ones(len(values), np.int64))
        sections = []
        for place, packing in enumerate(self.sections):
            wanted = packing.schema.names if columns is None else columns[place]
            counts = header["records"][:, place].astype(np.int64)
            sections.append(packing.section(heap, counts, wanted))
        heap.pass_over(np.full(len(values), SEAL.itemsize, np.int64))
        heap.require_end()
        return Stored(keys, header["published_us"].astype(np.int64), tuple(sections))


def require_sound(names: Sequence[bytes], values: Sequence[bytes]) -> None:
    """Raises UnreadableValue unless each value is what was written under this name of a key, in this layout."""
    places = broken(names, values)
    if not places:
        return
    value = values[places[0]]
    foreign = value[:1] != bytes([PACKED_LAYOUT])
    raise UnreadableValue(
        f"a value in the online store {'has another layout' if foreign else 'is damaged'}",
        where=names[places[0]].decode(errors="replace"),
        wanted=f"layout {PACKED_LAYOUT}, with a checksum of key and value",
        got=(f"layout {value[0]}" if foreign else f"{len(value):,} bytes") if value else "an empty value",
        hint="Does something else write to the same keys? The next publication rebuilds all of them",
    )


class _SectionPacking:
    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.nullable = [field.name for field in schema if field.nullable]
        layout = [(field.name, fields.field_type(field.type)) for field in schema]
        if self.nullable:
            layout.append((NULLS, np.dtype((np.uint8, (-(-len(self.nullable) // 8),)))))
        self.record = np.dtype(layout)
        self._has_heap = any(fields.has_heap(field.type) for field in schema)

    def streams(self, rows: pa.RecordBatch) -> list[ByteStream]:
        records = np.zeros(rows.num_rows, self.record)
        heap: list[ByteStream] = []
        for name in self.schema.names:
            records[name], more = fields.pack(rows.column(name))
            heap += more
        if self.nullable:
            null = [rows.column(name).is_null().to_numpy(zero_copy_only=False) for name in self.nullable]
            records[NULLS] = np.packbits(np.stack(null, axis=1), axis=1, bitorder="little")
        return [_fixed(records), *heap]

    def section(self, heap: Heap, counts: Ints, wanted: Sequence[str]) -> Section:
        """``counts``: how many records each entity has. Rows have the wanted columns, or there are none."""
        schema = pa.schema([self.schema.field(name) for name in wanted])
        if not (wanted or self._has_heap):
            heap.pass_over(counts * self.record.itemsize)
            return Section.empty(schema)
        records, ends = heap.records(self.record, counts), running_sums(counts)
        found: dict[str, pa.Array] = {}
        for field in self.schema:
            if field.name in wanted:
                null = self._null(records, field.name) if field.nullable else None
                found[field.name] = fields.unpack(field.type, records[field.name], null, heap, ends)
            else:
                fields.skip(field.type, records[field.name], heap, ends)
        if not wanted:
            return Section.empty(schema)
        entity = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        return Section(entity, pa.RecordBatch.from_arrays([found[name] for name in wanted], schema=schema))

    def _null(self, records: npt.NDArray[np.void], name: str) -> npt.NDArray[np.bool_] | None:
        bit = self.nullable.index(name)
        null: npt.NDArray[np.bool_] = (records[NULLS][:, bit // 8] >> (bit % 8) & 1).astype(np.bool_)
        return null if null.any() else None


def _fixed(records: npt.NDArray[np.void]) -> ByteStream:
    return ByteStream(np.full(len(records), records.itemsize, np.int64), records.view(np.uint8))
