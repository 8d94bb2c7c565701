"""A DuckDB file of a generation: what is kept of some entities. ``generations.py`` lists them.

The tables ``keys`` and ``section_<n>`` are what readers load. The SQL views are for a person who opens the file with any
DuckDB: ``rows``, ``events`` and ``tiles_<n>`` name the columns of the sections, and a view named like the
FeatureView has the newest row of each entity::

    duckdb online/aircraft-delays/<digest>/00000007-….duckdb 'FROM "aircraft-delays"'

Publishers write and read it some entities at a time, so that memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrays import Flags, Ints
from featurestore.online.entities import Section, Stored
from featurestore.online.layout import CREATED_US, EVENT_US, EVENTS, ROWS, START_US, TILES, Form

_STORAGE_VERSION = "v1.4.0"
"""Of DuckDB's files: readers may have an older DuckDB than the publisher, down to the lowest we allow."""
_SMALL_BLOCK, _LARGE_BLOCK = 16_384, 262_144
"""Bytes, the least and the most that DuckDB has. A column takes a block at least; of many rows, large ones take a third less."""
_LEAST_BYTES = 64 << 20
"""Less than this does not hold the blocks that DuckDB works on."""


class FileWriter:
    """Writes a new file, some entities after the other. Nothing is there before :meth:`close`.

    ``engine``: see :func:`connected`. ``view``: the name of the FeatureView. ``is_large``: many entities are expected.
    """

    def __init__(
        self, engine: duckdb.DuckDBPyConnection, path: Path, form: Form, view: str, *, is_large: bool
    ) -> None:
        self.path, self._form, self._view = path, form, view
        self.entities = 0
        self._connection = engine.cursor()
        options = (
            f"STORAGE_VERSION '{_STORAGE_VERSION}', BLOCK_SIZE {_LARGE_BLOCK if is_large else _SMALL_BLOCK}"
        )
        self._connection.execute(f"ATTACH {_text(path)} AS {_name(path)} ({options})")
        self._connection.execute(f"USE {_name(path)}.main")
        self._connection.execute("CREATE TEMP TABLE gone (key BLOB)")
        # One transaction: else each table is flushed to the disk by itself.
        self._connection.begin()
        # Trying to compress keys, which all differ, takes longer than writing them.
        self._connection.execute(
            "CREATE TABLE keys (key BLOB USING COMPRESSION uncompressed, published_us BIGINT)"
        )
        for name, rows in _tables(Stored.empty(form)):
            if name != "keys":
                self._execute(f"CREATE TABLE {name} AS SELECT * FROM rows", rows)

    def put(self, stored: Stored) -> None:
        """Of these entities the file has nothing yet."""
        for name, rows in _tables(stored, self.entities):
            self._execute(f"INSERT INTO {name} SELECT * FROM rows", rows)
        self.entities += len(stored)

    def leave_out(self, keys: pa.Array) -> None:
        """These entities are as good as put, but for their rows."""
        self._execute("INSERT INTO temp.gone SELECT * FROM rows", pa.table({"key": keys}))

    def has(self, keys: pa.Array) -> Flags:
        """Which of these entities were put or left out."""
        known = _those(self._connection, "keys", keys)
        known |= _those(self._connection, "temp.gone", keys)
        return known

    def close(self) -> None:
        """The file is whole."""
        connection = self._connection
        for statement in _views(self._form, self._view):
            connection.execute(statement)
        connection.commit()
        connection.execute("USE memory")
        connection.execute(f"DETACH {_name(self.path)}")
        connection.close()

    def _execute(self, statement: str, rows: pa.Table) -> None:
        # The statement finds ``rows`` as a variable of Python: a registered one is held until the transaction ends.
        self._connection.execute(statement)


class FileReader:
    """Reads a whole file. Everything raises :class:`duckdb.Error` if it cannot be read. ``engine``: see :func:`connected`."""

    def __init__(self, engine: duckdb.DuckDBPyConnection, path: Path, form: Form) -> None:
        self._form = form
        self._connection = engine.cursor()
        self._connection.execute(f"ATTACH {_text(path)} AS {_name(path)} (READ_ONLY)")
        self._connection.execute(f"USE {_name(path)}.main")
        [(self.entities,)] = self._connection.execute("SELECT count(*) FROM keys").fetchall()

    def load(self) -> Stored:
        """All that it holds."""
        return self._stored(_table(self._connection, "FROM keys"), "FROM section_{}", None)

    def has(self, keys: pa.Array) -> Flags:
        """Of which of these entities it says something."""
        return _those(self._connection, "keys", keys)

    def fetch(self, keys: pa.Array) -> Stored:
        """What it holds of these entities; others are left out."""
        located = _table(
            self._connection,
            "SELECT k.rowid AS place, k.key, k.published_us FROM keys k SEMI JOIN wanted w ON k.key = w.key ORDER BY k.rowid",
            wanted=pa.table({"key": keys}),
        )
        places = located.column("place").to_numpy()
        self._connection.register("places", located.select(["place"]))
        rows = "FROM section_{} s SEMI JOIN places p ON s.entity = p.place ORDER BY s.rowid"
        stored = self._stored(located, rows, places)
        self._connection.unregister("places")
        return stored

    def parts(self, at_once: int) -> Iterator[Stored]:
        """All that it holds, so many entities at a time."""
        for first in range(0, self.entities, at_once):
            stop = min(first + at_once, self.entities)
            keys = _table(
                self._connection, f"FROM keys WHERE rowid >= {first} AND rowid < {stop} ORDER BY rowid"
            )
            rows = f"FROM section_{{}} WHERE entity >= {first} AND entity < {stop} ORDER BY rowid"
            yield self._stored(keys, rows, np.arange(first, stop))

    def _stored(self, keys: pa.Table, rows: str, places: Ints | None) -> Stored:
        """``rows``: what gives those of a section. ``places``: of the entities in the file, None for all."""
        sections = []
        for place, schema in enumerate(self._form.sections):
            # The rows of an entity are in the order of events, as they were written.
            table = _table(self._connection, rows.format(place))
            entity = table.column("entity").to_numpy().astype(np.int32)
            if places is not None:
                entity = np.searchsorted(places, entity).astype(np.int32)
            arrays = [
                _typed(column, field.type) for column, field in zip(table.columns[1:], schema, strict=True)
            ]
            sections.append(Section(entity, pa.RecordBatch.from_arrays(arrays, schema=schema)))
        published_us: Ints = keys.column("published_us").to_numpy()
        return Stored(_binary(keys.column("key")), published_us, tuple(sections))


