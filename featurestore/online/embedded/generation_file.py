"""A generation of the embedded store: one DuckDB file, whole. Which there are is said by ``index.py``."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from featurestore.errors import NotFound, StorageError
from featurestore.online.embedded.generations import Generation, GenerationIndex
from featurestore.online.entities import Section, Stored
from featurestore.online.layout import Form
from featurestore.storage.objects import Storage

_STORAGE_VERSION = "v1.4.0"
"""Of DuckDB's files: readers may have an older DuckDB than the publisher, down to the lowest we allow."""


def add(shelf: GenerationIndex, stored: Stored, version: int) -> Generation:
    """Write a generation's file after the last one; no pointer names it yet."""
    number = shelf.last + 1
    file = f"{number:08d}-{uuid.uuid4().hex}.duckdb"
    generation = Generation(number, version, len(stored), file)
    with tempfile.TemporaryDirectory(prefix="featurestore-") as scratch:
        path = Path(scratch) / "generation.duckdb"
        _write(path, stored)
        shelf.storage.replace(f"{shelf.folder}/{file}", path.read_bytes())
    return generation


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
