"""Labels in the order of a version, however many there are: part by part, by time or shuffled, and cut into pieces.

They are kept on this machine's disk meanwhile, in a database that sorts with bounded memory. Each order is total, down
to what identifies a row, so that neither threads nor memory decide anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from featurestore.errors import StorageError
from featurestore.hashing import Hashes, combined, key_hashes
from featurestore.resources.training_set import Split, SplitBy, TrainingSetSpec
from featurestore.storage.delta import BATCH, FILE, ROW
from featurestore_transforms.training.label_rows import IDENTITY, LabelRows

NUMBER = "__number"
"""Column of labels in order: their place in it, from 0 on, through all parts."""
_TIME, _ORDER, _PART = "__time", "__order", "__part"
_SPACE = 1 << 64
_THREAD_BYTES = 32 * 2**20


class OrderedLabels:
    """``schema``: of the labels' columns. ``folder``: has room for them. ``left_out``: rows that have no place in a set.

    Raises:
        StorageError: the disk is full.
    """

    def __init__(self, spec: TrainingSetSpec, schema: pa.Schema, folder: Path, memory_bytes: int) -> None:
        self._spec, self._schema = spec, schema
        with _on_disk():
            self._database = duckdb.connect(
                str(folder / "labels.duckdb"),
                config={
                    "memory_limit": f"{memory_bytes // 2**20}MiB",
                    # Each pins some blocks, whatever the limit.
                    "threads": max(1, min(os.cpu_count() or 1, memory_bytes // _THREAD_BYTES)),
                    "temp_directory": str(folder / "spill"),
                    "preserve_insertion_order": "false",
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                },
            )
        self._database.execute("SET TimeZone = 'UTC'")
        self._created = False
        self._shares = [1.0] if spec.split is None else [share for _, share in spec.split.parts.shares()]
        self.left_out = 0

    def close(self) -> None:
        self._database.close()

    def add(self, rows: LabelRows) -> None:
        """Keep rows. One without a time is left out: it has no place in the past.

        Raises:
            StorageError: the disk is full.
        """
        time = rows.table.column(self._spec.labels.timestamp_field)
        self.left_out += rows.unknown + time.null_count
        table = rows.table.filter(time.is_valid())
        if not len(table):
            return
        names = [f"c{n}" for n in range(len(self._schema))]
        columns = dict(zip(names, table.columns, strict=False))
        time_us = table.column(self._spec.labels.timestamp_field).cast(_us(time.type)).cast(pa.int64())
        identity = {name: table.column(name) for name in IDENTITY.names}
        if self._spec.shards.shuffle is not None:
            ids = [column.cast(pa.int64()).to_numpy().astype(np.uint64) for column in identity.values()]
            order = pa.array(combined(ids, self._spec.shards.shuffle.seed))
        else:
            order = pa.repeat(pa.scalar(0, pa.uint64()), len(table))
        part = pa.array(self._hash_part(table), pa.int8())
        spooled = pa.table({**columns, **identity, _TIME: time_us, _ORDER: order, _PART: part})
        with _on_disk():
            self._database.register("piece", spooled)
            made = "INSERT INTO labels" if self._created else "CREATE TABLE labels AS"
            self._database.execute(f"{made} SELECT * FROM piece")
            self._database.unregister("piece")
        self._created = True

    def _hash_part(self, table: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
        """Of a split by hash, the part of each row; else 0."""
        split = self._spec.split
        if split is None or split.by is not SplitBy.HASH:
            return np.zeros(len(table), np.int8)
        ends = [min(int(share * _SPACE), _SPACE - 1) for share in _running(self._shares)[:-1]]
        bounds = np.array(ends, np.uint64)
        return np.searchsorted(bounds, split_hashes(split, table), side="right").astype(np.int8)

    def count(self) -> int:
        """How many rows there are."""
        if not self._created:
            return 0
        return self._one("SELECT count(*) FROM labels")[0]

    def _part(self) -> str:
        """The part of a row, in SQL. Of a split by time, rows of one time are together, where that is nearest to the shares."""
        split = self._spec.split
        if split is None or split.by is not SplitBy.TIME:
            return _PART
        total = self.count()
        cuts = []
        for share in _running(self._shares)[:-1]:
            wanted = share * total
            place = min(int(wanted), total - 1)
            [time] = self._one(f"SELECT {_TIME} FROM labels ORDER BY {_TIME} LIMIT 1 OFFSET {place}")
            before, until = self._one(
                f"SELECT count(*) FILTER ({_TIME} < {time}), count(*) FILTER ({_TIME} <= {time}) FROM labels"
            )
            is_later = wanted - before < until - wanted
            cuts.append(f"CAST({_TIME} {'>=' if is_later else '>'} {time} AS INTEGER)")
        return " + ".join(cuts) or "0"

    def _one(self, query: str) -> list[int]:
        return [int(value) for value in self._database.execute(query).fetchall()[0]]

    def pieces(self, rows: int, advanced: Callable[[int], None]) -> Iterator[tuple[int, pa.Table]]:
        """Number of a part and ``rows`` of its rows, fewer at its end; all of the first part before the second.

        ``table[<the labels' columns>, __number]``, the same each time. ``advanced`` hears of rows that were given.

        Raises:
            StorageError: the disk is full.
        """
        if not self._created:
            return
        names = ", ".join(f"c{n}" for n in range(len(self._schema)))
        order = _ORDER if self._spec.shards.shuffle is not None else _TIME
        with _on_disk():
            part, first = self._part(), 0
            for number in range(len(self._shares)):
                ordered = self._database.sql(
                    f"SELECT {names} FROM labels WHERE {part} = {number} ORDER BY {order}, {BATCH}, {FILE}, {ROW}"
                )
                for table in cut(pa.RecordBatchReader.from_stream(ordered), rows):
                    piece = table.rename_columns(self._schema.names).cast(self._schema)
                    numbers = pa.array(np.arange(first, first + len(piece)))
                    yield number, piece.append_column(NUMBER, numbers)
                    first += len(piece)
                    advanced(len(piece))


def split_hashes(split: Split, table: pa.Table) -> Hashes:
    """What decides on the part of each row: the keys of its entity alone."""
    return key_hashes(table.select(list(split.keys)))


def cut(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Tables of so many rows, fewer at the end, whatever the batches are."""
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        while len(batch):
            part = batch.slice(0, rows - held)
            batch = batch.slice(len(part))
            waiting.append(part)
            held += len(part)
            if held == rows:
                yield pa.Table.from_batches(waiting)
                waiting, held = [], 0
    if held:
        yield pa.Table.from_batches(waiting)


def _running(shares: list[float]) -> list[float]:
    sums, total = [], 0.0
    for share in shares:
        total += share
        sums.append(total)
    return sums


def _us(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else pa.timestamp("us")


@contextmanager
def _on_disk() -> Iterator[None]:
    """What the database says of a full disk becomes a StorageError."""
    try:
        yield
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise StorageError(
            "the labels cannot be kept on this machine's disk", where="labels", got=str(error)
        ) from error
