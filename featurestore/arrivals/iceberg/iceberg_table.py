"""An Iceberg table in a folder: which of its metadata files is the newest, and where its files are."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from functools import cached_property

from featurestore.arrivals.iceberg.iceberg_metadata import TableMetadata, parse_metadata
from featurestore.errors import Damaged, NotFound, StorageError
from featurestore.storage.objects import Storage

METADATA = "metadata"
HINT = "version-hint.text"
_SUFFIX = ".metadata.json"


class IcebergTable:
    """``uri``: of its folder. ``environ``: has the credentials; None for the process's own environment."""

    def __init__(self, uri: str, environ: Mapping[str, str] | None) -> None:
        self.uri, self._environ = uri, environ
        self._last: tuple[str, str, TableMetadata] | None = None

    @cached_property
    def storage(self) -> Storage:
        """Where the table is.

        Raises:
            StorageError: ``environ`` does not name the keys.
        """
        return Storage(self.uri, self._environ)

    def look(self) -> TableMetadata | None:
        """What it is now; None if there is no table. A listing tells whether the newest metadata file is another one.

        Raises:
            StorageError: storage did not answer, or the metadata cannot be read.
        """
        name = self._newest()
        if name is None:
            return None
        mark = self.storage.since(METADATA, name).get(name, "")
        if self._last is None or self._last[:2] != (name, mark):
            path = f"{METADATA}/{name}"
            self._last = name, mark, parse_metadata(self._read(path), self.storage.uri(path))
        return self._last[2]

    def _newest(self) -> str | None:
        """The file that the hint names. Of those with a number, also a later one: the hint is written after it.

        Files are not taken by their time or number alone: one may be of a commit that failed.
        """
        hint = self.storage.find(f"{METADATA}/{HINT}")
        if hint is None:
            if any(name.endswith(_SUFFIX) for name in self.storage.names(METADATA)):
                raise StorageError(
                    "nothing says which metadata of the Iceberg table is the newest",
                    where=self.storage.uri(METADATA),
                    wanted=HINT,
                    got="metadata files alone",
                    hint="a catalog knows it: have whoever writes the table write the name of the metadata file there",
                )
            return None
        text = hint.decode(errors="replace").strip()
        if not text or "/" in text or "\\" in text:
            raise Damaged(
                "the hint names no metadata file",
                where=self.storage.uri(f"{METADATA}/{HINT}"),
                got=repr(text),
            )
        if not text.isdecimal():
            return text if text.endswith(_SUFFIX) else f"{text}{_SUFFIX}"
        listed = set(self.storage.names(METADATA))
        number = int(text)
        names = _numbered(number)
        while later := [name for name in _numbered(number + 1) if name in listed]:
            names, number = later, number + 1
        return next((name for name in names if name in listed), names[0])

    def _read(self, path: str) -> bytes:
        try:
            data = self.storage.read(path)
            is_packed = path.endswith((f".gz{_SUFFIX}", f"{_SUFFIX}.gz"))
            return gzip.decompress(data) if is_packed else data
        except NotFound as error:
            raise StorageError(
                "the hint names a metadata file that is not there", where=self.storage.uri(path)
            ) from error
        except (OSError, EOFError, zlib.error) as error:
            raise Damaged(
                "the metadata of the Iceberg table cannot be read",
                where=self.storage.uri(path),
                got=str(error),
            ) from error

    def path(self, location: str, table_location: str) -> str:
        """Where a file of the table is, below its folder. A table that was copied as a whole is read from the copy.

        Raises:
            Damaged: it is not below the table. Its metadata is written by others, and policies allow what a spec names.
        """
        root, file = _plain(table_location), _plain(location)
        path = file.removeprefix(f"{root}/")
        if path == file or ".." in path.split("/"):
            raise Damaged(
                "a file of the Iceberg table lies outside of it", where=self.uri, got=repr(location[:200])
            )
        return path


def _numbered(number: int) -> list[str]:
    return [f"v{number}{_SUFFIX}", f"v{number}.gz{_SUFFIX}", f"v{number}{_SUFFIX}.gz"]


def _plain(location: str) -> str:
    """The location without what is written in more than one way.

    >>> _plain("file:///lake/events"), _plain("s3a://lake/events/")
    ('/lake/events', 's3://lake/events')
    """
    protocol, separator, path = location.rstrip("/").partition(":")
    if not separator or "/" in protocol:
        return location.rstrip("/")
    if protocol == "file":
        return "/" + path.lstrip("/")
    protocol = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "abfss", "wasbs": "abfss"}.get(
        protocol, protocol
    )
    return f"{protocol}:{path}"
