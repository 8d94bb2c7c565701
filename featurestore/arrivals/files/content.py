"""What is in a local file, which its time does not tell: copies, clones and ``touch`` change times alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.manifest import Action

_DIGEST_BYTES = 16


def local_version(status: os.stat_result) -> str:
    """Version of a local file that looks like this.

    >>> local_version(os.stat("/dev/null")).rpartition("-")[2]
    '0'
    """
    return f"{status.st_mtime_ns}-{status.st_size}"


def content_digest(path: str, version: str) -> str | None:
    """Digest of the bytes of a local file; empty if it cannot be read, None if it is not this version any more."""
    try:
        with open(path, "rb") as file:
            before = local_version(os.fstat(file.fileno()))
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES))
            after = local_version(os.fstat(file.fileno()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ""
    return digest.hexdigest() if before == after == version else None


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