@contextmanager
def connected(scratch: Path, memory_bytes: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB that reads and writes files. ``scratch``: where it may write. ``memory_bytes``: None for what it likes."""
    with duckdb.connect() as connection:
        connection.execute(f"SET temp_directory = {_text(scratch / 'spilled')}")
        if memory_bytes is not None:
            connection.execute(f"SET memory_limit = '{max(memory_bytes, _LEAST_BYTES) >> 20}MiB'")
            connection.execute("SET threads = 1")
        yield connection


def _those(connection: duckdb.DuckDBPyConnection, table: str, keys: pa.Array) -> Flags:
    """Which of the keys are in a table."""
    query = f"SELECT k.key FROM {table} k SEMI JOIN wanted w ON k.key = w.key"
    values = _binary(_table(connection, query, wanted=pa.table({"key": keys})).column("key"))
    flags: Flags = pc.is_in(keys, value_set=values).to_numpy(zero_copy_only=False)
    return flags


def _table(connection: duckdb.DuckDBPyConnection, query: str, wanted: pa.Table | None = None) -> pa.Table:
    """What a query gives. ``wanted``: a table that it finds as a variable of Python."""
    return connection.sql(query).to_arrow_table()


def _name(path: Path) -> str:
    """What a file is called in its DuckDB."""
    return '"file ' + path.stem.replace('"', '""') + '"'


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _tables(stored: Stored, first: int = 0) -> Iterator[tuple[str, pa.Table]]:
    """The tables of a file by their names. ``first``: the number of the first entity."""
    yield "keys", pa.table({"key": stored.keys, "published_us": stored.published_us})
    for place, section in enumerate(stored.sections):
        # DuckDB has words that no column may be named by, and times that have a zone: both are ours to know.
        columns = [
            pa.array(section.entity + np.int32(first)),
            *(_plain(column) for column in section.rows.columns),
        ]
        names = ["entity", *(f"c{n}" for n in range(len(columns) - 1))]
        yield f"section_{place}", pa.Table.from_arrays(columns, names)


def _array(column: pa.ChunkedArray) -> Any:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _binary(column: pa.ChunkedArray) -> pa.Array:
    return _array(column).cast(pa.binary())


def _typed(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    array = _array(column)
    return array.view(kind) if pa.types.is_timestamp(kind) else array.cast(kind)


def _views(form: Form, view: str) -> Iterator[str]:
    """The statements that create the readable views."""
    for place, section in enumerate(form.sections):
        name = {ROWS: "rows", EVENTS: "events"}.get(place, f"tiles_{place - TILES}")
        yield f"CREATE VIEW {_quoted(name)} AS {_select(section, place, {'key'})}"
    # Rows of an entity stand in the order of events, so its last one is the newest.
    published = ", make_timestamp(k.published_us) AS published_at"
    newest = _select(form.sections[ROWS], ROWS, {"key", "published_at"}, published)
    name = view if view not in _NAMES else f"view {view}"
    yield (
        f"CREATE VIEW {_quoted(name)} AS {newest} "
        "QUALIFY row_number() OVER (PARTITION BY s.entity ORDER BY s.rowid DESC) = 1"
    )


_NAMES = ("keys", "rows", "events")
"""Of tables and views of each generation, those that a FeatureView may have, too."""


def _select(section: pa.Schema, place: int, taken: set[str], more: str = "") -> str:
    """Rows of a section with their keys as text. ``taken``: names that its columns may not have."""
    columns = ", ".join(
        f"{_shown(f's.c{n}', column.name, column.type)} AS {_quoted(_free(_label(column.name), taken))}"
        for n, column in enumerate(section)
    )
    return f"SELECT decode(k.key) AS key, {columns}{more} FROM section_{place} s JOIN keys k ON k.rowid = s.entity"


def _label(name: str) -> str:
    return {EVENT_US: "event_timestamp", CREATED_US: "created_timestamp", START_US: "start"}.get(name, name)


def _shown(column: str, name: str, kind: pa.DataType) -> str:
    is_time = name in (EVENT_US, CREATED_US, START_US) or pa.types.is_timestamp(kind)
    return f"make_timestamp({column})" if is_time else column


def _free(name: str, taken: set[str]) -> str:
    """The name, or with a number after it: to DuckDB ``a`` and ``A`` are one."""
    free, number = name, 1
    while free.lower() in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free.lower())
    return free


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(column: pa.Array) -> pa.Array:
    return column.view(pa.int64()) if pa.types.is_timestamp(column.type) else column
