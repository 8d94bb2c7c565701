"""Generations of the embedded store: DuckDB files, each whole, numbered by pointers.

    online/<view>/<digest>/00000007.json               the seventh generation: version, entities, its file
    online/<view>/<digest>/00000007-<uuid>.duckdb      keys and sections of all entities

A file is written first and named by the next number's pointer then, which is put if absent: of two who began
at the same generation one is first, and the other begins again.
"""

from __future__ import annotations

import json
import re
import tempfile
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from featurestore.errors import NotFound, StorageError
from featurestore.identity import canonical_json
from featurestore.online.form import Form
from featurestore.online.stored import Section, Stored
from featurestore.storage import Storage

LAYOUT = 1
"""Grows with every change that older readers would misread."""
KEPT = 3
"""Generations that stay: a reader may have looked up the one before just now."""

_POINTER = re.compile(r"(\d{8,})\.json")
_FILE = re.compile(r"(\d{8,})-[0-9a-f]{32}\.duckdb")
_STORAGE_VERSION = "v1.4.0"
"""Of DuckDB's files: readers may have an older DuckDB than the publisher, down to the lowest we allow."""


@dataclass(frozen=True, slots=True)
class Generation:
    """``number``: 1, 2, 3 …; ``version``: of the view's table; ``file``: name of the DuckDB file."""

    number: int
    version: int
    entities: int
    file: str

    def pointer(self) -> bytes:
        return canonical_json(
            {"layout": LAYOUT, "version": self.version, "entities": self.entities, "file": self.file}
        )


@dataclass(frozen=True, slots=True)
class Shelf:
    """The generations of one build, as they were listed.

    ``last``: the greatest number that is taken; 0 if none. ``newest``: its generation, None if there is none
    that can be read: of another layout, or its file is gone.
    """

    storage: Storage
    folder: str
    last: int
    newest: Generation | None

    @classmethod
    def list(cls, storage: Storage, folder: str) -> Shelf:
        """Raises StorageError if storage does not answer."""
        names = set(storage.names(folder))
        last = max((int(found[1]) for name in names if (found := _POINTER.fullmatch(name))), default=0)
        return cls(storage, folder, last, _find(storage, folder, last, names) if last else None)

    def add(self, stored: Stored, version: int) -> Generation:
        """Write a generation's file after the last one; no pointer names it yet."""
        number = self.last + 1
        file = f"{number:08d}-{uuid.uuid4().hex}.duckdb"
        generation = Generation(number, version, len(stored), file)
        with tempfile.TemporaryDirectory(prefix="featurestore-") as scratch:
            path = Path(scratch) / "generation.duckdb"
            _write(path, stored)
            self.storage.replace(f"{self.folder}/{file}", path.read_bytes())
        return generation

    def point_at(self, generation: Generation) -> bool:
        """True if this generation is the newest from now on; False if another was first."""
        if not self.storage.put_if_absent(pointer_path(self.folder, generation.number), generation.pointer()):
            return False
        self._tidy(generation)
        return True

    def _tidy(self, newest: Generation) -> None:
        """Remove what no reader looks for any more, and the files of those who were not first or were killed."""
        names = self.storage.names(self.folder)
        oldest = newest.number - KEPT + 1
        for name in names:
            pointer, file = _POINTER.fullmatch(name), _FILE.fullmatch(name)
            if (pointer and int(pointer[1]) < oldest) or (file and int(file[1]) < oldest):
                self.storage.delete(f"{self.folder}/{name}")


def pointer_path(folder: str, number: int) -> str:
    return f"{folder}/{number:08d}.json"


def load(storage: Storage, folder: str, generation: Generation, form: Form) -> Stored:
    """All that a generation holds.

    Raises:
        NotFound: its file is gone.
        StorageError: it cannot be read.
    """
    path = f"{folder}/{generation.file}"
    with _local(storage, path) as file:
        try:
            with duckdb.connect(str(file), read_only=True) as connection:
                keys = connection.sql("SELECT key, published_us FROM keys").to_arrow_table()
                sections = [_section(connection, place, schema) for place, schema in enumerate(form.sections)]
        except duckdb.Error as error:
            if not file.exists():
                raise NotFound("the generation is gone", where=storage.uri(path)) from error
            where = storage.uri(path)
            raise StorageError("the generation cannot be read", where=where, got=str(error)) from error
    key = keys.column("key").combine_chunks().cast(pa.binary())
    return Stored(key, keys.column("published_us").to_numpy(), tuple(sections))


def _find(storage: Storage, folder: str, number: int, names: Collection[str]) -> Generation | None:
    data = storage.find(pointer_path(folder, number))
    if data is None:
        return None
    value = json.loads(data)
    if value.get("layout") != LAYOUT or value["file"] not in names:
        return None
    return Generation(number, value["version"], value["entities"], value["file"])


@contextmanager
def _local(storage: Storage, path: str) -> Iterator[Path]:
    """The file at a local path: itself, or a copy of it while it is read."""
    if storage.is_local:
        yield Path(storage.uri(path))
        return
    with tempfile.TemporaryDirectory(prefix="featurestore-") as scratch:
        copy = Path(scratch) / "generation.duckdb"
        copy.write_bytes(storage.read(path))
        yield copy


def _write(path: Path, stored: Stored) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS file (STORAGE_VERSION '{_STORAGE_VERSION}')")
        # One transaction: else each table is flushed to the disk by itself.
        connection.begin()
        keys = pa.table({"key": stored.keys, "published_us": stored.published_us})
        connection.register("rows", keys)
        connection.execute("CREATE TABLE file.main.keys AS SELECT * FROM rows")
        for place, section in enumerate(stored.sections):
            # DuckDB has words that no column may be named by, and times that have a zone: both are ours to know.
            columns = [pa.array(section.entity), *(_plain(column) for column in section.rows.columns)]
            names = ["entity", *(f"c{n}" for n in range(len(columns) - 1))]
            connection.register("rows", pa.Table.from_arrays(columns, names))
            connection.execute(f"CREATE TABLE file.main.section_{place} AS SELECT * FROM rows")
        connection.commit()
        connection.execute("DETACH file")


def _plain(column: pa.Array) -> pa.Array:
    return column.view(pa.int64()) if pa.types.is_timestamp(column.type) else column


def _section(connection: duckdb.DuckDBPyConnection, place: int, schema: pa.Schema) -> Section:
    table = connection.sql(f"SELECT * FROM section_{place}").to_arrow_table().combine_chunks()
    arrays = []
    for field, column in zip(schema, table.columns[1:], strict=True):
        array = column.combine_chunks()
        arrays.append(array.view(field.type) if pa.types.is_timestamp(field.type) else array.cast(field.type))
    return Section(table.column("entity").to_numpy(), pa.RecordBatch.from_arrays(arrays, schema=schema))
