"""One version of one source file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True, slots=True)
class Arrival:
    """One version of one source file.

    ``uri``: where the file is, as fsspec and Polars open it; of a relative source, below the project's folder
    (:func:`featurestore.resources.location.locate`). ``version``: what changes when the file does:
    the etag in object storage, ``<mtime_ns>-<size>`` in a local folder. ``size_bytes`` and ``modified_us`` (UTC,
    microseconds since 1970) are as listed. ``content``: of a local file in a manifest, the digest of its bytes: a file
    of which only the time was changed is the same arrival. Empty in listings, and where the version says it all.
    """

    uri: str
    version: str
    size_bytes: int
    modified_us: int
    content: str = ""
