"""The source files that are there now: the truth about arrivals, whatever hints say or miss.

Listings are sorted by URI, character by character, and come piece by piece: a million files are never held at
once. Names that mean "not a finished file" are left out (:func:`featurestore.arrivals.files.glob.is_temporary`). Folders and
files that vanish meanwhile are not there; all else that fails is an error, never an empty listing. A folder that must
not be listed keeps no other from being listed: its error is raised at the end.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files.cloud_listing import explain_no_objects, find_object, list_objects
from featurestore.arrivals.files.content import content_digest, local_version, object_version
from featurestore.arrivals.files.glob import Pattern, has_magic
from featurestore.arrivals.files.web_file import find_web_file
from featurestore.arrivals.files.web_index import WebIndex, is_unresolved
from featurestore.errors import StorageError
from featurestore.humanize import count
from featurestore.resources.data_pipeline import Source
from featurestore.resources.location import locate
from featurestore.storage.bucket import bucket_of
from featurestore.storage.cloud_credentials import is_azure, is_google
from featurestore.storage.filesystem import answering, filesystem, require_bucket
from featurestore.storage.web import WEB
from featurestore.timestamps import SECOND_US, to_us

logger = logging.getLogger(__name__)
_MODIFIED = ("LastModified", "last_modified", "mtime", "created")
_S3 = ("s3", "s3a")
_HEADS = 8
"""Objects that are looked at at the same time."""
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def list_arrivals(
    source: Source,
    base: str | None = None,
    environ: Mapping[str, str] | None = None,
    index: WebIndex | None = None,
) -> Iterator[Arrival]:
    """The files that a source names, sorted by URI.

    A path that is not absolute begins at ``base``, else at the working folder. A folder that is absent holds
    nothing: :func:`explain_empty` tells it apart from one without files. ``environ``: has the credentials; None for
    the process's own environment. ``index``: what lists the files of a web server, if the source names it.

    Raises:
        SpecError: the source's glob has no meaning.
        StorageError: storage did not answer; after all files of the folders that did.
    """
    pattern = Pattern.of(source, base)
    if pattern.is_local:
        return local_files(pattern, pattern.folder)
    if pattern.protocol in _S3:
        return _list_s3(pattern, environ)
    if _is_cloud(pattern.url("")):
        return list_objects(pattern, environ)
    return _list_web(pattern, index) if pattern.url("") in WEB else _list_any(pattern, environ)


def look(
    source: Source, base: str | None, uris: Iterable[str], environ: Mapping[str, str] | None = None
) -> list[Arrival]:
    """Those of the URIs that the source names and that are there now, sorted: what a hint is checked by.

    In object storage, one request for each. Arguments as of :func:`list_arrivals`.

    Raises:
        StorageError: storage did not answer.
    """
    pattern = Pattern.of(source, base)
    if pattern.is_local:
        located = sorted({locate(uri, pattern.base) for uri in uris})
        arrivals = [_local(path, pattern.uri(path)) for path in located if pattern.matches(path)]
    else:
        start = len(pattern.url(""))
        wanted = sorted(uri for uri in set(uris) if pattern.matches(uri[start:]))
        head = _head_s3 if pattern.protocol in _S3 else find_arrival
        arrivals = _heads(head, wanted, environ)
    return [arrival for arrival in arrivals if arrival is not None]


def _heads(
    head: Callable[[str, Mapping[str, str] | None], Arrival | None],
    uris: Sequence[str],
    environ: Mapping[str, str] | None,
) -> list[Arrival | None]:
    if not uris:
        return []
    with ThreadPoolExecutor(_HEADS) as threads:
        return list(threads.map(lambda uri: head(uri, environ), uris))


def find_arrival(
    uri: str, environ: Mapping[str, str] | None = None, base: str | None = None
) -> Arrival | None:
    """The file as it is now, with its version in the words of the listing; None if it is not there.

    ``base`` and ``environ``: as in :func:`list_arrivals`.

    Raises:
        StorageError: storage did not answer.
    """
    if "://" not in uri:
        return _local(locate(uri, base), uri)
    if _is_cloud(uri):
        return find_object(uri, environ)
    fs, path = filesystem(uri, environ)
    if uri.startswith(WEB):
        return find_web_file(fs, uri)
    with answering("the source cannot be read", uri):
        try:
            item = fs.info(path)
        except FileNotFoundError as error:
            require_bucket(error)
            return None
    if item["type"] != "file":
        return None
    return _arrival(uri, item)


def find_pinned(
    arrival: Arrival, environ: Mapping[str, str] | None = None, base: str | None = None
) -> Arrival | None:
    """The arrival if its file still is as a manifest pins it; if it was changed, as it is now; None if it is not there.

    A local file of which only the time was changed is as it was. Arguments as of :func:`find_arrival`.

    Raises:
        StorageError: storage did not answer.
    """
    if arrival.uri.startswith(tuple(f"{protocol}://" for protocol in _S3)):
        current = _still_there(arrival.uri, environ)
        if current is not None:
            return arrival if current.version == arrival.version else current
    now = find_arrival(arrival.uri, environ, base)
    if now is None or now.version == arrival.version:
        return arrival if now else None
    is_same = (
        arrival.content
        and now.size_bytes == arrival.size_bytes
        and content_digest(locate(arrival.uri, base), now.version) == arrival.content
    )
    return arrival if is_same else now


def _still_there(uri: str, environ: Mapping[str, str] | None) -> Arrival | None:
    """The object as it is now, at a tenth of the cost of s3fs. None if that is to be asked, which knows why it is not there."""
    bucket, path = bucket_of(uri, environ)
    with answering("the source cannot be read", uri):
        try:
            metadata = bucket.head(path)
        except (FileNotFoundError, PermissionError, ValueError):
            return None
    modified = {
        "etag": metadata["e_tag"],
        "size": metadata["size"],
        "LastModified": metadata["last_modified"],
    }
    return _arrival(uri, modified)


def explain_empty(source: Source, base: str | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Why a listing that succeeded may have been empty, for people. Arguments as of :func:`list_arrivals`."""
    pattern = Pattern.of(source, base)
    if pattern.url("") in WEB:
        if source.index is not None:
            return f"{source.index} lists no file of {source.uri} that the server has"
        return f"the server answers, and has no file at {source.uri}"
    if _is_cloud(pattern.url("")):
        return explain_no_objects(pattern, environ)
    folder, rest = pattern.url(pattern.folder), "/".join(pattern.rest)
    fs, _ = filesystem(folder, environ)
    with answering("the source cannot be listed", folder):
        if fs.isdir(f"{pattern.folder}/{rest}"):
            return f"{folder}/{rest} is a folder: write {folder}/{rest}/**/* to take the files in it"
        if not fs.isdir(pattern.folder):
            return f"{folder} is not there yet"
    return f"no file in {folder} matches {rest}"


