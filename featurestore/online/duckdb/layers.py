"""The files of a generation, one upon the other: what is kept of an entity stands in the last one that has its key."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from featurestore.arrays import Flags
from featurestore.errors import NotFound, StorageError
from featurestore.online.duckdb.generation_file import FileReader, connected
from featurestore.online.duckdb.generations import DatabaseFile
from featurestore.online.entities import Stored
from featurestore.online.entity_keys import KeyIndex
from featurestore.online.layout import Form
from featurestore.storage.objects import Storage


class Layers:
    """Files that are open, the base first."""

    def __init__(self, files: Sequence[FileReader]) -> None:
        self._files = files

    def has(self, keys: pa.Array) -> Flags:
        """Of which of these entities a file says something."""
        known = np.zeros(len(keys), np.bool_)
        for file in self._files:
            known |= file.has(keys)
        return known

    def fetch(self, keys: pa.Array) -> list[Stored]:
        """What is kept of these entities, in parts; others are left out."""
        fetched = []
        for file in reversed(self._files):
            if len(keys):
                fetched.append(file.fetch(keys))
                keys = keys.filter(pa.array(KeyIndex.of(fetched[-1].keys).find(keys) < 0))
        return fetched

    def parts(self, at_once: int) -> Iterator[Stored]:
        """All that is kept, so many entities at a time, the oldest file first."""
        for place, file in enumerate(self._files):
            later = Layers(self._files[place + 1 :])
            for stored in file.parts(at_once):
                kept = np.flatnonzero(~later.has(stored.keys))
                yield stored if len(kept) == len(stored) else stored.take(kept)


def over(below: Stored, above: Stored) -> Stored:
    """What is kept where a file lies upon others."""
    kept = np.flatnonzero(KeyIndex.of(above.keys).find(below.keys) < 0)
    return Stored.joined([below.take(kept), above])


def load(storage: Storage, folder: str, files: Sequence[DatabaseFile], form: Form) -> Iterator[Stored]:
    """All that each file holds.

    Raises:
        NotFound: a file is gone.
        StorageError: it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="featurestore-") as name:
        scratch = Path(name)
        with connected(scratch) as engine:
            for file in files:
                path = f"{folder}/{file.name}"
                with readable(storage, path, at_hand(storage, path, scratch)) as local:
                    yield FileReader(engine, local, form).load()


def opened(
    engine: duckdb.DuckDBPyConnection,
    storage: Storage,
    folder: str,
    files: Sequence[DatabaseFile],
    form: Form,
    scratch: Path,
) -> list[FileReader]:
    """The files, open until the engine is closed. ``scratch``: where copies of them may stand.

    Raises:
        NotFound: a file is gone.
        StorageError: one cannot be read, or does not hold what it is said to.
    """
    readers = []
    for file in files:
        path = f"{folder}/{file.name}"
        with readable(storage, path, at_hand(storage, path, scratch)) as local:
            readers.append(FileReader(engine, local, form))
        if readers[-1].entities != file.entities:
            got = f"{readers[-1].entities:,} entities, and was written with {file.entities:,}"
            raise StorageError("a generation is damaged", where=storage.uri(path), got=got)
    return readers


def at_hand(storage: Storage, path: str, scratch: Path) -> Path:
    """A local path of a file: a plain name for it, or a copy.

    Raises:
        NotFound: it is gone.
        StorageError: storage did not answer.
    """
    local = scratch / path.rpartition("/")[2]
    if storage.is_local:
        os.symlink(storage.uri(path), local)
    else:
        storage.download(path, local)
    return local


@contextmanager
def readable(storage: Storage, path: str, local: Path) -> Iterator[Path]:
    """What DuckDB raises over the file, in our words."""
    try:
        yield local
    except duckdb.Error as error:
        where = storage.uri(path)
        if not local.exists():
            raise NotFound("the generation is gone", where=where) from error
        raise StorageError("the generation cannot be read", where=where, got=str(error)) from error
