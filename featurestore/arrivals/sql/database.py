"""What a source asks of a PostgreSQL database, each time by one read-only transaction of a connection of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from featurestore.arrivals.sql.login import SqlLogin
from featurestore.arrivals.sql.watermark import WatermarkRange, literal, text_of
from featurestore.errors import CodeError, SpecError, StorageError, did_you_mean
from featurestore.resources.sql_query import SqlQuery

if TYPE_CHECKING:
    import psycopg

_ANSWER_S = 30
_KINDS = {20: "bigint", 21: "bigint", 23: "bigint", 1114: "timestamp", 1184: "timestamptz"}
"""Number of a type, https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat, to a watermark's kind."""
_EARLIEST, _LATEST = "0001-01-01", "10000-01-01"
"""Times that a table here can hold: from the first on, and before the second."""
_MOST_COUNTED = 1_000_000
_MOST_UNPLACED = 1_000
SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO, YMD'",
    "SET LOCAL IntervalStyle = 'iso_8601'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL client_encoding = 'UTF8'",
)
"""By which a value has one text."""
_UNDEFINED_TABLE, _UNDEFINED_COLUMN, _UNDEFINED_FUNCTION = "42P01", "42703", "42883"
_PERMANENT = ("22", "42", "0A", "2F", "P0")
"""How codes of errors begin that are the query's, https://www.postgresql.org/docs/current/errcodes-appendix.html"""


class NoSuchTable(Exception):
    """The table, or one that the query names, is not there. The message is the server's."""


@dataclass(frozen=True, slots=True)
class SqlLook:
    """The rows as they were at one time.

    ``kind``: of the watermark. ``newest``: the greatest; empty if there is none. ``unplaced``: how many rows have none that
    has a place; of many, only that. ``oldest_open``: of all transactions that write, the first that is not over;
    ``next_one``: the number that the next one will get.
    """

    kind: str
    newest: str
    unplaced: int
    oldest_open: int
    next_one: int


@dataclass(frozen=True, slots=True)
class SqlColumn:
    """``oid``: number of its type, ``element``: that of its elements if it is an array, else 0. ``type_name``: in words.

    ``precision`` and ``scale``: of a decimal, if they are declared.
    """

    name: str
    oid: int
    element: int
    type_name: str
    precision: int | None
    scale: int | None