def _is_cloud(url: str) -> bool:
    return is_azure(url) or is_google(url)


def local_files(pattern: Pattern, folder: str) -> Iterator[Arrival]:
    """The files below one local folder, sorted by path. Links are followed, but never in a circle.

    Raises:
        StorageError: a folder or a file cannot be looked at; after all the others.
    """
    # Folders from the start to here, by device and inode: a link to one of them would never end.
    above: set[tuple[int, int]] = set()
    missed = _Missed()

    def walk(folder: str) -> Iterator[Arrival]:
        names: list[str] = []
        status = None
        with missed.noting():
            status = _status(folder or "/")
            names = _names(folder)
        if status is None or (status.st_dev, status.st_ino) in above:
            return
        above.add((status.st_dev, status.st_ino))
        for name in names:
            path = f"{folder}/{name}"
            if name.endswith("/"):
                if pattern.may_hold(path[:-1]):
                    yield from walk(path[:-1])
            elif pattern.matches(path):
                arrival = None
                with missed.noting():
                    arrival = _local(path, pattern.uri(path))
                if arrival is not None:
                    yield arrival
        above.remove((status.st_dev, status.st_ino))

    yield from walk(folder)
    missed.require_none()


class _Missed:
    """What could not be looked at: the first error, and how many there were."""

    def __init__(self) -> None:
        self._first: StorageError | None = None
        self._count = 0

    @contextmanager
    def noting(self) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            self._first = self._first or error
            self._count += 1

    def require_none(self) -> None:
        """Raises StorageError if there was one."""
        if self._first is None:
            return
        others = f", and {count(self._count - 1, 'other')} like it" if self._count > 1 else ""
        raise StorageError(
            self._first.problem,
            where=self._first.where,
            got=f"{self._first.got}{others}",
            hint=self._first.hint,
        ) from self._first.__cause__


