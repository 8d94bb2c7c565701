"""What a source knows an object as that others name by its bucket and its key."""

from __future__ import annotations

from collections.abc import Iterable

from featurestore.arrivals.files.glob import Pattern

_SAME = {"s3a": "s3", "gcs": "gs", "az": "abfs", "abfss": "abfs", "adl": "abfs"}
"""Protocols by which the same storage is named."""


def named(pattern: Pattern, urls: Iterable[str]) -> list[str]:
    """The URIs that a source's listing would give objects at these URLs, sorted; those of other buckets, and those
    that its glob does not name, are left out.

    >>> named(Pattern("s3a", "raw/flights", ("*.csv",)), ["s3://raw/flights/1 ü.csv", "s3://raw/a.csv", "gs://raw/flights/a.csv"])
    ['s3a://raw/flights/1 ü.csv']
    >>> named(Pattern("abfss", "raw@acme.dfs.core.windows.net", ("*.csv",)), ["abfss://raw@acme/a.csv", "abfss://raw@other/a.csv"])
    ['abfss://raw@acme.dfs.core.windows.net/a.csv']
    """
    own = pattern.folder.partition("/")[0]
    uris = set()
    for url in urls:
        protocol, _, path = url.partition("://")
        bucket, _, key = path.partition("/")
        if _storage(protocol) == _storage(pattern.protocol) and _is_same_bucket(own, bucket):
            path = f"{own}/{key}"
            if not pattern.is_local and pattern.matches(path):
                uris.add(pattern.uri(path))
    return sorted(uris)


def _storage(protocol: str) -> str:
    return _SAME.get(protocol, protocol)


def _is_same_bucket(own: str, bucket: str) -> bool:
    """Whether two names mean one bucket. Of Azure, either may leave out the account."""
    name, _, account = own.partition("@")
    other, _, others = bucket.partition("@")
    return name == other and (
        not account or not others or account.partition(".")[0] == others.partition(".")[0]
    )
