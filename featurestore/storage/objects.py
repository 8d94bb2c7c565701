"""A storage root: small objects, written whole or not at all, in a local folder or in object storage.

Delta tables and Parquet files below it are written by their own libraries, at ``Storage.uri(path)``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featurestore.errors import Damaged, FeatureStoreError, NotFound, SpecError
from featurestore.storage.bucket import Bucket
from featurestore.storage.credentials import table_options
from featurestore.storage.filesystem import answering
from featurestore.storage.local import LocalFolder


class Storage:
    """Objects below one root.

    ``root`` is a local path, or a URL such as ``s3://bucket/prefix`` or ``file:///srv/store``. ``environ``: has the
    credentials, under the names of the AWS tools; None for the process's own environment.

    Raises:
        SpecError: storage has no such URLs, or a table below it would not be found again.
        CodeError: the package for them is not installed.
        StorageError: ``environ`` does not name the keys.
    """

    def __init__(self, root: str, environ: Mapping[str, str] | None = None) -> None:
        self.environ = environ
        path = root.removeprefix("file://")
        self.is_local = "://" not in path
        self.root = os.path.abspath(os.path.expanduser(path)) if self.is_local else root.rstrip("/")
        _require_findable(root, self.root.partition("://")[2] or self.root)
        self._objects = LocalFolder(self.root) if self.is_local else Bucket(self.root, environ)
        self.kept: dict[tuple[str, int], Any] = {}
        """What was opened below it and is looked at again: see :mod:`featurestore.storage.delta`."""

    def uri(self, path: str) -> str:
        """What other libraries open: a local path, or a URL with its protocol."""
        return f"{self.root}/{path}"

    @property
    def delta_options(self) -> dict[str, str] | None:
        """The options with which delta-rs opens tables with the credentials of this storage."""
        return table_options(self.root, self.environ)

    @contextmanager
    def opened(self, path: str) -> Iterator[Any]:
        """A data file, open for reading. Only the ranges that are read are fetched, each by itself.

        Raises:
            StorageError: storage did not answer, or the file is gone; also while it is read in the block.
        """
        with (
            answering("a data file cannot be read", self.uri(path)),
            self._objects.opened(path) as file,
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
                return self._objects.read(path)
            except FileNotFoundError as error:
                raise NotFound("no such object", where=self.uri(path)) from error

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
            return self._objects.create(path, data)

    def replace(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Create or replace the object; readers see the old bytes or the new ones, never a part.

        ``durable``: not where the data is made anew by whoever looks next. If the machine loses its power soon after, the
        old bytes may be there, or none. It saves waiting for a local disk twice.

        Raises:
            StorageError: storage did not answer.
        """
        with answering("storage cannot be written", self.uri(path)):
            self._objects.replace(path, data, durable=durable)

    def upload(self, path: str, file: Path) -> None:
        """:meth:`replace` by the bytes of a local file, some at a time.

        Raises:
            StorageError: storage did not answer.
        """
        with answering("storage cannot be written", self.uri(path)):
            self._objects.upload(path, file)

    def download(self, path: str, file: Path) -> None:
        """:meth:`read` into a local file, some bytes at a time.

        Raises:
            NotFound: there is no such object.
            StorageError: storage did not answer.
        """
        with answering("storage cannot be read", self.uri(path)):
            try:
                self._objects.download(path, file)
            except FileNotFoundError as error:
                raise NotFound("no such object", where=self.uri(path)) from error

    def names(self, folder: str) -> list[str]:
        """Names of the objects and folders directly in a folder, sorted; [] if it is not there.

        Raises:
            StorageError: storage did not answer.
        """
        with answering("storage cannot be listed", self.uri(folder)):
            names = self._objects.names(folder)
        return sorted(name for name in names if not name.startswith(".tmp-"))

    def since(self, folder: str, name: str) -> dict[str, str]:
        """The names of a folder's objects from this one on, and what tells the object of each from a later one of its name.

        Raises:
            StorageError: storage did not answer.
        """
        with answering("storage cannot be listed", self.uri(folder)):
            return self._objects.since(folder, name)

    def delete_unfinished(self, before_us: int) -> int:
        """How many files were deleted that killed writes had left anywhere below the root; 0 where there are none such.

        ``before_us``: of writes that cannot begin again, only those from before this time.

        Raises:
            StorageError: storage did not answer.
        """
        with answering("storage cannot be written", self.root):
            return self._objects.delete_unfinished(before_us)

    def delete(self, path: str) -> None:
        """Remove an object, or a folder with everything in it; does nothing if it is absent.

        Raises:
            StorageError: storage did not answer.
        """
        with answering("storage cannot be written", self.uri(path)):
            self._objects.delete(path)


@contextmanager
def understanding(what: str, where: str, hint: str) -> Iterator[None]:
    """What is raised over bytes that are not what was written becomes :class:`Damaged`. ``hint``: what to type."""
    try:
        yield
    except FeatureStoreError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        got = " ".join(str(error).split())[:200] or type(error).__name__
        raise Damaged(f"{what} cannot be read", where=where, got=got, hint=hint) from error


_LOST = re.compile(r"[#?\\\x00-\x1f\x7f-\x9f]|%[0-9A-Fa-f]{2}|(?<=.)//|(?:^|(?<=/))_delta_log(?=/|$)")
"""What delta-rs takes for another place than other libraries do, or does not find again: to it, a path is a URL."""


def _require_findable(root: str, path: str) -> None:
    if lost := _LOST.search(path.rstrip("/")):
        raise SpecError(
            "data in this storage root would not be found again",
            where=repr(root),
            wanted="a path without #, ?, \\, control characters, codes such as %20, empty parts or _delta_log",
            got=repr(lost.group()),
            hint="Choose another spec.offline.uri, or rename the folder",
        )