def _names(folder: str) -> list[str]:
    """Names in a folder in the order of the paths below it; those of folders end with a slash."""
    with answering("the source cannot be listed", folder):
        try:
            with os.scandir(folder or "/") as entries:
                # "a.csv" stands before all of "a/", as "." stands before "/".
                return sorted(f"{entry.name}/" if _is_folder(entry) else entry.name for entry in entries)
        except FileNotFoundError:
            return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def _local(path: str, uri: str) -> Arrival | None:
    status = _status(path)
    if status is None or not stat.S_ISREG(status.st_mode) or not _is_text(path):
        return None
    return Arrival(uri, local_version(status), status.st_size, status.st_mtime_ns // 1000)


def _status(path: str) -> os.stat_result | None:
    with answering("the source cannot be listed", path):
        try:
            return os.stat(path)
        except OSError as error:
            # Gone since it was listed, or a link that leads nowhere.
            if error.errno in _GONE:
                return None
            raise


@cache
def _warn(path: str) -> None:
    logger.warning("left out: the name of %r is not valid UTF-8", path)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        _warn(path)
        return False
    return True


def _list_s3(pattern: Pattern, environ: Mapping[str, str] | None) -> Iterator[Arrival]:
    bucket, _, folder = pattern.folder.partition("/")
    fixed = pattern.rest[0].partition("*")[0].partition("?")[0].partition("[")[0]
    prefix = f"{folder}/{fixed}" if folder else fixed
    fs, _ = filesystem(pattern.url(bucket), environ)
    request = {"Bucket": bucket, "Prefix": prefix}
    while True:
        with answering("the source cannot be listed", pattern.url(f"{bucket}/{prefix}")):
            page: dict[str, Any] = fs.call_s3("list_objects_v2", **request)
        items = {f"{bucket}/{item['Key']}": item for item in page.get("Contents", ())}
        named = {pattern.uri(path): item for path, item in items.items() if pattern.matches(path)}
        # Some servers list no ETags, and tell them of one object; others tell none of some objects. Times of listings have
        # milliseconds then, those of one object have none.
        unversioned = [uri for uri, item in named.items() if not (item.get("ETag") or "").strip('"')]
        heads = dict(zip(unversioned, _heads(_head_s3, unversioned, environ), strict=True))
        for uri, item in named.items():
            arrival = heads[uri] if uri in heads else _arrival(uri, {**item, "size": item["Size"]})
            if arrival is not None:
                yield arrival
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _head_s3(uri: str, environ: Mapping[str, str] | None) -> Arrival | None:
    """As :func:`find_arrival`, which lists a folder of that name if there is no object."""
    fs, _ = filesystem(uri, environ)
    bucket, _, key = uri.partition("://")[2].partition("/")
    with answering("the source cannot be read", uri):
        try:
            item: dict[str, Any] = fs.call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return None
    return _arrival(uri, {**item, "size": item["ContentLength"]})


def _list_any(pattern: Pattern, environ: Mapping[str, str] | None) -> Iterator[Arrival]:
    fs, folder = filesystem(pattern.url(pattern.folder), environ)
    missed = _Missed()
    items = _files_below(fs, folder, missed)
    start = len(folder.rstrip("/")) + 1
    for path in sorted(items):
        named = f"{pattern.folder}/{path[start:]}"
        if pattern.matches(named):
            yield _arrival(pattern.uri(named), items[path])
    missed.require_none()


def _list_web(pattern: Pattern, index: WebIndex | None) -> Iterator[Arrival]:
    """What a URL names, or of a glob what the document or else the server's own index of the folder lists.

    Neither has sizes nor versions: the server is asked for those of each file.
    """
    missed = _Missed()
    fs, folder = filesystem(pattern.url(pattern.folder))
    if not any(map(has_magic, pattern.rest)):
        # A server that shows no index still has the one file that is named.
        listed = [pattern.url("/".join((pattern.folder, *pattern.rest)))]
    elif index is not None:
        listed, wrong = index.read()
        with missed.noting():
            if wrong:
                raise StorageError("the index has lines that list no file", where=index.url, got=wrong)
    else:
        listed = sorted(_files_below(fs, folder, missed, is_web=True))
    start = len(pattern.url(""))
    named = [url for url in listed if pattern.matches(url[start:]) and not is_unresolved(url[start:])]

    def find(url: str) -> Arrival | StorageError | None:
        try:
            return find_web_file(fs, url)
        except StorageError as error:
            return error

    with ThreadPoolExecutor(_HEADS) as threads:
        for answer in threads.map(find, named):
            if isinstance(answer, StorageError):
                with missed.noting():
                    raise answer
            elif answer is not None:
                yield answer
    missed.require_none()


def _files_below(
    fs: Any, folder: str, missed: _Missed, *, is_web: bool = False
) -> dict[str, Mapping[str, Any]]:
    """Path to what is known of each file. Not ``fs.find``, which reads a folder that does not answer as an empty one."""
    files: dict[str, Mapping[str, Any]] = {}
    folders, visited = [folder], {folder.rstrip("/")}
    while folders:
        at = folders.pop()
        entries: Iterable[Mapping[str, Any]] = ()
        with missed.noting(), answering("the source cannot be listed", at):
            try:
                entries = fs.ls(at, detail=True, refresh=True)
            except FileNotFoundError as error:
                require_bucket(error)
                if is_web:
                    raise OSError(f"there is no index of files at {at}: name one file") from error
        for item in entries:
            name = item["name"].rstrip("/")
            if item["type"] == "directory" and name not in visited:
                visited.add(name)
                folders.append(item["name"])
            elif item["type"] == "file" and not item["name"].endswith("/"):
                files[name] = item
    return files


def _arrival(uri: str, item: Mapping[str, Any]) -> Arrival:
    modified_us = _microseconds(next((item[key] for key in _MODIFIED if key in item), 0))
    etag = item.get("etag") or item.get("ETag")
    size_bytes = item["size"]
    return Arrival(uri, object_version(etag, modified_us, size_bytes), size_bytes, modified_us)


def _microseconds(modified: datetime | float) -> int:
    return to_us(modified) if isinstance(modified, datetime) else round(modified * SECOND_US)
