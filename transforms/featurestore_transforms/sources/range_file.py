"""A file whose bytes are read by position: at once where it is local, ahead of need in few requests elsewhere."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any

import pyarrow as pa

from featurestore.arrivals.arrival import Arrival
from featurestore.storage.bucket import bucket_of
from featurestore.storage.credentials import in_object_storage, source_environ
from featurestore.storage.filesystem import filesystem
from featurestore.storage.web import WEB, read_ranges
from featurestore_transforms.sources.source_file import open_bytes


class RangeFile:
    """As Arrow's ``PythonFile`` wants it. What was fetched ahead is kept until the next ranges are."""

    def __init__(self, arrival: Arrival) -> None:
        self._uri, self._version = arrival.uri, arrival.version
        self._size_bytes = arrival.size_bytes
        self._file = open_bytes(arrival.uri, arrival.size_bytes, arrival.version)
        self._starts: list[int] = []
        self._ranges: list[bytes] = []
        self._at = 0
        self.closed = False

    @property
    def is_local(self) -> bool:
        return "://" not in self._uri

    def arrow(self) -> pa.NativeFile:
        """The file for Arrow, which reads a local one without asking Python."""
        return pa.OSFile(self._uri) if self.is_local else pa.PythonFile(self, mode="r")

    def fetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Read these ranges, ``(start, end)``, ahead; overlapping and neighboring ones in one request."""
        if self.is_local or isinstance(self._file, BytesIO):
            return
        merged: list[tuple[int, int]] = []
        for start, end in sorted(ranges):
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((start, end))
        starts, ends = [start for start, _ in merged], [end for _, end in merged]
        self._ranges = self._fetch(starts, ends) if merged else []
        self._starts = starts

    def _fetch(self, starts: list[int], ends: list[int]) -> list[bytes]:
        if in_object_storage(self._uri):
            bucket, path = bucket_of(self._uri, source_environ())
            with suppress(ValueError):
                return bucket.ranges(path, starts, ends)
        if self._uri.startswith(WEB):
            return read_ranges(self._uri, self._version, starts, ends)
        fs, path = filesystem(self._uri, source_environ())
        pieces: list[bytes] = fs.cat_ranges([path] * len(starts), starts, ends, on_error="raise")
        return pieces

    def read_at(self, at: int, size: int) -> bytes:
        """The bytes from ``at`` on; fewer where the file ends."""
        if self.is_local:
            return os.pread(self._file.fileno(), size, at)
        place = bisect_right(self._starts, at) - 1
        if place >= 0:
            first = at - self._starts[place]
            data = self._ranges[place][first : first + size]
            if len(data) == size:
                return data
        self._file.seek(at)
        read: bytes = self._file.read(size)
        return read

    def read(self, size: int = -1) -> bytes:
        left = self._size_bytes - self._at
        data = self.read_at(self._at, left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size_bytes}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        self.closed = True
        self._file.close()

    def __enter__(self) -> RangeFile:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
