"""The objects of a source in Google's or Azure's storage, without packages of theirs: through obstore, as the storage root.

Their version is the ETag. Google's is of the bytes, as that of S3: an object that is overwritten by the same bytes has not
changed. Azure's changes with each write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files.content import object_version
from featurestore.arrivals.files.glob import Pattern
from featurestore.storage.bucket import Bucket, bucket_of
from featurestore.storage.cloud_credentials import is_azure
from featurestore.storage.filesystem import answering
from featurestore.timestamps import to_us

if TYPE_CHECKING:
    from obstore import ObjectMeta


def list_objects(pattern: Pattern, environ: Mapping[str, str] | None) -> Iterator[Arrival]:
    """The objects that a pattern names, sorted by URI. Arguments and errors as of :func:`~.listing.list_arrivals`."""
    url = pattern.url(pattern.folder)
    bucket, folder = bucket_of(url, environ)
    name = pattern.folder.partition("/")[0]
    with answering("the source cannot be listed", url):
        entries: Iterable[ObjectMeta] = bucket.walk(folder)
        if is_azure(url):
            # An account with folders lists them in another order.
            entries = sorted(entries, key=lambda entry: entry["path"])
        for entry in entries:
            path = f"{name}/{entry['path']}"
            if pattern.matches(path) and not _is_folder(bucket, entry):
                yield _arrival(pattern.uri(path), entry)


def find_object(uri: str, environ: Mapping[str, str] | None) -> Arrival | None:
    """As :func:`~.listing.find_arrival`."""
    bucket, path = bucket_of(uri, environ)
    with answering("the source cannot be read", uri):
        metadata = bucket.find(path)
    return None if metadata is None else _arrival(uri, metadata)


def explain_no_objects(pattern: Pattern, environ: Mapping[str, str] | None) -> str:
    """As :func:`~.listing.explain_empty`."""
    url, rest = pattern.url(pattern.folder), "/".join(pattern.rest)
    bucket, folder = bucket_of(url, environ)
    with answering("the source cannot be listed", url):
        if next(bucket.walk("/".join(part for part in (folder, rest) if part)), None):
            return f"{url}/{rest} is a folder: write {url}/{rest}/**/* to take the files in it"
        if folder and next(bucket.walk(folder), None) is None:
            return f"{url} is not there yet"
    return f"no file in {url} matches {rest}"


def _is_folder(bucket: Bucket, entry: ObjectMeta) -> bool:
    """Whether it is an empty object that consoles make for a folder: listed without the slash at its end, it is not there."""
    return entry["size"] == 0 and bucket.find(entry["path"]) is None


def _arrival(uri: str, metadata: ObjectMeta) -> Arrival:
    modified_us = to_us(metadata["last_modified"])
    size_bytes = metadata["size"]
    return Arrival(uri, object_version(metadata["e_tag"], modified_us, size_bytes), size_bytes, modified_us)
