"""Objects in a local folder: durable when a write returns, unless asked otherwise, and never seen in part."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_ATTEMPTS = 10
_COPIED_BYTES = 1 << 20
_OURS = re.compile(r"\.tmp-[0-9a-f]{32}")
_OF_DELTA_RS = re.compile(r".+#[0-9]+")
"""What its writes stand in until they are linked, as a write of ours does in ``.tmp-…``."""


class LocalFolder:
    """The folder ``root``, an absolute path. Raises what the operating system says, and FileNotFoundError."""

    def __init__(self, root: str) -> None:
        self._root = root

    @contextmanager
    def opened(self, path: str) -> Iterator[Any]:
        with open(self._path(path), "rb") as file:
            yield file

    def read(self, path: str) -> bytes:
        with open(self._path(path), "rb") as file:
            return file.read()

    def create(self, path: str, data: bytes) -> bool:
        try:
            _put(self._path(path), data, os.link)
        except FileExistsError:
            if not os.path.exists(self._path(path)):
                raise  # A file stands where its folder would be.
            _sync_folder(self._path(path))  # Whoever created it may have been killed before it did.
            return False
        return True

    def replace(self, path: str, data: bytes, *, durable: bool) -> None:
        _put(self._path(path), data, os.replace, durable=durable)

    def upload(self, path: str, file: Path) -> None:
        _put(self._path(path), file, os.replace)

    def download(self, path: str, file: Path) -> None:
        shutil.copyfile(self._path(path), file)

    def names(self, folder: str) -> list[str]:
        try:
            return os.listdir(self._path(folder))
        except FileNotFoundError:
            return []

    def since(self, folder: str, name: str) -> dict[str, str]:
        marks = {}
        for listed in self.names(folder):
            if listed >= name:
                with suppress(FileNotFoundError):
                    status = os.stat(self._path(f"{folder}/{listed}"))
                    marks[listed] = f"{status.st_ino} {status.st_mtime_ns} {status.st_size}"
        return marks

    def delete(self, path: str) -> None:
        target = self._path(path)
        if os.path.isdir(target):
            shutil.rmtree(target)
            return
        try:
            os.unlink(target)
        except FileNotFoundError:
            return

    def delete_unfinished(self, before_us: int) -> int:
        """How many files of writes were deleted that never ended. Of ours all: one that runs begins again.

        Of delta-rs those that were last written before that time: it would not begin again.
        """
        deleted = 0
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = os.path.join(folder, name)
                with suppress(FileNotFoundError):
                    if _OURS.fullmatch(name) or (
                        _OF_DELTA_RS.fullmatch(name) and os.stat(path).st_mtime_ns // 1000 < before_us
                    ):
                        os.unlink(path)
                        deleted += 1
        return deleted

    def _path(self, path: str) -> str:
        # No Path: it would remember each part of each of thousands of paths.
        return os.path.join(self._root, path)


def _put(target: str, data: bytes | Path, put: Callable[[str, str], None], *, durable: bool = True) -> None:
    """Give the data, or that of a file, this name.

    If it is swept meanwhile, with what killed writes had left, it is written again.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        temporary = _temporary(target, data, durable)
        try:
            put(temporary, target)
            break
        except FileNotFoundError:
            if attempt == _ATTEMPTS:
                raise
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
    if durable:
        _sync_folder(target)


def _temporary(target: str, data: bytes | Path, durable: bool) -> str:
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".tmp-{uuid.uuid4().hex}")
    with open(temporary, "xb") as file:
        if isinstance(data, Path):
            with open(data, "rb") as source:
                shutil.copyfileobj(source, file, _COPIED_BYTES)
        else:
            file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    return temporary


def _sync_folder(target: str) -> None:
    """Make the name as durable as the bytes: a manifest must not vanish while its effect stays."""
    folder = os.open(os.path.dirname(target), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
