"""Files on a web server: read as a whole, or opened. What is read is of the version that is wanted, or it is an error."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from featurestore.storage.filesystem import answering, filesystem
from featurestore.storage.redirects import only_version

WEB = ("http://", "https://")
NOT_THERE = (404, 410)
_NOT_MODIFIED = 304
_PIECE_BYTES = 1 << 20
_AT_ONCE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """``is_new``: False if the server says that nothing changed since the ETag that it was asked with."""

    etag: str
    is_new: bool


def read_document(
    url: str, most_bytes: int, take: Callable[[bytes], object], *, known_etag: str = ""
) -> WebAnswer | None:
    """Gives ``take`` the bytes at a URL piece by piece; None if there is nothing.

    Raises:
        StorageError: the server did not answer, or there are more bytes.
    """
    options = only_version("")
    if known_etag:
        options["headers"] = {**options["headers"], "If-None-Match": known_etag}
    with answering("the source cannot be read", url):
        return _read(url, options, most_bytes, take)


def open_web(url: str, version: str, size_bytes: int | None) -> Any:
    """The file at a URL, open for reading: in order or, if ``size_bytes`` is given, by position.

    Up to 16 MiB are read at once. Of more, the server must be able to send parts. ``version``: empty if any will do.

    Raises:
        OSError: it is not there, or the server did not answer. So does reading, also where it has another version now.
    """
    if size_bytes is not None and size_bytes <= _AT_ONCE_BYTES:
        data = io.BytesIO()
        if _read(url, only_version(version), size_bytes, data.write) is None:
            raise FileNotFoundError(url)
        data.seek(0)
        return data
    fs, path = filesystem(url)
    with _as_os_errors():
        if size_bytes is None:
            return WebFile(fs.open(path, "rb", block_size=0, **only_version(version)))
        return WebFile(fs.open(path, "rb", size=size_bytes, **only_version(version, ranges=True)))


def read_ranges(url: str, version: str, starts: list[int], ends: list[int]) -> list[bytes]:
    """Parts of the file at a URL, in few requests. Arguments and errors as of :func:`open_web`."""
    fs, path = filesystem(url)
    options = only_version(version, ranges=True)
    with _as_os_errors():
        pieces: list[bytes] = fs.cat_ranges([path] * len(starts), starts, ends, on_error="raise", **options)
    return pieces


class WebFile:
    """A file of fsspec. A connection that breaks is an OSError, as with other files."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        with _as_os_errors():
            data: bytes = self._file.read(size)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at: int = self._file.seek(offset, whence)
        return at

    def tell(self) -> int:
        at: int = self._file.tell()
        return at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        self.closed = True
        self._file.close()

    def __enter__(self) -> WebFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "aiohttp":
            raise
        raise OSError(str(error) or type(error).__name__) from error


def _read(
    url: str, options: dict[str, Any], most_bytes: int, take: Callable[[bytes], object]
) -> WebAnswer | None:
    from fsspec.asyn import sync

    fs, _ = filesystem(url)
    with _as_os_errors():
        answer: WebAnswer | None = sync(fs.loop, _answer, fs, url, options, most_bytes, take)
    return answer


async def _answer(
    fs: Any, url: str, options: dict[str, Any], most_bytes: int, take: Callable[[bytes], object]
) -> WebAnswer | None:
    session = await fs.set_session()
    async with session.get(fs.encode_url(url), **options) as response:
        if response.status in NOT_THERE:
            return None
        response.raise_for_status()
        etag = response.headers.get("ETag", "")
        if response.status == _NOT_MODIFIED:
            return WebAnswer(etag, False)
        size_bytes = 0
        async for piece in response.content.iter_chunked(_PIECE_BYTES):
            size_bytes += len(piece)
            if size_bytes > most_bytes:
                raise OSError(f"it has more than {most_bytes:,} bytes")
            take(piece)
        return WebAnswer(etag, True)
