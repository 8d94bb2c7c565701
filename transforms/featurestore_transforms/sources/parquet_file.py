"""A Parquet file as a source, read by Arrow: row group by row group, and only the columns that are asked for.

Checksums of pages are verified where they are there. What the footer counts is held against the pages before
anything of them is unpacked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.arrivals.arrival import Arrival
from featurestore_transforms.sources.arrow_types import UntakenType
from featurestore_transforms.sources.arrow_values import ColumnTypes
from featurestore_transforms.sources.columnar_file import ColumnarFile
from featurestore_transforms.sources.foreign import instead
from featurestore_transforms.sources.int96 import joined, micros_type
from featurestore_transforms.sources.parquet_pages import RowGroup, read_row_groups, unfolded_bytes
from featurestore_transforms.sources.range_file import RangeFile
from featurestore_transforms.sources.reader import UnreadableArrival
from featurestore_transforms.steps.column_names import ColumnNames

Flags = npt.NDArray[np.bool_]
_MARK = b"PAR1"
_ENCRYPTED_MARK = b"PARE"
_LEAST_BYTES = 12
"""Of a file with two marks and the length of its footer."""
_START_BYTES = 1024
_PIECE_ROWS, _PIECE_BYTES = 65_536, 32 << 20
_ROOM = 4
"""1 / _ROOM of the memory may be taken by one page, or by what is read ahead."""
_UNFOLDING = 1000
"""A file whose values take so many times its bytes, and more than the memory, is a bomb or as good as one."""
_BUFFER_BYTES = 1 << 20
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 16, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 16}
"""Bytes of a value in memory, of a string without its characters."""


class ParquetFile(ColumnarFile):
    """Rows and types come from the footer. ``arrow_schema``: as it has them, with ids of fields as ``PARQUET:field_id``."""

    def __init__(self, arrival: Arrival, memory_bytes: int) -> None:
        self.arrival = arrival
        self._memory_bytes = memory_bytes
        with RangeFile(arrival) as file:
            start, end = (
                file.read_at(0, len(_MARK)),
                file.read_at(max(0, arrival.size_bytes - len(_MARK)), len(_MARK)),
            )
            if _ENCRYPTED_MARK in (start, end):
                raise UnreadableArrival("file:unsupported", "the Parquet file is encrypted")
            if start != _MARK:
                what = instead(file.read_at(0, min(_START_BYTES, arrival.size_bytes)))
                raise UnreadableArrival(
                    "file:format", f"not a Parquet file: {what or 'it does not begin with PAR1'}"
                )
            if end != _MARK or arrival.size_bytes < _LEAST_BYTES:
                raise UnreadableArrival("file:truncated", "the Parquet file does not end with PAR1")
            _, self._groups = read_row_groups(file.read_at, arrival.size_bytes, memory_bytes // _ROOM)
            self._footer = pq.read_metadata(file.arrow())
            columns = self._footer.schema
            has_int96 = any(
                columns.column(leaf).physical_type == "INT96" for leaf in range(self._footer.num_columns)
            )
            # Only a file that is opened has times of 96 bits in seconds; otherwise the footer says the same for less.
            schema = self._open(file, "s").schema_arrow if has_int96 else columns.to_arrow_schema()
        # A group without fields, as some write `{}`, has no values and says nothing about a type.
        schema = pa.schema([field for field in schema if _leaf_count(field.type)])
        self.arrow_schema = schema
        self.names = ColumnNames.of(schema.names)
        self._leaves = _leaves(self._footer, self._groups, schema)
        self._int96 = [
            name
            for name, leaves in self._leaves.items()
            if has_int96 and any(columns.column(leaf).physical_type == "INT96" for leaf in leaves)
        ]
        plain, refused = _plain_times(schema, _intervals(self._footer, self._leaves))
        self._take(ColumnTypes.of(plain, self.names.originals, refused))

    def _frames(self, columns: Collection[str]) -> Iterator[pl.DataFrame]:
        wanted = [self.names.originals[name] for name in self._types.taken if name in columns]
        first, unfolded = 0, 0
        with RangeFile(self.arrival) as file:
            for group, row_group in enumerate(self._groups):
                rows = row_group.rows
                size = self._measured(file, group, wanted)
                unfolded += size
                self._require_size(unfolded)
                begun = first
                piece_rows = max(1, min(_PIECE_ROWS, _PIECE_BYTES * rows // max(size, 1)))
                for batch, odd in self._batches(file, group, wanted, piece_rows):
                    yield self._types.frame(batch, columns, first, self._memory_bytes // _ROOM, odd)
                    first += batch.num_rows
                if first - begun != rows:
                    raise UnreadableArrival(
                        "file:corrupt",
                        f"row group {group}: the footer counts {rows:,} rows, got {first - begun:,}",
                    )

    def _measured(self, file: RangeFile, group: int, wanted: Sequence[str]) -> int:
        """About what the wanted columns of the row group take; their bytes are read ahead if there is room."""
        row_group, schema = self._groups[group], self._footer.schema
        leaves = [leaf for name in wanted for leaf in self._leaves[name]]
        room = self._memory_bytes // _ROOM
        ranges = [(row_group.chunks[leaf].start, row_group.chunks[leaf].end) for leaf in leaves]
        file.fetch(ranges if sum(end - start for start, end in ranges) <= room else [])
        size = 0
        for leaf in leaves:
            column = schema.column(leaf)
            width = _WIDTHS.get(column.physical_type, column.length)
            size += unfolded_bytes(
                row_group, leaf, width, column.max_repetition_level > 0, file.read_at, room
            )
        return size

    def _batches(
        self, file: RangeFile, group: int, wanted: Sequence[str], piece_rows: int
    ) -> Iterator[tuple[pa.RecordBatch, Mapping[str, Flags]]]:
        """Rows of the group, and in which a time of 96 bits does not fit, by column."""
        if not wanted:
            left = self._groups[group].rows
            while left > 0:
                rows = min(left, piece_rows)
                yield pa.RecordBatch.from_struct_array(pa.nulls(rows, pa.struct([]))), {}
                left -= rows
            return
        batches = self._read(file, group, wanted, piece_rows, "s")
        int96 = [name for name in wanted if name in self._int96]
        if not int96:
            yield from ((batch, {}) for batch in batches)
            return
        for batch, nanos in zip(batches, self._read(file, group, int96, piece_rows, "ns"), strict=True):
            odd = {}
            for name in int96:
                values, odd[name] = joined(batch.column(name), nanos.column(name))
                batch = batch.set_column(batch.schema.get_field_index(name), name, values)
            yield batch, odd

    def _read(
        self, file: RangeFile, group: int, wanted: Sequence[str], piece_rows: int, unit: str
    ) -> Iterator[pa.RecordBatch]:
        # By the paths of their leaves: a name may hold a dot.
        paths = [self._footer.schema.column(leaf).path for name in wanted for leaf in self._leaves[name]]
        batches: Iterator[pa.RecordBatch] = self._open(file, unit).iter_batches(
            piece_rows, row_groups=[group], columns=paths
        )
        return batches

    def _open(self, file: RangeFile, unit: str) -> pq.ParquetFile:
        """``unit``: of times of 96 bits."""
        return pq.ParquetFile(
            file.arrow(),
            metadata=self._footer,
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
            coerce_int96_timestamp_unit=unit,
            page_checksum_verification=True,
        )

    def _require_size(self, unfolded_bytes: int) -> None:
        if unfolded_bytes > max(self._memory_bytes, _UNFOLDING * self.arrival.size_bytes):
            raise UnreadableArrival(
                "file:tooLarge",
                f"{self.arrival.size_bytes:,} bytes unfold to more than {unfolded_bytes:,}, "
                f"and a run has {self._memory_bytes:,}. Raise spec.resources.memory if this is meant",
            )


def _leaves(footer: pq.FileMetaData, groups: Sequence[RowGroup], schema: pa.Schema) -> dict[str, list[int]]:
    """Column to its leaves, which stand in the order of the columns."""
    leaves: dict[str, list[int]] = {}
    first = 0
    for field in schema:
        count = _leaf_count(field.type)
        leaves[field.name] = list(range(first, first + count))
        first += count
    if first != footer.num_columns or any(len(group.chunks) != first for group in groups):
        raise UnreadableArrival(
            "file:corrupt", f"the schema has {first:,} leaves, and the footer {footer.num_columns:,} columns"
        )
    return leaves


def _leaf_count(dtype: pa.DataType) -> int:
    if isinstance(dtype, pa.BaseExtensionType):
        return _leaf_count(dtype.storage_type)
    if pa.types.is_dictionary(dtype):
        return _leaf_count(dtype.value_type)
    if pa.types.is_nested(dtype):
        return sum(_leaf_count(dtype.field(n).type) for n in range(dtype.num_fields))
    return 1


def _plain_times(schema: pa.Schema, refused: Mapping[str, str]) -> tuple[pa.Schema, dict[str, str]]:
    """The schema with times of 96 bits in microseconds, and the columns that are refused."""
    fields, reasons = [], dict(refused)
    for field in schema:
        try:
            fields.append(field.with_type(micros_type(field.type)))
        except UntakenType as error:
            fields.append(field)
            reasons[field.name] = str(error)
    return pa.schema(fields), reasons


def _intervals(footer: pq.FileMetaData, leaves: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Columns that hold intervals, which Arrow takes for bytes."""
    return {
        name: "interval, and no table holds such values"
        for name, places in leaves.items()
        if any(footer.schema.column(leaf).converted_type == "INTERVAL" for leaf in places)
    }
