"""One source file: whether it still is the one that was taken, its bytes, and what is wrong with it.

Each format has a reader in a module of its own. Files come from any place that fsspec knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files.listing import find_pinned
from featurestore.errors import StorageError
from featurestore.resources.data_pipeline import Compression
from featurestore.storage.bucket import bucket_of
from featurestore.storage.credentials import in_object_storage, is_s3, source_environ
from featurestore.storage.filesystem import answering, filesystem
from featurestore.storage.web import WEB, open_web
from featurestore_transforms.sources.column_use import ColumnUse
from featurestore_transforms.sources.foreign import packed
from featurestore_transforms.sources.reader import DECODING, UnreadableArrival
from featurestore_transforms.sources.stream import FrameStream

_CHUNK_BYTES = 8 << 20
_AHEAD_BYTES = 4 << 20
_SHOWN = 500
_CUT = ("truncated", "unexpected end", "eof", "past the end", "expected to be able to read")
_UNSUPPORTED = (
    "unsupported",
    "not supported",
    "not implemented",
    "decrypt",
    "no support for",
    # Of Parquet files that others read: optional keys of maps, decimals of more digits than Arrow has.
    "map keys must be annotated as required",
    "decimal precision out of range [1, 76]",
)
_START_BYTES = 1024
_UNPACKING = {
    "zlib inflate failed": ("gzip", b"\x1f\x8b"),
    "ZSTD decompress failed": ("zstd", b"\x28\xb5\x2f\xfd"),
}
"""How Arrow's errors of a codec begin, and bytes that begin what is compressed with it."""
_CODECS = {"gz": "gzip", "gzip": "gzip", "zst": "zstd", "zstd": "zstd"}


class SourceFile:
    """What the readers of all formats share: the file is the one that was taken, or it is said what is wrong."""

    arrival: Arrival
    stream: FrameStream
    whole = True
    refused: Mapping[str, str] = MappingProxyType({})
    partitions: Mapping[str, pl.Series] = MappingProxyType({})

    def require_learnable(self, use: ColumnUse) -> None:
        """Any file will do."""

    def refuse(self, columns: Mapping[str, str]) -> None:
        """Every row of a file has every column."""
        raise UnreadableArrival("file:format", next(iter(columns.values())))

    def require_unchanged(self) -> None:
        require_pinned(self.arrival)

    def explaining(self) -> AbstractContextManager[None]:
        return explaining(self.arrival, self.stream)


def require_pinned(arrival: Arrival) -> None:
    """Raises UnreadableArrival unless the file still is the version that was taken.

    A changed file is another arrival: its rows come with that one.

    Raises:
        UnreadableArrival: it is gone, or was changed.
        StorageError: storage did not answer.
    """
    with sparing_others(arrival):
        now = find_pinned(arrival, source_environ() if "://" in arrival.uri else None)
    if now is None:
        raise UnreadableArrival("file:gone", "the file was deleted before it was read")
    if now.version != arrival.version:
        raise UnreadableArrival(
            "file:changed",
            f"the file was changed before it was read: wanted version {arrival.version}, got {now.version}",
        )


def codec(uri: str, declared: Compression) -> str | None:
    """Name of a file's compression as Arrow knows it; None for plain files.

    >>> codec("raw/a.csv.gz", Compression.AUTO)
    'gzip'
    """
    match declared:
        case Compression.GZIP:
            return "gzip"
        case Compression.ZSTD:
            return "zstd"
        case Compression.NONE:
            return None
        case Compression.AUTO:
            return _CODECS.get(uri.rsplit(".", 1)[-1].lower())


