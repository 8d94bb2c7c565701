"""Values of a view with more rows than fit, for all labels of a version: each row of either is read once, whatever their number.

::

    labels ──hash of keys──▶ part 0 … n ─┐
                                         ├─ joined part by part ──number of the label──▶ bucket 0 … m ──▶ in order
    view ────hash of keys──▶ part 0 … n ─┘

All three stand on this machine's disk meanwhile. A part of the view fits into memory; its labels come in pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from featurestore.arrays import Ints
from featurestore.client.entity_rows import key_table
from featurestore.client.resolution import ViewRead
from featurestore.client.times import microseconds
from featurestore.errors import Conflict
from featurestore.hashing import key_hashes
from featurestore.offline.held_rows import HeldRows
from featurestore.offline.join import Times, joined_schema, joined_with
from featurestore.resources.outputs import EVENT_TIME
from featurestore.storage.delta import Table
from featurestore.storage.row_groups import Bounds, RowGroups
from featurestore.views.feature_query import FeatureQuery, FeatureValues
from featurestore.views.schema import TIMESTAMP, arrow_type
from featurestore_transforms.training.freed_memory import give_back
from featurestore_transforms.training.row_order import NUMBER, cut
from featurestore_transforms.training.row_spool import RowSpool

_TIME = "__time"
_WAITING_SHARE = 4
"""Of the room, what may wait to be written: it is there three times while it is put in order."""


class MatchedView:
    """``table``: of the view, as it is pinned; None if it has none. ``folder``: has room. ``parts``: each fits.

    ``bucket_rows``: so many labels are matched, and their values read, at once. ``room``: bytes that may be decoded at once.
    """

    def __init__(
        self,
        read: ViewRead,
        table: Table | None,
        time: pa.Field,
        folder: Path,
        parts: int,
        bucket_rows: int,
        room: int,
    ) -> None:
        self._read, self._table, self._time = read, table, time
        self._parts, self._bucket_rows, self._room = parts, bucket_rows, room
        self._folder = folder
        folder.mkdir()
        keys = [pa.field(key.name, arrow_type(key.type)) for key in read.view.spec.entity.join_keys]
        labels = pa.schema([pa.field(NUMBER, pa.int64()), pa.field(_TIME, time.type), *keys])
        self._keys = pa.schema(keys)
        self._labels = RowSpool(folder / "labels", labels, room // _WAITING_SHARE)
        values = [
            field
            for number, output in enumerate(read.outputs)
            for field in (
                pa.field(f"value{number}", arrow_type(output.type)),
                pa.field(f"status{number}", pa.uint8()),
            )
        ]
        valued = pa.schema([pa.field(NUMBER, pa.int64()), pa.field(_TIME, TIMESTAMP), *values])
        self._values = RowSpool(folder / "values", valued, room // _WAITING_SHARE)
        self._added = 0
        self._latest_us: int | None = None
        self._bucket: tuple[int, pa.Table] | None = None

    def add(self, labels: pa.Table) -> None:
        """Labels that values are wanted for, with their :data:`featurestore_transforms.training.row_order.NUMBER`.

        Raises:
            RequestError: a key is of another type.
            StorageError: the disk is full.
        """
        if not len(labels):
            return
        keys, time = key_table(self._read, labels), labels.column(self._time.name)
        us, asked = microseconds(time, self._time.name)
        if asked.any():
            latest_us = int(us[asked].max())
            self._latest_us = latest_us if self._latest_us is None else max(latest_us, self._latest_us)
        rows = pa.table(
            [labels.column(NUMBER), time, *keys.columns], names=[NUMBER, _TIME, *keys.column_names]
        )
        self._labels.add(self._part_of(keys), rows)
        self._added += len(labels)

    def match(self, advanced: Callable[[int, int], None]) -> None:
        """Find the values of all labels that were added. ``advanced`` hears how many have them, and of how many.

        Raises:
            StorageError: storage did not answer, or the disk is full.
        """
        self._labels.flush()
        rows, done = self._parted(), 0
        for part in range(self._parts):
            held = HeldRows(rows.rows(part))
            for labels in cut(self._labels.batches(part), self._bucket_rows):
                self._keep(labels.column(NUMBER).to_numpy(), self._joined(held, labels))
                done += len(labels)
                give_back()
            advanced(done, self._added)
        self._values.flush()
        rows.delete()
        self._labels.delete()

    def values(self, numbers: Ints) -> FeatureValues:
        """Of the labels with these numbers, which rise.

        Raises:
            Conflict: one was not added.
            StorageError: the disk does not answer.
        """
        first, last = int(numbers[0]) // self._bucket_rows, int(numbers[-1]) // self._bucket_rows
        rows = pa.concat_tables([self._in_order(bucket) for bucket in range(first, last + 1)])
        known = rows.column(NUMBER).to_numpy()
        place = np.minimum(np.searchsorted(known, numbers), max(len(known) - 1, 0))
        if not len(known) or (known[place] != numbers).any():
            raise Conflict(
                "shards were deleted while their version was made", hint="The next run makes them again"
            )
        rows = rows.take(pa.array(place)).combine_chunks()
        return FeatureValues(
            {output.name: _array(rows.column(f"value{n}")) for n, output in enumerate(self._read.outputs)},
            {
                output.name: rows.column(f"status{n}").to_numpy()
                for n, output in enumerate(self._read.outputs)
            },
            _array(rows.column(_TIME)),
        )

    def _parted(self) -> RowSpool:
        """The rows of the view that can matter, by the part of their entity."""
        schema = joined_schema(self._read.view.spec, self._read.outputs)
        parted = RowSpool(self._folder / "rows", schema, self._room // _WAITING_SHARE)
        if self._table is not None and self._latest_us is not None:
            bounds = {EVENT_TIME: Bounds(None, self._latest_us)}
            groups = RowGroups.of(self._table, bounds, at_once_bytes=self._room)

            def of_group(start: int, rows: pa.Table) -> tuple[Ints, pa.Table]:
                typed = rows.select(schema.names).cast(schema)
                return self._part_of(typed.select(self._keys.names)), typed

            for parts, rows in groups.scan(schema.names, (), of_group):
                parted.add(parts, rows)
        parted.flush()
        give_back()
        return parted

    def _part_of(self, keys: pa.Table) -> Ints:
        return (key_hashes(keys) % np.uint64(self._parts)).astype(np.int64)

    def _joined(self, rows: HeldRows, labels: pa.Table) -> FeatureValues:
        view = self._read.view
        keys = labels.select(self._keys.names)
        query = FeatureQuery(view.name, view.spec, view.digest, self._read.outputs, keys)
        return joined_with(rows, query, Times(*microseconds(labels.column(_TIME), self._time.name)))

    def _keep(self, numbers: Ints, values: FeatureValues) -> None:
        columns = {NUMBER: pa.array(numbers), _TIME: values.event_times}
        for number, output in enumerate(self._read.outputs):
            columns[f"value{number}"] = values.columns[output.name]
            columns[f"status{number}"] = pa.array(values.statuses[output.name])
        self._values.add(numbers // self._bucket_rows, pa.table(columns))

    def _in_order(self, bucket: int) -> pa.Table:
        """Values of labels that are near in the order. A piece of labels may begin where the one before has ended."""
        if self._bucket is None or self._bucket[0] != bucket:
            self._bucket = None
            rows = self._values.rows(bucket).combine_chunks()
            order = np.argsort(rows.column(NUMBER).to_numpy())
            self._bucket = bucket, rows.take(pa.array(order))
        return self._bucket[1]


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
