"""Objects in object storage, through the Rust core that delta-rs and Polars use as well (``obstore``).

Opening it takes a thirtieth of the processor time of an fsspec client, and a third of the memory (docs/adr).
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from featurestore.errors import CodeError, SpecError
from featurestore.storage.cloud_credentials import (
    ALLOW_HTTP_AZURE,
    AZURE_ENDPOINT,
    CLOUD_PREFIXES,
    azure_provider,
    is_azure,
    is_google,
)
from featurestore.storage.credentials import (
    ALLOW_HTTP,
    allow_http,
    is_s3,
    object_store_options,
    profile_options,
)

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

PROTOCOLS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
# A dead endpoint fails after some 15 seconds at most: whoever asked backs off by itself and shows it.
_CLIENT = {"connect_timeout": "2s", "read_timeout": "20s", "timeout": "300s"}
_RETRIES = 2
_READ = ("AWS_", *CLOUD_PREFIXES)
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "FilesystemNotFound")


class Bucket:
    """The objects below ``url``, such as ``s3://bucket/prefix``. Raises what ``obstore`` says, and FileNotFoundError.

    ``environ``: has the credentials; None for the process's own environment.

    Raises:
        SpecError: object storage has no such URLs.
        CodeError: the package for it is not installed.
        StorageError: ``environ`` does not name the keys.
    """

    def __init__(self, url: str, environ: Mapping[str, str] | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in PROTOCOLS or not parts.netloc:
            wanted = "a path, or a URL such as s3://bucket/prefix or file:///srv/store"
            raise SpecError("not a storage location", where=url, wanted=wanted)
        bucket, _, self._prefix = url.partition("://")[2].rstrip("/").partition("/")
        self._url, self._environ = f"{parts.scheme}://{bucket}", environ
        self._options = object_store_options(url, environ) or {}
        try:
            import obstore  # noqa: F401
        except ImportError as error:
            hint = f"pip install 'featurestore[{extra_of(url)}]'"
            raise CodeError("storage needs a package", where=url, got=str(error), hint=hint) from error

    @cached_property
    def _store(self) -> ObjectStore:
        from obstore.store import S3Store, from_url

        options = dict(self._options)
        # Google's is at HTTPS, unless the key itself names another place.
        plain = is_google(self._url) or _is_plain_azure(self._url, self._environ)
        # obstore panics over options that are of the client.
        for name in (ALLOW_HTTP, ALLOW_HTTP_AZURE):
            plain = options.pop(name, "") == "true" or plain
        profile = profile_options(self._url) if self._environ is None and is_s3(self._url) else {}
        plain = plain or bool(allow_http(profile.get("endpoint", "")))
        everything: dict[str, Any] = {
            "config": options or None,
            "client_options": {**_CLIENT, "allow_http": plain},
            "retry_config": {"max_retries": _RETRIES},
        }
        if is_azure(self._url) and self._environ is not None:
            everything |= azure_provider(self._environ)
        if not is_s3(self._url):
            with _plainly():
                return from_url(self._url.replace("gcs://", "gs://"), **everything)
        return S3Store(urlsplit(self._url).netloc, **everything, **profile)

    @contextmanager
    def opened(self, path: str) -> Iterator[Any]:
        with _plainly():
            yield self.file(path, self.head(path)["size"], buffer_bytes=1)

    def head(self, path: str) -> ObjectMeta:
        """What storage says of the object: its size, version and time.

        Raises:
            ValueError: no object that can be opened here has such a path: it has an empty part, for instance.
        """
        import obstore

        with _plainly():
            return obstore.head(self._store, self._path(path))

    def find(self, path: str) -> ObjectMeta | None:
        """As :meth:`head`; None if the object is not there, but its bucket is."""
        import obstore

        try:
            return self.head(path)
        except FileNotFoundError:
            # An answer to HEAD does not say what is missing: a listing of what is below does.
            with _plainly():
                next(iter(obstore.list(self._store, self._path(path))), None)
            return None

    def walk(self, folder: str) -> Iterator[ObjectMeta]:
        """All objects below a folder, as storage lists them: in the order of their paths, unless it is Azure's."""
        import obstore

        with _plainly():
            for page in obstore.list(self._store, self._path(folder) or None, chunk_size=1000):
                yield from page

    def file(self, path: str, size_bytes: int, buffer_bytes: int) -> io.BufferedReader:
        """The object for reading, of which so many bytes are fetched at a time, or more if more are asked for."""
        return io.BufferedReader(_Ranges(self._store, self._path(path), size_bytes), buffer_bytes)

    def ranges(self, path: str, starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Bytes of the object from each start to its end, fetched at the same time."""
        import obstore

        with _plainly():
            pieces = obstore.get_ranges(self._store, self._path(path), starts=starts, ends=ends)
        return [bytes(piece) for piece in pieces]

    def read(self, path: str) -> bytes:
        import obstore

        with _plainly():
            return bytes(obstore.get(self._store, self._path(path)).bytes())

    def create(self, path: str, data: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with _plainly():
            try:
                obstore.put(self._store, self._path(path), data, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def replace(self, path: str, data: bytes, *, durable: bool) -> None:
        import obstore

        with _plainly():
            obstore.put(self._store, self._path(path), data)

    def upload(self, path: str, file: Path) -> None:
        import obstore

        with _plainly():
            obstore.put(self._store, self._path(path), file)

    def download(self, path: str, file: Path) -> None:
        import obstore

        with _plainly():
            response = obstore.get(self._store, self._path(path))
            with open(file, "xb") as target:
                for chunk in response.stream():
                    target.write(chunk)

    def names(self, folder: str) -> list[str]:
        import obstore

        with _plainly():
            listing = obstore.list_with_delimiter(self._store, self._path(folder) or None)
        every = (*listing["common_prefixes"], *(entry["path"] for entry in listing["objects"]))
        return [path.rpartition("/")[2] for path in every]

    def since(self, folder: str, name: str) -> dict[str, str]:
        import obstore

        # Listings begin after a name, and no name stands between this one and the next.
        start, marks = self._path(f"{folder}/{name[:-1]}"), {}
        with _plainly():
            for page in obstore.list(self._store, self._path(folder), offset=start, chunk_size=1000):
                marks.update({entry["path"].rpartition("/")[2]: _mark(entry) for entry in page})
        return {listed: mark for listed, mark in marks.items() if listed >= name}

    def delete_unfinished(self, before_us: int) -> int:
        # An object is there as a whole, or not at all.
        return 0

    def delete(self, path: str) -> None:
        import obstore

        with _plainly():
            for page in obstore.list(self._store, self._path(path), chunk_size=1000):
                obstore.delete(self._store, [entry["path"] for entry in page])
            with suppress(FileNotFoundError):
                obstore.delete(self._store, self._path(path))

    def _path(self, path: str) -> str:
        return "/".join(part for part in (self._prefix, path) if part)


def extra_of(url: str) -> str:
    """The extra of this package that brings what opens it."""
    return "azure" if is_azure(url) else "gcs" if is_google(url) else "s3"


def _is_plain_azure(url: str, environ: Mapping[str, str] | None) -> bool:
    known = os.environ if environ is None else environ
    return is_azure(url) and known.get(AZURE_ENDPOINT, "").startswith("http://")


def _mark(metadata: ObjectMeta) -> str:
    return f"{metadata['e_tag']} {metadata['last_modified'].isoformat()} {metadata['size']}"


def bucket_of(url: str, environ: Mapping[str, str] | None) -> tuple[Bucket, str]:
    """The bucket of an object, with a client that is made once, and the object's path in it. Arguments as of :class:`Bucket`.

    Raises:
        StorageError: ``environ`` does not name the keys.
    """
    object_store_options(url, environ)  # It names the object where keys are missing.
    protocol, _, rest = url.partition("://")
    name, _, path = rest.partition("/")
    known = (
        {variable: text for variable, text in os.environ.items() if variable.startswith(_READ)}
        if environ is None
        else environ
    )
    return _bucket(f"{protocol}://{name}", environ is None, frozenset(known.items())), path


@lru_cache(maxsize=8)
def _bucket(url: str, own: bool, known: frozenset[tuple[str, str]]) -> Bucket:
    return Bucket(url, None if own else dict(known))


class _Ranges(io.RawIOBase):
    """An object as a file: each read fetches its own range and nothing else."""

    def __init__(self, store: ObjectStore, path: str, size: int) -> None:
        self._store, self._path, self._size, self._at = store, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        import obstore

        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        with _plainly():
            data = obstore.get_range(self._store, self._path, start=self._at, length=length)
        buffer[:length] = memoryview(data)
        self._at += length
        return length


@contextmanager
def _plainly() -> Iterator[None]:
    """What obstore raises, as one line that is the same each time.

    Raises:
        FileNotFoundError: the object is not there.
        PermissionError: the credentials do not allow it.
        OSError: anything else, also that the bucket is missing: then nothing is known of what is in it.
    """
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except FileNotFoundError as error:
        if any(code in str(error) for code in _NO_BUCKET):
            raise OSError(_message(str(error))) from error
        raise FileNotFoundError(_message(str(error))) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise PermissionError(_message(str(error))) from error
    except BaseError as error:
        raise OSError(_message(str(error))) from error


def _message(text: str) -> str:
    """What happened, without durations and internal details.

    >>> _message("Generic S3 error: Error performing GET http://a/b in 7.2ms - HTTP error\\n\\nDebug source: X")
    'Generic S3 error: Error performing GET http://a/b - HTTP error'
    """
    if service := re.search(r"<Code>(\w+)</Code>.*?<Message>(.*?)</Message>", text, re.DOTALL):
        # What Azure says goes on with the number and the time of the request.
        return f"{service[1]}: {unescape(service[2]).partition(chr(10))[0]}"
    line = re.sub(r" in [\d.]+(ns|µs|ms|s)\b", "", text.partition("\n\nDebug source")[0])
    if "kind: Connect" in text and (url := re.search(r"https?://[^/\s]+", line)):
        return f"Could not connect to {url[0]}"
    return " ".join(line.split())
