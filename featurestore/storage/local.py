"""Objects in a local folder: durable when a write returns, and never seen in part."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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
        target = self._path(path)
        temporary = _temporary(target, data)
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        _sync_folder(target)
        return True

    def replace(self, path: str, data: bytes) -> None:
        target = self._path(path)
        temporary = _temporary(target, data)
        try:
            os.replace(temporary, target)
        except OSError:
            os.unlink(temporary)
            raise
        _sync_folder(target)

    def names(self, folder: str) -> list[str]:
        try:
            return os.listdir(self._path(folder))
        except FileNotFoundError:
            return []

    def delete(self, path: str) -> None:
        target = self._path(path)
        if os.path.isdir(target):
            shutil.rmtree(target)
            return
        try:
            os.unlink(target)
        except FileNotFoundError:
            return

    def _path(self, path: str) -> str:
        # No Path: it would remember each part of each of thousands of paths.
        return os.path.join(self._root, path)


def _temporary(target: str, data: bytes) -> str:
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".tmp-{uuid.uuid4().hex}")
    with open(temporary, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_folder(target: str) -> None:
    """Make the name as durable as the bytes: a manifest must not vanish while its effect stays."""
    folder = os.open(os.path.dirname(target), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