class SqlDatabase:
    """``environ``: has what it takes to log in; None for the process's own environment.

    All methods raise StorageError if the server does not answer or refuses the login, SpecError if what is asked has no
    meaning there, and CodeError if the client is not installed.
    """

    def __init__(self, sql: SqlQuery, environ: Mapping[str, str] | None) -> None:
        self._sql = sql
        self.login = SqlLogin.of(environ)

    @property
    def rows(self) -> str:
        """What stands in a FROM: the table, or the query in brackets."""
        if self._sql.table is not None:
            return f"{'.'.join(quoted(part) for part in self._sql.table.split('.'))} AS r"
        return f"(\n{(self._sql.query or '').strip().removesuffix(';')}\n) AS r"

    @property
    def watermark(self) -> str:
        return f"r.{quoted(self._sql.watermark)}"

    def look(self) -> SqlLook | None:
        """What is there; None if there is no such table."""
        with self._asking() as cursor:
            try:
                kind = self._kind(cursor)
            except NoSuchTable:
                return None
            at, has_place = self.watermark, self._has_place(kind)
            cursor.execute(
                f"SELECT (SELECT max({at}) FROM {self.rows} WHERE {has_place}), "
                f"(SELECT count(*) FROM (SELECT FROM {self.rows} WHERE {self._has_no_place(kind)} LIMIT {_MOST_UNPLACED}) AS n), "
                "pg_snapshot_xmin(pg_current_snapshot())::text::bigint, "
                "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
            )
            newest, unplaced, oldest_open, next_one = _row(cursor)
        return SqlLook(kind, "" if newest is None else text_of(newest), unplaced, oldest_open, next_one)

    def count(self, span: WatermarkRange) -> int:
        """How many rows there are in a range; of very many, only that."""
        with self._asking() as cursor:
            condition = self.within(self._known_kind(cursor), span)
            cursor.execute(
                f"SELECT count(*) FROM (SELECT FROM {self.rows} WHERE {condition} LIMIT {_MOST_COUNTED + 1}) AS n"
            )
            [count] = _row(cursor)
        return int(count)

    def cut(self, span: WatermarkRange, most: int) -> tuple[WatermarkRange, int]:
        """The first rows of a range, so many and those with the watermark of the last of them; how many that are."""
        with self._asking() as cursor:
            kind, at = self._known_kind(cursor), self.watermark
            cursor.execute(
                f"SELECT max(at), count(*) FROM (SELECT {at} AS at FROM {self.rows} WHERE {self.within(kind, span)} "
                f"ORDER BY 1 LIMIT {most}) AS n"
            )
            last, count = _row(cursor)
            if last is None or count < most:
                return span, count
            first = WatermarkRange(span.first, text_of(last))
            cursor.execute(f"SELECT count(*) FROM {self.rows} WHERE {self.within(kind, first)}")
            return first, _row(cursor)[0]

    def columns(self) -> tuple[str, list[SqlColumn]]:
        """The kind of the watermark, and all columns.

        Raises:
            NoSuchTable: it is gone.
        """
        with self._asking() as cursor:
            kind = self._kind(cursor)
            described = list(cursor.description or ())
            cursor.execute(
                "SELECT oid, CASE WHEN typcategory = 'A' AND typname LIKE '\\_%' THEN typelem ELSE 0 END, "
                f"format_type(oid, NULL) FROM pg_type WHERE oid IN ({','.join(str(own.type_code) for own in described)})"
            )
            types = {oid: (element, name) for oid, element, name in cursor}
        return kind, [
            SqlColumn(own.name, own.type_code, *types[own.type_code], own.precision, own.scale)
            for own in described
        ]

    def within(self, kind: str, span: WatermarkRange) -> str:
        """The condition that a row is in a range."""
        if not span.last:
            return "false"
        first = f"{self.watermark} > {literal(span.first)}" if span.first else self._has_place(kind)
        return f"{first} AND {self.watermark} <= {literal(span.last)}"

    def _has_place(self, kind: str) -> str:
        at = self.watermark
        if kind == "bigint":
            return f"{at} IS NOT NULL"
        return f"{at} >= {kind} '{_EARLIEST}' AND {at} < {kind} '{_LATEST}'"

    def _has_no_place(self, kind: str) -> str:
        at = self.watermark
        if kind == "bigint":
            return f"{at} IS NULL"
        return f"{at} IS NULL OR {at} < {kind} '{_EARLIEST}' OR {at} >= {kind} '{_LATEST}'"

    def _kind(self, cursor: psycopg.Cursor[Any]) -> str:
        """The kind of the watermark. Leaves the description of all columns in the cursor.

        Raises:
            NoSuchTable: it is gone.
            SpecError: a column is not there, or is of a type that has no order of arrival.
        """
        import psycopg

        try:
            cursor.execute(f"SELECT * FROM {self.rows} LIMIT 0")
        except psycopg.errors.UndefinedTable as error:
            raise NoSuchTable(_words(error)) from error
        columns = {column.name: column.type_code for column in cursor.description or ()}
        for field, name in (("watermark", self._sql.watermark), ("key", self._sql.key)):
            if name not in columns:
                raise SpecError(
                    "there is no such column",
                    where=f"spec.source.sql.{field}, {self._sql.place}",
                    got=repr(name),
                    hint=did_you_mean(name, columns),
                )
        kind = _KINDS.get(columns[self._sql.watermark])
        if kind is None:
            cursor.execute(f"SELECT format_type({columns[self._sql.watermark]}, NULL)")
            raise SpecError(
                "the watermark has a type that tells no order of arrival",
                where=f"spec.source.sql.watermark, {self._sql.place}",
                wanted="timestamptz, timestamp, bigint, integer or smallint",
                got=f"{self._sql.watermark}, a {_row(cursor)[0]}",
            )
        return kind

    def _known_kind(self, cursor: psycopg.Cursor[Any]) -> str:
        try:
            return self._kind(cursor)
        except NoSuchTable as error:
            raise StorageError("the table is gone", where=self._sql.place, got=str(error)) from error

    def tables_like(self) -> str:
        """A hint that names the table which may have been meant."""
        with self._asking() as cursor:
            cursor.execute(
                "SELECT CASE WHEN table_schema = 'public' THEN table_name ELSE table_schema || '.' || table_name END "
                "FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') LIMIT 10000"
            )
            return did_you_mean(self._sql.table or "", [name for (name,) in cursor])

    @contextmanager
    def _asking(self) -> Iterator[psycopg.Cursor[Any]]:
        """A cursor whose queries see the database at one time."""
        require_client(self._sql.place)
        import psycopg

        where = self._sql.place
        connection = None
        try:
            with self.login.uri(self._sql) as uri:
                connection = psycopg.connect(uri)
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.cursor() as cursor:
                # All in one round trip.
                cursor.execute("; ".join((*SETTINGS, f"SET LOCAL statement_timeout = '{_ANSWER_S}s'")))
                yield cursor
        except psycopg.Error as error:
            raise self._meaning(error, where, connection is not None) from error
        finally:
            if connection is not None:
                connection.close()

    def _meaning(self, error: psycopg.Error, where: str, connected: bool) -> StorageError | SpecError:
        import psycopg

        if not connected:
            return StorageError("PostgreSQL lets nobody in", where=where, got=_words(error))
        if isinstance(error, psycopg.errors.QueryCanceled):
            return StorageError(
                "PostgreSQL did not answer in time",
                where=where,
                got=f"{_words(error)}, after {_ANSWER_S} s at most",
                hint=f"An index on {self._sql.watermark} lets it find what is new",
            )
        if error.sqlstate == _UNDEFINED_FUNCTION and "pg_current_snapshot" in str(error):
            return SpecError("the server is too old", where=where, wanted="PostgreSQL 13 or newer")
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return StorageError("PostgreSQL does not let this user read", where=where, got=_words(error))
        if is_permanent(error.sqlstate):
            return SpecError("PostgreSQL does not run the query", where=where, got=_words(error))
        return StorageError("PostgreSQL does not answer", where=where, got=_words(error))


def is_permanent(sqlstate: str | None) -> bool:
    """Whether an error with this code is the query's, or its rows', and comes again.

    >>> is_permanent("22012"), is_permanent("57P01"), is_permanent(None)
    (True, False, False)
    """
    return sqlstate is not None and sqlstate.startswith(_PERMANENT)


def quoted(name: str) -> str:
    """An identifier.

    >>> quoted('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def require_client(where: str) -> None:
    """Raises CodeError if the client of PostgreSQL is not installed."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        hint = "pip install 'featurestore[sql]'"
        raise CodeError("PostgreSQL needs a package", where=where, got=str(error), hint=hint) from error


def _row(cursor: psycopg.Cursor[Any]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None, "what aggregates has a row"
    return tuple(row)


def _words(error: BaseException) -> str:
    """What the server says, in one line."""
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__
