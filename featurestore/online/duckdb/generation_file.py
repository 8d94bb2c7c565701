"""A DuckDB file of a generation: what is kept of some entities. ``generations.py`` lists them.

The tables ``keys`` and ``section_<n>`` are what readers load. The SQL views are for a person who opens the file with any
DuckDB: ``rows``, ``events`` and ``tiles_<n>`` name the columns of the sections, and a view named like the
FeatureView has the newest row of each entity::

    duckdb online/aircraft-delays/<digest>/00000007-….duckdb 'FROM "aircraft-delays"'

Publishers write and read it some entities at a time, so that memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
"""Bytes of a block, the least and the greatest that DuckDB has: each column of a table takes one at least."""
_LEAST_BYTES = 64 << 20
"""Less than this does not hold the blocks that DuckDB works on."""


class FileWriter:
    """Writes a new file, some entities after the other. Nothing is there before :meth:`close`.

    ``view``: the name of the FeatureView. ``memory_bytes``: what DuckDB may take. Files that spill go beside ``path``.
    ``is_small``: few entities are expected.
    """

    def __init__(
        self, path: Path, form: Form, view: str, memory_bytes: int, *, is_small: bool = False
    ) -> None:
        self.path, self._form, self._view = path, form, view
        self.entities = 0
        self._connection = _connected(path.parent, memory_bytes)
        block = _SMALL_BLOCK if is_small else _LARGE_BLOCK
        self._connection.execute(
            f"ATTACH {_text(path)} AS file (STORAGE_VERSION '{_STORAGE_VERSION}', BLOCK_SIZE {block})"
        )
        # One transaction: else each table is flushed to the disk by itself.
        self._connection.begin()
        for name, rows in _tables(Stored.empty(form)):
            self._execute(f"CREATE TABLE file.main.{name} AS SELECT * FROM rows", rows)

    def put(self, stored: Stored) -> None:
        """Of these entities the file has nothing yet."""
        for name, rows in _tables(stored, self.entities):
            self._execute(f"INSERT INTO file.main.{name} SELECT * FROM rows", rows)
        self.entities += len(stored)

    def put_gone(self, keys: pa.Array) -> None:
        """Of these entities, of which the file has nothing yet, nothing is kept."""
        rows = pa.table({"key": keys, "published_us": pa.nulls(len(keys), pa.int64())})
        self._execute("INSERT INTO file.main.keys SELECT * FROM rows", rows)
        self.entities += len(keys)

    def close(self) -> None:
        """The file is whole."""
        connection = self._connection
        connection.execute("USE file.main")
        for statement in _views(self._form, self._view):
            connection.execute(statement)
        connection.commit()
        connection.execute("USE memory")
        connection.execute("DETACH file")
        connection.close()

    def discard(self) -> None:
        """Whatever was written is not needed; does nothing if the file is whole."""
        self._connection.close()

    def _execute(self, statement: str, rows: pa.Table) -> None:
        # The statement finds ``rows`` as a variable of Python: a registered one is held until the transaction ends.
        self._connection.execute(statement)


class FileReader:
    """Reads a whole file. Everything raises :class:`duckdb.Error` if it cannot be read.

    ``memory_bytes``: what DuckDB may take; None for as much as it likes.
    """

    def __init__(self, path: Path, form: Form, memory_bytes: int | None = None) -> None:
        self._form = form
        self._connection = _connected(path.parent, memory_bytes)
        try:
            self._connection.execute(f"ATTACH {_text(path)} AS file (READ_ONLY)")
            self._connection.execute("USE file.main")
            [(self.entities,)] = self._connection.execute("SELECT count(*) FROM keys").fetchall()
        except duckdb.Error:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def load(self) -> Stored:
        """All that it holds. None is gone."""
        stored, gone = self._stored(self._table("FROM keys"), "FROM section_{}", None)
        assert not gone.any()
        return stored

    def has(self, keys: pa.Array) -> Flags:
        """Of which of these entities it says something."""
        found = self._table(
            "SELECT k.key FROM keys k SEMI JOIN wanted w ON k.key = w.key", wanted=pa.table({"key": keys})
        )
        flags: Flags = pc.is_in(keys, value_set=_binary(found.column("key"))).to_numpy(zero_copy_only=False)
        return flags

    def fetch(self, keys: pa.Array) -> Stored:
        """What it holds of these entities; others are left out. None is gone."""
        wanted = pa.table({"key": keys})
        found = self._table(
            "SELECT k.rowid AS place, k.key, k.published_us FROM keys k SEMI JOIN wanted w ON k.key = w.key ORDER BY k.rowid",
            wanted=wanted,
        )
        places = found.column("place").to_numpy()
        self._connection.register("places", found.select(["place"]))
        rows = "FROM section_{} s SEMI JOIN places p ON s.entity = p.place ORDER BY s.rowid"
        stored, _ = self._stored(found, rows, places)
        self._connection.unregister("places")
        return stored

    def parts(self, at_once: int) -> Iterator[Stored]:
        """All that it holds, so many entities at a time, without those that are gone."""
        for first in range(0, self.entities, at_once):
            stop = min(first + at_once, self.entities)
            keys = self._table(f"FROM keys WHERE rowid >= {first} AND rowid < {stop} ORDER BY rowid")
            rows = f"FROM section_{{}} WHERE entity >= {first} AND entity < {stop} ORDER BY rowid"
            stored, gone = self._stored(keys, rows, np.arange(first, stop))
            yield stored.take(np.flatnonzero(~gone)) if gone.any() else stored

    def _stored(self, keys: pa.Table, rows: str, places: Ints | None) -> tuple[Stored, Flags]:
        """``rows``: what gives those of a section. ``places``: of the entities in the file, None for all."""
        sections = []
        for place, schema in enumerate(self._form.sections):
            # The rows of an entity are in the order of events, as they were written.
            table = self._table(rows.format(place))
            entity = table.column("entity").to_numpy().astype(np.int32)
            if places is not None:
                entity = np.searchsorted(places, entity).astype(np.int32)
            arrays = [
                _typed(column, field.type) for column, field in zip(table.columns[1:], schema, strict=True)
            ]
            sections.append(Section(entity, pa.RecordBatch.from_arrays(arrays, schema=schema)))
        published = _array(keys.column("published_us"))
        gone: Flags = published.is_null().to_numpy(zero_copy_only=False)
        published_us: Ints = published.fill_null(0).to_numpy(zero_copy_only=False)
        return Stored(_binary(keys.column("key")), published_us, tuple(sections)), gone

    def _table(self, query: str, **tables: pa.Table) -> pa.Table:
        for name, table in tables.items():
            self._connection.register(name, table)
        found = self._connection.sql(query).to_arrow_table()
        for name in tables:
            self._connection.unregister(name)
        return found


def _connected(folder: Path, memory_bytes: int | None) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(f"SET temp_directory = {_text(folder / 'spilled')}")
    if memory_bytes is not None:
        connection.execute(f"SET memory_limit = '{max(memory_bytes, _LEAST_BYTES) >> 20}MiB'")
        connection.execute("SET threads = 1")
    return connection


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
