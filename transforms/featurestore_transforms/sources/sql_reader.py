"""The rows of a range of watermarks, read once from PostgreSQL through ADBC, and kept in a file without a name.

A batch reads its rows several times, which must be the same each time while others change them. The number of a row is its
key, or comes of it: whatever is changed or deleted between two runs of a batch, the other rows keep theirs.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.sql.database import (
    SETTINGS,
    NoSuchTable,
    SqlColumn,
    SqlDatabase,
    is_permanent,
    quoted,
)
from featurestore.arrivals.sql.watermark import WatermarkRange
from featurestore.errors import CodeError, SpecError, StorageError
from featurestore.resources.data_pipeline import Source
from featurestore.resources.sql_query import SqlQuery
from featurestore.storage.credentials import source_environ
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.arrow_values import ColumnTypes
from featurestore_transforms.sources.column_use import ColumnUse
from featurestore_transforms.sources.reader import DECODING, ArrivalReader, UnreadableArrival
from featurestore_transforms.sources.reopened_file import ReopenedFile
from featurestore_transforms.sources.sql_types import INTEGERS, selected, typed
from featurestore_transforms.sources.stream import MALFORMED, MARKS, MOST_ROWS, FrameReader, FrameStream
from featurestore_transforms.steps.column_names import ColumnNames, short

GONE, QUERY, KEY = "sql:gone", "sql:query", "sql:key"
"""Rules of ranges whose table is gone, that PostgreSQL cannot read, and that have a key twice."""
_ROOM = 4
"""The part of the memory that the values of one column of one batch may take: 1 / _ROOM."""
_PIECE_ROWS = 65_536
_NUMBER, _WHY = "number".ljust(64), "why".ljust(64)
"""Columns of the file beside those of the rows, whose names in PostgreSQL are not so long."""
_PASSING = ("terminating connection", "canceling", "conflict with recovery", "starting up", "shutting down")
"""What the server says of a query that it would run at another time."""


def open_reader(arrival: Arrival, source: Source, memory_bytes: int, base: str) -> ArrivalReader:
    """See :func:`featurestore_transforms.sources.reader.open_reader`. All of the range is fetched.

    Raises:
        UnreadableArrival: the table is gone, or PostgreSQL cannot read the rows.
        StorageError: the server did not bring all of it.
    """
    assert source.sql is not None
    return SqlReader(arrival, source.sql, memory_bytes)


def open_head(
    arrival: Arrival, source: Source, memory_bytes: int, base: str, scratch: Path
) -> tuple[ArrivalReader, bool]:
    """See :func:`featurestore_transforms.sources.reader.open_head`. The newest rows are fetched."""
    assert source.sql is not None
    reader = SqlReader(arrival, source.sql, memory_bytes, newest=MOST_ROWS)
    return reader, reader.fetched < MOST_ROWS


class SqlReader(FrameReader):
    """See :class:`featurestore_transforms.sources.reader.ArrivalReader`.

    ``newest``: fetch only so many rows, the newest; None for all. ``fetched``: how many there are.
    """

    whole = True
    partitions: Mapping[str, pl.Series] = MappingProxyType({})

    def __init__(self, arrival: Arrival, sql: SqlQuery, memory_bytes: int, newest: int | None = None) -> None:
        self._sql, self._room_bytes = sql, memory_bytes // _ROOM
        self._database = SqlDatabase(sql, source_environ())
        if ".." not in arrival.version:
            raise UnreadableArrival(GONE, "these rows have no watermark")
        try:
            kind, columns = self._database.columns()
        except NoSuchTable as error:
            raise UnreadableArrival(GONE, f"the table is gone: {error}") from error
        except SpecError as error:
            raise UnreadableArrival(QUERY, str(error)) from error
        self._columns = [(column.name, selected(column)) for column in columns]
        self._file = tempfile.TemporaryFile(prefix="featurestore-")  # noqa: SIM115 - as long as the reader
        weakref.finalize(self, self._file.close)
        span = WatermarkRange.of(arrival.version)
        of_keys, of_rows = self._queries(kind, columns, span, newest)
        self.fetched, size_bytes, schema = self._fetch(of_rows, of_keys if newest is None else None)
        self.arrival = replace(arrival, size_bytes=size_bytes)
        self.names = ColumnNames.of(schema.names)
        self._types = ColumnTypes.of(schema, self.names.originals, {})
        self.refused: Mapping[str, str] = self._types.refused
        self.schema = self._types.polars
        taken = {name: dtype for name, dtype in self.schema.items() if name not in self.refused}
        self.stream = FrameStream({**taken, **MARKS}, self._frames)

    def refuse(self, columns: Mapping[str, str]) -> None:
        """Every row has every column."""
        raise UnreadableArrival("sql:column", next(iter(columns.values())))

    def require_learnable(self, use: ColumnUse) -> None:
        """Any rows will do: the database says the types."""

    def require_unchanged(self) -> None:
        """They were fetched when they were the ones that were meant."""

    @contextmanager
    def explaining(self) -> Iterator[None]:
        try:
            yield
        except UnreadableArrival:
            raise
        except DECODING as error:
            failure = self.stream.failure or error
            raise UnreadableArrival("sql:corrupt", str(failure) or type(failure).__name__) from error

    def _queries(
        self, kind: str, columns: list[SqlColumn], span: WatermarkRange, newest: int | None
    ) -> tuple[str, str]:
        """What tells of a key that is not one, and what selects the rows: the columns, the number, why it is malformed."""
        key = f"r.{quoted(self._sql.key)}"
        [of_key] = [column for column in columns if column.name == self._sql.key]
        number = (
            f"{key}::bigint"
            if of_key.oid in INTEGERS
            else f"('x' || left(md5({key}::text), 16))::bit(64)::bigint"
        )
        whys = [
            f"CASE WHEN {column.odd} THEN {_text(f'{name}: {column.why}')} END"
            for name, column in self._columns
            if column.odd
        ]
        why = f"nullif(concat_ws('; ', {', '.join(whys)}), '')" if whys else "NULL::text"
        values = [f"{column.taken} AS c{place}" for place, (_, column) in enumerate(self._columns)]
        source = f"FROM {self._database.rows} WHERE {self._database.within(kind, span)}"
        at = self._database.watermark
        order = f"{at}, {key}" if newest is None else f"{at} DESC, {key} DESC LIMIT {newest}"
        return (
            f"SELECT {key}::text, count(*)::bigint {source} GROUP BY {key} HAVING count(*) > 1 OR {key} IS NULL LIMIT 1",
            f"SELECT {', '.join([*values, f'{number} AS number', f'{why} AS why'])} {source} ORDER BY {order}",
        )

    def _fetch(self, of_rows: str, of_keys: str | None) -> tuple[int, int, pa.Schema]:
        """Bring the rows into the file; how many, their bytes, and their columns."""
        rows = size_bytes = 0
        try:
            with self._reading() as cursor:
                if of_keys is not None:
                    self._require_keys(cursor, of_keys)
                cursor.execute(of_rows)
                reader = cursor.fetch_record_batch()
                schema = self._schema(reader.schema)
                with pa.ipc.new_file(self._file, schema) as sink:
                    for batch in reader:
                        made = self._typed(batch, schema)
                        rows, size_bytes = rows + made.num_rows, size_bytes + made.nbytes
                        sink.write_batch(made)
        except (OSError, pa.ArrowException) as error:
            raise self._meaning(str(error), None) from error
        self._file.flush()
        return rows, size_bytes, pa.schema(list(schema)[:-2])

    def _require_keys(self, cursor: Any, query: str) -> None:
        cursor.execute(query)
        for key, count in cursor.fetchall():
            what = "nothing" if key is None else short(key)
            raise UnreadableArrival(
                KEY, f"{self._sql.key} is not the key of a row: it is {what} in {count:,} rows"
            )

    def _schema(self, own: pa.Schema) -> pa.Schema:
        types = [
            typed(pa.array([], dtype), column).type
            for dtype, (_, column) in zip(own.types, self._columns, strict=False)
        ]
        fields = [pa.field(name, dtype) for (name, _), dtype in zip(self._columns, types, strict=True)]
        return pa.schema([*fields, pa.field(_NUMBER, pa.int64()), pa.field(_WHY, pa.string())])

    def _typed(self, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        values = [
            typed(array, column) for array, (_, column) in zip(batch.columns, self._columns, strict=False)
        ]
        return pa.RecordBatch.from_arrays([*values, *batch.columns[-2:]], schema=schema)

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        """A cursor of ADBC in a read-only transaction that sees the database at one time."""
        try:
            import adbc_driver_manager
            from adbc_driver_postgresql import dbapi
        except ImportError as error:
            hint = "pip install 'featurestore[sql]'"
            raise CodeError(
                "PostgreSQL needs a package", where=self._sql.place, got=str(error), hint=hint
            ) from error
        try:
            with self._database.login.uri(self._sql) as uri:
                connection = dbapi.connect(uri)
            with connection, connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                for setting in SETTINGS:
                    cursor.execute(setting)
                yield cursor
        except adbc_driver_manager.Error as error:
            raise self._meaning(str(error), error.sqlstate) from error

    def _meaning(self, message: str, sqlstate: str | None) -> Exception:
        """Whether the query cannot be run, or the server did not answer. A stream of rows has no codes."""
        text = " ".join(message.split())
        is_said = "ERROR:" in text and not any(words in text for words in _PASSING)
        if is_permanent(sqlstate) or (not sqlstate and is_said):
            return UnreadableArrival(QUERY, f"PostgreSQL cannot read the rows: {text}")
        return StorageError("PostgreSQL did not bring the rows", where=self._sql.place, got=text)

    def _frames(self, wanted: Collection[str]) -> Iterator[pl.DataFrame]:
        with pa.ipc.open_file(pa.PythonFile(ReopenedFile(self._file.fileno()), mode="r")) as spooled:
            for place in range(spooled.num_record_batches):
                batch = spooled.get_batch(place)
                for start in range(0, batch.num_rows, _PIECE_ROWS):
                    yield self._frame(batch.slice(start, _PIECE_ROWS), wanted)

    def _frame(self, piece: pa.RecordBatch, wanted: Collection[str]) -> pl.DataFrame:
        frame = self._types.frame(piece, wanted, 0, self._room_bytes, {})
        numbers = pl.Series(ROW, piece.column(_NUMBER))
        why = pl.Series(MALFORMED, piece.column(_WHY), dtype=pl.String)
        return frame.with_columns(numbers, why.fill_null(frame[MALFORMED]).alias(MALFORMED))


def _text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"
