"""What is in a local file, which its time does not tell: copies, clones and ``touch`` change times alone."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from math import inf
from threading import Event, Thread

from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.manifest import Action
from featurestore.errors import StorageError

STALLED_S = 10.0
"""A file of which nothing comes for so long does not answer."""
_DIGEST_BYTES = 16
_PIECE_BYTES = 1 << 20


def local_version(status: os.stat_result) -> str:
    """Version of a local file that looks like this.

    >>> local_version(os.stat("/dev/null")).rpartition("-")[2]
    '0'
    """
    return f"{status.st_mtime_ns}-{status.st_size}"


def object_version(etag: object, modified_us: int, size_bytes: int) -> str:
    """Version of an object in storage: its ETag, or what else is told of it where it has none.

    Listings and answers about one object differ in the quotes.

    >>> object_version('"abc"', 0, 0), object_version(None, 1_700_000_000_000_000, 5)
    ('abc', '1700000000000000-5')
    """
    return str(etag or "").strip('"') or f"{modified_us}-{size_bytes}"


def content_digest(path: str, version: str, progress: Callable[[], None] = lambda: None) -> str | None:
    """Digest of the bytes of a local file; empty if it cannot be read, None if it is not this version any more.

    ``progress``: is called for each piece that came.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    try:
        with open(path, "rb", buffering=0) as file:
            before = local_version(os.fstat(file.fileno()))
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
                progress()
            after = local_version(os.fstat(file.fileno()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ""
    return digest.hexdigest() if before == after == version else None


class Reading:
    """Files that are read in a thread of its own, for what is in them: one that hangs holds up nobody for long.

    ``files``: path and version of each. ``digests``: of each, as :func:`content_digest` has it, once all are read.
    """

    def __init__(self, files: Sequence[tuple[str, str]]) -> None:
        self.files = files
        self.digests: list[str | None] = []
        self._at_s = time.monotonic()
        self._done = Event()
        # A daemon: what hangs in a network must not keep the process from ending.
        Thread(target=self._read, name="content", daemon=True).start()

    def wait(self, patience_s: float = inf) -> bool:
        """True when all are read, False if they are not after this time. It goes on meanwhile.

        Raises:
            StorageError: nothing came for a while.
        """
        end_s = time.monotonic() + patience_s
        while not self._done.wait(max(0.0, min(1.0, end_s - time.monotonic()))):
            if time.monotonic() - self._at_s > STALLED_S:
                path, _ = self.files[len(self.digests)]
                wanted = f"some of its bytes within {STALLED_S:.0f} s"
                raise StorageError("a file does not answer", where=path, wanted=wanted)
            if time.monotonic() >= end_s:
                return False
        return True

    def _read(self) -> None:
        for path, version in self.files:
            self.digests.append(content_digest(path, version, self._progress))
            self._progress()
        self._done.set()

    def _progress(self) -> None:
        self._at_s = time.monotonic()


def standing_digests(known: Sequence[KnownArrival], version: str) -> set[str]:
    """Digests of what a file may hold in this version without having been changed: all of the same size.

    They are those of its newest version that was taken and, if that was refused, of its newest one. What was
    replaced and comes back is a change.
    """
    taken = next((row for row in reversed(known) if row.action is not Action.REJECT), None)
    newest = [row for row in (taken, known[-1]) if row is not None]
    return {row.content for row in newest if row.content and _size(row.version) == _size(version)}


def _size(version: str) -> str:
    return version.rpartition("-")[2]
