"""Rows on this machine's disk, each of a part, so that a part is read without reading the others.

Rows wait in memory until they are so many, are then put in the order of their parts, and each part's go to the file as one
Arrow message. Where a message stands is remembered, so nothing is sorted that does not fit and no byte is read twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from featurestore.arrays import Ints
from featurestore.errors import StorageError


class RowSpool:
    """``schema``: of all rows. ``waiting_bytes``: so much of them is in memory before it is written.

    Raises:
        StorageError: the disk is full, or cannot be used; so does each method.
    """

    def __init__(self, path: Path, schema: pa.Schema, waiting_bytes: int) -> None:
        self._path, self._schema, self._waiting_bytes = path, schema, waiting_bytes
        self._waiting: list[tuple[Ints, pa.Table]] = []
        self._held_bytes, self._written_bytes = 0, 0
        self._messages: dict[int, list[tuple[int, int]]] = {}
        try:
            self._file = pa.OSFile(str(path), "wb")
        except OSError as error:
            raise self._refused(error) from error

    def add(self, parts: Ints, rows: pa.Table) -> None:
        """Keep rows. ``parts``: the number of the part of each."""
        if not len(rows):
            return
        self._waiting.append((parts, rows.cast(self._schema)))
        self._held_bytes += rows.nbytes
        if self._held_bytes >= self._waiting_bytes:
            self.flush()

    def flush(self) -> None:
        """Nothing waits any more: before parts are read."""
        if not self._waiting:
            return
        parts = np.concatenate([numbers for numbers, _ in self._waiting])
        rows = pa.concat_tables([table for _, table in self._waiting]).combine_chunks()
        self._waiting, self._held_bytes = [], 0
        order = np.argsort(parts, kind="stable")
        parts = parts[order]
        [batch] = rows.take(pa.array(order)).combine_chunks().to_batches()
        first = [0, *(np.flatnonzero(parts[1:] != parts[:-1]) + 1).tolist(), len(parts)]
        for low, high in pairwise(first):
            message = batch.slice(low, high - low).serialize()
            try:
                self._file.write(message)
            except OSError as error:
                raise self._refused(error) from error
            self._messages.setdefault(int(parts[low]), []).append((self._written_bytes, message.size))
            self._written_bytes += message.size

    def batches(self, part: int) -> Iterator[pa.RecordBatch]:
        """Rows of a part in the order in which they were added."""
        try:
            with pa.OSFile(str(self._path), "rb") as file:
                for start, length in self._messages.get(part, ()):
                    file.seek(start)
                    yield pa.ipc.read_record_batch(file.read_buffer(length), self._schema)
        except OSError as error:
            raise self._refused(error) from error

    def rows(self, part: int) -> pa.Table:
        """All rows of a part at once."""
        return pa.Table.from_batches(self.batches(part), self._schema)

    def delete(self) -> None:
        """Give its place on the disk back."""
        self._waiting = []
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(
            "rows cannot be kept on this machine's disk",
            where=str(self._path.parent),
            got=str(error),
            hint="A version with views that do not fit into spec.resources.memory needs room for their rows and for their "
            "features: give the folder of temporary files (TMPDIR; in a cluster the pod's scratch volume) more, or "
            "the set more memory",
        )
