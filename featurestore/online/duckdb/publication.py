"""Publishing to the embedded store: what changes is written as a file beside those of the generation before.

Where that grew large, or rows went, all is written as one file: of what was erased no byte stays.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import duckdb
import numpy as np
import pyarrow as pa

from featurestore.errors import Conflict, StorageError
from featurestore.failpoint import hit
from featurestore.online.duckdb.generation_file import FileReader, FileWriter, connected
from featurestore.online.duckdb.generations import DatabaseFile, Generation, GenerationIndex
from featurestore.online.duckdb.layers import Layers, opened
from featurestore.online.entities import Stored
from featurestore.online.layout import Form
from featurestore.online.packed.heap import UnreadableValue
from featurestore.online.versions import OnlineVersion

_SMALL = 10_000
"""A base of so many entities is written again as quickly as a delta is."""
_MOST_DELTAS = 8
_DELTA_SHARE = 4
"""Deltas that have more than this part of the base's entities are not worth what reading them takes."""
_DUCKDB_SHARE = 8
"""DuckDB may take this part of the memory."""
_COPIED_BYTES, _MOST_COPIED = 16 << 20, 200_000


class DuckDBPublication:
    """See :class:`featurestore.online.publication.Publication`. It writes the generation after the newest one."""

    def __init__(self, shelf: GenerationIndex, form: Form, version: int, memory_bytes: int) -> None:
        self._shelf, self._form, self._version = shelf, form, version
        self._open = ExitStack()
        self._scratch = Path(self._open.enter_context(TemporaryDirectory(prefix="featurestore-")))
        self._engine = self._open.enter_context(connected(self._scratch, memory_bytes // _DUCKDB_SHARE))
        self._old: list[FileReader] = []
        self._is_anew = self._is_whole = False
        self._added = 0
        self._writer: FileWriter | None = None
        if shelf.newest is not None:
            # Lost or damaged: everything is rebuilt.
            with suppress(StorageError):
                self._old = opened(
                    self._engine, shelf.storage, shelf.folder, shelf.newest.files, form, self._scratch
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def bases(self) -> tuple[int, ...] | None:
        newest = self._shelf.newest
        return (newest.version,) if newest is not None and self._old else None

    def fetch(self, keys: pa.Array) -> Stored:
        with reading():
            layers = Layers(self._old).fetch(keys)
        return Stored.joined(layers) if layers else Stored.empty(self._form)

    def put(self, stored: Stored) -> None:
        if not self._is_anew:
            with reading():
                self._added += int((~Layers(self._old).has(stored.keys)).sum())
        self._file().put(stored)

    def replace(self, stored: Stored) -> None:
        self._is_whole = True
        self.put(stored)

    def remove(self, keys: pa.Array) -> None:
        if len(keys):
            self._is_whole = True
            self._file().leave_out(keys)

    def begin_anew(self) -> None:
        self._is_anew, self._writer = True, None

    def finish(self) -> OnlineVersion:
        shelf, kept = self._shelf, self._kept()
        new = self._new(kept)
        number = shelf.last + 1
        files = kept
        if new is not None:
            files = (*kept, DatabaseFile(f"{number:08d}-{uuid.uuid4().hex}.duckdb", new.entities))
            shelf.storage.upload(f"{shelf.folder}/{files[-1].name}", new.path)
        entities = sum(file.entities for file in files)
        if kept and shelf.newest is not None:
            entities = shelf.newest.entities + self._added
        hit("during-publish")
        if not shelf.publish(Generation(number, self._version, entities, files)):
            raise Conflict("another publication was first", where=shelf.storage.uri(shelf.folder))
        return OnlineVersion(self._version, entities)

    def _kept(self) -> tuple[DatabaseFile, ...]:
        """The files of the generation before that stay."""
        if self._shelf.newest is None or not self._old or self._is_anew or self._is_whole:
            return ()
        base, *deltas = self._shelf.newest.files
        changed = self._writer.entities if self._writer is not None else 0
        held = sum(file.entities for file in deltas) + changed
        grown = len(deltas) >= _MOST_DELTAS or held * _DELTA_SHARE > base.entities
        if changed and (grown or not self._is_large):
            return ()
        return self._shelf.newest.files

    def _new(self, kept: Sequence[DatabaseFile]) -> FileWriter | None:
        """The file that is added, whole; None if nothing changed."""
        if kept and self._writer is None:
            return None
        changed = self._file()
        if kept or self._is_anew:
            changed.close()
            return changed
        new = self._writer_of("whole", is_large=True) if self._is_large else changed
        for stored in _read(Layers(self._old).parts(self._at_once)):
            new.put(stored.take(np.flatnonzero(~changed.has(stored.keys))))
        changed.close()
        if new is not changed:
            for stored in FileReader(self._engine, changed.path, self._form).parts(self._at_once):
                new.put(stored)
            new.close()
        return new

    @property
    def _is_large(self) -> bool:
        """Whether the generation before has many entities."""
        return bool(self._old) and self._old[0].entities > _SMALL

    @property
    def _at_once(self) -> int:
        """Entities that are copied at once."""
        entities = sum(file.entities for file in self._old)
        size = sum(path.stat().st_size for path in self._scratch.glob("*.duckdb"))
        return int(max(1, min(_MOST_COPIED, _COPIED_BYTES * entities // max(1, size))))

    def _file(self) -> FileWriter:
        if self._writer is None:
            name = "anew" if self._is_anew else "changed"
            self._writer = self._writer_of(name, is_large=self._is_anew)
        return self._writer

    def _writer_of(self, name: str, *, is_large: bool) -> FileWriter:
        view = self._shelf.folder.split("/")[-2]
        path = self._scratch / f"{name}.duckdb"
        return FileWriter(self._engine, path, self._form, view, is_large=is_large)


@contextmanager
def reading() -> Iterator[None]:
    """What DuckDB raises over a file of before, as what is raised over values that cannot be gone on from."""
    try:
        yield
    except duckdb.Error as error:
        raise UnreadableValue(str(error)) from error


def _read(parts: Iterator[Stored]) -> Iterator[Stored]:
    with reading():
        yield from parts
