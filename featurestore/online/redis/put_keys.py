"""The keys that a publication put, and which others a store has: on disk, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from featurestore.online.entity_keys import KeyIndex, key_hashes

_BUCKETS = 64
"""Of ten million keys, one has 160,000."""
_SCHEMA = pa.schema([("key", pa.binary())])


class PutKeys:
    """Keys in buckets by their hashes. Close it to remove what it wrote."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._folder = Path(self._open.enter_context(TemporaryDirectory(prefix="featurestore-")))
        self._put = self._buckets("put")

    def add(self, keys: pa.Array) -> None:
        """These were put."""
        _write(self._put, keys)

    def others(self, present: Iterable[pa.Array]) -> Iterator[pa.Array]:
        """Of the keys that are there, those that were not put. No key is added afterwards."""
        buckets = self._buckets("there")
        for keys in present:
            _write(buckets, keys)
        for bucket in range(_BUCKETS):
            self._put[bucket].close()
            buckets[bucket].close()
            wanted = self._read("there", bucket)
            yield wanted.filter(pa.array(KeyIndex.of(self._read("put", bucket)).find(wanted) < 0))

    def close(self) -> None:
        self._open.close()

    def _buckets(self, name: str) -> list[Any]:
        return [
            self._open.enter_context(pa.ipc.new_stream(str(self._folder / f"{name}-{bucket}"), _SCHEMA))
            for bucket in range(_BUCKETS)
        ]

    def _read(self, name: str, bucket: int) -> pa.Array:
        with pa.ipc.open_stream(str(self._folder / f"{name}-{bucket}")) as stream:
            column = stream.read_all().column("key").combine_chunks()
        # A key may have come twice.
        return column.unique()


def _write(buckets: list[Any], keys: pa.Array) -> None:
    if not len(keys):
        return
    bucket = (key_hashes(keys) >> np.uint64(58)).astype(np.int64)
    order = np.argsort(bucket, kind="stable")
    sorted_keys = keys.take(pa.array(order))
    ends = np.searchsorted(bucket[order], np.arange(_BUCKETS + 1))
    for number, (low, high) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
        if high > low:
            batch = pa.RecordBatch.from_arrays([sorted_keys.slice(low, high - low)], schema=_SCHEMA)
            buckets[number].write_batch(batch)
