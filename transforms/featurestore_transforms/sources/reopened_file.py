"""A file without a name that several read at once, each from its start."""

from __future__ import annotations

import io
import os


class ReopenedFile(io.RawIOBase):
    """A file that is open, from its start: each reader has a place of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._at = descriptor, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence)
        self._at = offset + (os.fstat(self._descriptor).st_size if begin is None else begin)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            size = os.fstat(self._descriptor).st_size - self._at
        data = os.pread(self._descriptor, size, self._at)
        self._at += len(data)
        return data
