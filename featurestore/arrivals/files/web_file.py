"""A file on a web server as it is now. Its version is what the server tells of it, else a digest of its bytes."""

from __future__ import annotations

import hashlib
from email.utils import parsedate_to_datetime
from typing import Any

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files.content import object_version
from featurestore.storage.filesystem import answering
from featurestore.storage.redirects import DIGEST
from featurestore.storage.web import NOT_THERE, read_document
from featurestore.timestamps import to_us

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
    etag, modified_us = item.get("ETag"), modified(item.get("Last-Modified"))
    if item["size"] is not None and (etag or modified_us):
        return Arrival(uri, object_version(etag, modified_us, item["size"]), item["size"], modified_us)
    return _read_whole(uri, etag, modified_us)


def modified(header: str | None) -> int:
    """Microseconds since 1970 of a time of change; 0 if it is not told, or has no meaning.

    >>> modified("Thu, 01 Jan 1970 00:00:01 GMT"), modified("yesterday"), modified(None)
    (1000000, 0, 0)
    """
    try:
        return to_us(parsedate_to_datetime(header)) if header else 0
    except ValueError:
        return 0


def _read_whole(uri: str, etag: str | None, modified_us: int) -> Arrival | None:
    digest, size_bytes = hashlib.blake2b(digest_size=_DIGEST_BYTES), 0

    def take(piece: bytes) -> None:
        nonlocal size_bytes
        size_bytes += len(piece)
        digest.update(piece)

    if read_document(uri, MOST_BYTES, take) is None:
        return None
    version = f"{DIGEST}{digest.hexdigest()}"
    if etag or modified_us:
        version = object_version(etag, modified_us, size_bytes)
    return Arrival(uri, version, size_bytes, modified_us)


def _require_answer(error: FileNotFoundError) -> None:
    """Raises what hides behind "not found": fsspec says so of a web server that does not answer, too."""
    cause = error.__cause__
    if cause is not None and getattr(cause, "status", None) not in NOT_THERE:
        raise cause
