"""A storage root: small objects, written whole or not at all, on any file system that fsspec knows.

Delta tables and Parquet files below it are written by their own libraries, at ``Storage.uri(path)``.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from featurestore.errors import CodeError, NotFound, SpecError, StorageError
from featurestore.storage.credentials import Credentials, is_s3, object_store_options, own_keys

# A dead endpoint fails after some 15 seconds at most: whoever asked backs off by itself and shows it.
_S3_ATTEMPTS = 2
# Not all that s3fs lets through is an OSError: a dead endpoint, missing credentials, a broken body.
_CLIENTS = frozenset({"aiohttp", "aiobotocore", "botocore"})
_CREDENTIALS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, as for the AWS tools"
_S3_CONFIG = {
    "connect_timeout": 2,
    "read_timeout": 20,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}


class Storage:
    """Objects below one root.

    ``root`` is an fsspec URL (``s3://bucket/prefix``, ``file:///srv/store``) or a local path. ``environ``: has the
    credentials, under the names of the AWS tools; None for the process's own environment.

    Raises:
        SpecError: no file system has such URLs, or a table below it would not be found again.
        CodeError: the package for them is not installed.
        StorageError: ``environ`` does not name the keys.
    """

    def __init__(self, root: str, environ: Mapping[str, str] | None = None) -> None:
        fs, path = filesystem(root, environ)
        _require_findable(root, path)
        self.environ = environ
        self._fs = fs
        self._root = path.rstrip("/")
        self.is_local = isinstance(fs, LocalFileSystem)
        self.root = self._root if self.is_local else fs.unstrip_protocol(self._root)

    def uri(self, path: str) -> str:
        """What other libraries open: a local path, or a URL with its protocol."""
        return f"{self.root}/{path}"

    @property
    def delta_options(self) -> dict[str, str] | None:
        """What delta-rs has to be told to open tables with the credentials of this storage."""
        return object_store_options(self.root, self.environ)

    @contextmanager
    def opened(self, path: str) -> Iterator[Any]:
        """A data file, open for reading. Only the ranges that are read are fetched, each by itself.

        Raises:
            StorageError: storage did not answer, or the file is gone; also while it is read in the block.
        """
        # A cache that reads ahead would fetch more than Parquet asks for.
        options = {} if self.is_local else {"cache_type": "none"}
        with (
            answering("a data file cannot be read", self.uri(path)),
            self._fs.open(self._path(path), "rb", **options) as file,
        ):
            yield file

    def read(self, path: str) -> bytes:
        """The object's bytes.

        Raises:
            NotFound: there is no such object.
            StorageError: storage did not answer.
        """
        with answering("storage cannot be read", self.uri(path)):
            try:
                content: bytes = self._fs.cat_file(self._path(path))
            except FileNotFoundError as error:
                require_bucket(error)
                raise NotFound("no such object", where=self.uri(path)) from error
        return content

    def find(self, path: str) -> bytes | None:
        """The object's bytes, or None if it is not there.

        Raises:
            StorageError: storage did not answer; this is never read as "not there".
        """
        try:
            return self.read(path)
        except NotFound:
            return None

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """True if this call created the object, False if it was there. Atomic on POSIX and on S3.

        False says only that the object is there: it may be from an attempt of this call whose answer was lost.

        Raises:
            StorageError: storage did not answer.
        """
        with answering("storage cannot be written", self.uri(path)):
            return self._link(path, data) if self.is_local else self._create(path, data)

    def replace(self, path: str, data: bytes) -> None:
        """Create or replace the object; readers see the old bytes or the new ones, never a part.

        Raises:
            StorageError: storage did not answer.
        """
        target = self._path(path)
        with answering("storage cannot be written", self.uri(path)):
            if not self.is_local:
                self._fs.pipe_file(target, data)
                return
            temporary = self._temporary(target, data)
            try:
                os.replace(temporary, target)
            except OSError:
                os.unlink(temporary)
                raise
            _sync_folder(target)

    def names(self, folder: str) -> list[str]:
        """Names of the objects and folders directly in a folder, sorted; [] if it is not there.

        Raises:
            StorageError: storage did not answer.
        """
        with answering("storage cannot be listed", self.uri(folder)):
            try:
                entries = self._fs.ls(self._path(folder), detail=False, refresh=True)
            except FileNotFoundError as error:
                require_bucket(error)
                return []
        names = (entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries)
        return sorted(name for name in names if not name.startswith(".tmp-"))

    def delete(self, path: str) -> None:
        """Remove an object or a folder with all in it; nothing happens if it is not there.

        Raises:
            StorageError: storage did not answer.
        """
        with answering("storage cannot be written", self.uri(path)):
            try:
                self._fs.rm(self._path(path), recursive=True)
            except FileNotFoundError as error:
                require_bucket(error)

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _create(self, path: str, data: bytes) -> bool:
        try:
            self._fs.pipe_file(self._path(path), data, mode="create")
        except OSError as error:
            # S3 services name the condition that failed, or not; there was only one.
            if isinstance(error, FileExistsError) or _s3_code(error) == "PreconditionFailed":
                return False
            raise
        return True

    def _link(self, path: str, data: bytes) -> bool:
        target = self._path(path)
        temporary = self._temporary(target, data)
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        _sync_folder(target)
        return True

    def _temporary(self, target: str, data: bytes) -> str:
        # No Path: it would remember each part of each of thousands of paths.
        folder = os.path.dirname(target)
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(folder, f".tmp-{uuid.uuid4().hex}")
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return temporary


_LOST = re.compile(r"[#?\\\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}|(?<=.)//")
"""What delta-rs takes for another place than other libraries do, or does not find again: to it, a path is a URL."""


def _require_findable(root: str, path: str) -> None:
    if lost := _LOST.search(path.rstrip("/")):
        raise SpecError(
            "data in this storage root would not be found again",
            where=repr(root),
            wanted="a path without # ? \\ and control characters, codes such as %20 and empty parts",
            got=repr(lost.group()),
            hint="Let spec.offline.uri name another place, or give the folder another name",
        )


def filesystem(url: str, environ: Mapping[str, str] | None = None) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it. Nothing is cached: others write there too.

    ``environ``: has the credentials; None for the process's own environment.

    Raises:
        SpecError: no file system has such URLs.
        CodeError: the package for them is not installed.
        StorageError: ``environ`` does not name the keys.
    """
    try:
        fs, path = fsspec.url_to_fs(url, **(_s3_options(url, environ) if is_s3(url) else {}))
    except ImportError as error:
        hint = "pip install 'featurestore[s3]'" if is_s3(url) else ""
        raise CodeError("storage needs a package", where=url, got=str(error), hint=hint) from error
    except ValueError as error:
        wanted = "a path, or a URL such as s3://bucket/prefix or file:///srv/store"
        raise SpecError("this is no place for data", where=url, wanted=wanted, got=str(error)) from error
    if is_s3(url):
        fs.retries = _S3_ATTEMPTS
    return fs, path


def _s3_options(url: str, environ: Mapping[str, str] | None) -> dict[str, Any]:
    # With more than one connection for an object, s3fs asks for its size before it reads it.
    options = {"use_listings_cache": False, "max_concurrency": 1, "config_kwargs": _S3_CONFIG}
    if environ is None:
        return {**options, **own_keys()}
    # An endpoint that is not named is that of AWS, wherever the environment points.
    exact = {**_S3_CONFIG, "ignore_configured_endpoint_urls": True}
    return {**options, "config_kwargs": exact, **Credentials.of(environ, url).for_s3fs()}


@contextmanager
def answering(problem: str, where: str) -> Iterator[None]:
    """What storage and its client raise becomes a StorageError."""
    try:
        yield
    except NotFound:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        hint = _CREDENTIALS if type(error).__name__ == "NoCredentialsError" else ""
        raise StorageError(problem, where=where, got=str(error) or type(error).__name__, hint=hint) from error


def require_bucket(error: FileNotFoundError) -> None:
    """Raises the error if it says that the bucket is missing: then nothing is known of what is in it."""
    if _s3_code(error) == "NoSuchBucket":
        raise error


def _s3_code(error: OSError) -> str:
    response = getattr(error.__cause__, "response", {})
    return str(response.get("Error", {}).get("Code", ""))


def _sync_folder(target: str) -> None:
    """Make the name as lasting as the bytes: a manifest must not vanish while its effect stays."""
    folder = os.open(os.path.dirname(target), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