def open_bytes(uri: str, size_bytes: int | None = None, version: str = "") -> Any:
    """The file, open for reading. ``size_bytes``: if it is known how large it is; by the web, reading is in order else.

    ``version``: by the web, another one that the server has meanwhile is an OSError.
    """
    if "://" not in uri:
        return open(uri, "rb")
    if in_object_storage(uri):
        # s3fs would take a second of a processor before the first byte.
        bucket, path = bucket_of(uri, source_environ())
        with suppress(ValueError):
            size = bucket.head(path)["size"] if size_bytes is None else size_bytes
            return bucket.file(path, size, _AHEAD_BYTES)
    if uri.startswith(WEB):
        return open_web(uri, version, size_bytes)
    fs, path = filesystem(uri, source_environ())
    return fs.open(path, "rb")


def open_stream(arrival: Arrival, codec: str | None) -> pa.NativeFile:
    """The file's bytes, unpacked, as a stream."""
    raw = pa.PythonFile(open_bytes(arrival.uri, version=arrival.version), mode="r")
    return pa.CompressedInputStream(raw, codec) if codec else raw


@contextmanager
def explaining(arrival: Arrival, stream: FrameStream | None = None) -> Iterator[None]:
    """What goes wrong while one file is read becomes ``UnreadableArrival``, or StorageError if it is not the file's fault.

    ``stream``: the file's, which knows better than Polars what went wrong.
    """
    try:
        yield
    except UnreadableArrival:
        require_pinned(arrival)
        raise
    except DECODING as error:
        raise blame(arrival, (stream and stream.failure) or error) from error


def blame(arrival: Arrival, error: BaseException) -> UnreadableArrival:
    """Why a file could not be read.

    A decoder's error does not tell a broken file from a broken connection. So the file is looked at again:
    whether it still is the same one, and whether storage gives all of its bytes.

    Raises:
        StorageError: storage does not give its bytes.
    """
    try:
        require_pinned(arrival)
    except UnreadableArrival as changed:
        return changed
    size, start = 0, b""
    try:
        with (
            sparing_others(arrival),
            answering("the source cannot be read", arrival.uri),
            open_bytes(arrival.uri) as file,
        ):
            while chunk := file.read(_CHUNK_BYTES):
                start = start or chunk[:_START_BYTES]
                size += len(chunk)
    except UnreadableArrival as denied:
        return denied
    if size != arrival.size_bytes:
        listed = f"it was listed with {arrival.size_bytes:,} bytes, and has {size:,}"
        return UnreadableArrival("file:changed", f"the file was changed before it was read: {listed}")
    if isinstance(error, UnreadableArrival):
        return error
    text = (str(error) or type(error).__name__).splitlines()[0]
    text = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    for prefix, (codec_name, mark) in _UNPACKING.items():
        if text.startswith(prefix) and not start.startswith(mark):
            what = packed(start) or "it is not. Set spec.source.compression: None"
            return UnreadableArrival(
                "file:format", f"by its name or the spec it is compressed with {codec_name}, and {what}"
            )
    return UnreadableArrival(_rule(error, text.lower()), text)


def _rule(error: BaseException, text: str) -> str:
    if isinstance(error, MemoryError):
        return "file:tooLarge"
    if isinstance(error, NotImplementedError) or any(word in text for word in _UNSUPPORTED):
        return "file:unsupported"
    return "file:truncated" if any(word in text for word in _CUT) else "file:corrupt"


@contextmanager
def sparing_others(arrival: Arrival) -> Iterator[None]:
    """A file that must not be read, in a folder that answers, becomes ``UnreadableArrival``: no other waits for it.

    If the folder does not answer either, the credentials are wrong or gone, and that may heal.
    """
    try:
        yield
    except StorageError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        _list_folder(arrival.uri)
        reason = f"this file must not be read: {error.__cause__}"
        raise UnreadableArrival("file:permission", reason) from error


def _list_folder(uri: str) -> None:
    with answering("the source cannot be listed", uri):
        if in_object_storage(uri) and not is_s3(uri):
            bucket, path = bucket_of(uri, source_environ())
            bucket.names(path.rpartition("/")[0])
        else:
            fs, path = filesystem(uri, source_environ())
            fs.ls(path.rpartition("/")[0] or "/", detail=False, refresh=True)
