"""A generation of the embedded store: one whole DuckDB file. ``generations.py`` lists them.

The tables ``keys`` and ``section_<n>`` are what readers load. The SQL views are for a person who opens the file with any
DuckDB: ``rows``, ``events`` and ``tiles_<n>`` name the columns of the sections, and a view named like the
FeatureView has the newest row of each entity::

    duckdb online/aircraft-delays/<digest>/00000007-….duckdb 'FROM "aircraft-delays"'
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from featurestore.errors import NotFound, StorageError
from featurestore.online.duckdb.generations import Generation, GenerationIndex
from featurestore.online.entities import Section, Stored
from featurestore.online.layout import CREATED_US, EVENT_US, EVENTS, ROWS, START_US, TILES, Form
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
        _write(path, stored, view=shelf.folder.split("/")[-2])
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


def _write(path: Path, stored: Stored, view: str) -> None:
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
        connection.execute("USE file.main")
        for statement in _views(stored, view):
            connection.execute(statement)
        connection.commit()
        connection.execute("USE memory")
        connection.execute("DETACH file")


def _views(stored: Stored, view: str) -> Iterator[str]:
    """The statements that create the readable views."""
    for place, section in enumerate(stored.sections):
        name = {ROWS: "rows", EVENTS: "events"}.get(place, f"tiles_{place - TILES}")
        yield f"CREATE VIEW {_quoted(name)} AS {_select(section, place, {'key'})}"
    # Rows of an entity stand in the order of events, so its last one is the newest.
    published = ", make_timestamp(k.published_us) AS published_at"
    newest = _select(stored.sections[ROWS], ROWS, {"key", "published_at"}, published)
    name = view if view not in _NAMES else f"view {view}"
    yield (
        f"CREATE VIEW {_quoted(name)} AS {newest} "
        "QUALIFY row_number() OVER (PARTITION BY s.entity ORDER BY s.rowid DESC) = 1"
    )


_NAMES = ("keys", "rows", "events")
"""Of tables and views of each generation, those that a FeatureView may have, too."""


def _select(section: Section, place: int, taken: set[str], more: str = "") -> str:
    """Rows of a section with their keys as text. ``taken``: names that its columns may not have."""
    columns = ", ".join(
        f"{_shown(f's.c{n}', column.name, column.type)} AS {_quoted(_free(_label(column.name), taken))}"
        for n, column in enumerate(section.rows.schema)
    )
    return f"SELECT decode(k.key) AS key, {columns}{more} FROM section_{place} s JOIN keys k ON k.rowid = s.entity"


def _label(name: str) -> str:
    return {EVENT_US: "event_timestamp", CREATED_US: "created_timestamp", START_US: "start"}.get(name, name)


def _shown(column: str, name: str, kind: pa.DataType) -> str:
    is_time = name in (EVENT_US, CREATED_US, START_US) or pa.types.is_timestamp(kind)
    return f"make_timestamp({column})" if is_time else column


def _free(name: str, taken: set[str]) -> str:
    """The name, or with a number after it: to DuckDB ``a`` and ``A`` are one."""
    found, number = name, 1
    while found.lower() in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found.lower())
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(column: pa.Array) -> pa.Array:
    return column.view(pa.int64()) if pa.types.is_timestamp(column.type) else column


def _section(connection: duckdb.DuckDBPyConnection, place: int, schema: pa.Schema) -> Section:
    table = connection.sql(f"SELECT * FROM section_{place}").to_arrow_table().combine_chunks()
    arrays = []
    for field, column in zip(schema, table.columns[1:], strict=True):
        array = column.combine_chunks()
        arrays.append(array.view(field.type) if pa.types.is_timestamp(field.type) else array.cast(field.type))
    return Section(table.column("entity").to_numpy(), pa.RecordBatch.from_arrays(arrays, schema=schema))
