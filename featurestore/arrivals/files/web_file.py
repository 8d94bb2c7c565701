"""A file on a web server as it is now. Its version is what the server tells of it, else a digest of its bytes."""

from __future__ import annotations

import hashlib
from typing import Any

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files.content import object_version
from featurestore.storage.filesystem import answering
from featurestore.storage.redirects import DIGEST, modified_us
from featurestore.storage.web import NOT_THERE, read_document

MOST_BYTES = 256 << 20
"""Of a file that is read for its version, or its size."""
_DIGEST_BYTES = 16


def find_web_file(fs: Any, uri: str) -> Arrival | None:
    """The file at a URL; None if it is not there. ``fs``: fsspec's, for any URL of its kind.

    A server that tells neither ETag nor time of change, or no size, is asked for all of the file.

    Raises:
        StorageError: the server did not answer.
    """
    with answering("the source cannot be read", uri):
        try:
            item = fs.info(uri)
        except FileNotFoundError as error:
            _require_answer(error)
            return None
    etag, changed_us = item.get("ETag"), modified_us(item.get("Last-Modified"))
    if item["size"] is not None and (etag or changed_us):
        return Arrival(uri, object_version(etag, changed_us, item["size"]), item["size"], changed_us)
    return _read_whole(uri, etag, changed_us)


def _read_whole(uri: str, etag: str | None, changed_us: int) -> Arrival | None:
    digest, size_bytes = hashlib.blake2b(digest_size=_DIGEST_BYTES), 0

    def take(piece: bytes) -> None:
        nonlocal size_bytes
        size_bytes += len(piece)
        digest.update(piece)

    if read_document(uri, MOST_BYTES, take) is None:
        return None
    version = f"{DIGEST}{digest.hexdigest()}"
    if etag or changed_us:
        version = object_version(etag, changed_us, size_bytes)
    return Arrival(uri, version, size_bytes, changed_us)


def _require_answer(error: FileNotFoundError) -> None:
    """Raises what hides behind "not found": fsspec says so of a web server that does not answer, too."""
    cause = error.__cause__
    if cause is not None and getattr(cause, "status", None) not in NOT_THERE:
        raise cause
