"""Queries in DuckDB, bounded: one thread, so that the same rows give the same answer; a bound on memory and on time.

With one thread DuckDB reads, groups, adds and joins the rows in one order, which depends on nothing but the rows: so
rows, their order and the bits of sums are the same in each run. It reads no file and loads no extension.
"""

from __future__ import annotations

import threading

import duckdb
import polars as pl

from featurestore.errors import SpecError
from featurestore.humanize import size

MAX_S = 300.0
_WANTED = "at most {} and {:.0f} s for the rows of one file"


def answer(
    rows: pl.DataFrame, text: str, where: str, *, max_bytes: int, max_s: float = MAX_S
) -> pl.DataFrame:
    """What a query for DuckDB gives. Its table ``self`` has the rows.

    ``max_bytes``: what it may keep while it runs, and what it may give.

    Raises:
        SpecError: it does not fit the rows, or takes more than it may.
    """
    names = [name.lower() for name in rows.columns]
    twice = sorted({name for name in rows.columns if names.count(name.lower()) > 1})
    if twice:
        hint = "Names in a query do not distinguish upper from lower case: rename one before it"
        raise SpecError("columns differ only in case", where=where, got=", ".join(twice), hint=hint)
    wanted = _WANTED.format(size(max_bytes), max_s)
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "memory_limit": f"{max_bytes}B",
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    table = _plain(rows).to_arrow(compat_level=pl.CompatLevel.oldest())
    with duckdb.connect(":memory:", config=config) as connection:
        connection.register("self", table)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        timer = threading.Timer(max_s, connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            return _read(connection, text, where)
        except duckdb.InterruptException as error:
            raise SpecError("the query takes too long", where=where, wanted=wanted, got="more") from error
        except duckdb.OutOfMemoryException as error:
            raise SpecError(
                "the query takes too much memory",
                where=where,
                wanted=wanted,
                got="more",
                hint="Raise spec.resources.memory: a query may use half of it",
            ) from error
        except duckdb.Error as error:
            hint = ""
            if isinstance(error, duckdb.BinderException):
                hint = f"There is: {', '.join(map(repr, rows.columns))}"
            raise SpecError(
                "the query does not fit the rows", where=where, got=_message(error), hint=hint
            ) from error
        finally:
            timer.cancel()


def _read(connection: duckdb.DuckDBPyConnection, text: str, where: str) -> pl.DataFrame:
    described = connection.execute(f"DESCRIBE {text}").fetchall()
    names = [str(name) for name, *_ in described]
    if len({name.lower() for name in names}) < len(names):
        raise SpecError(
            "two columns would have the same name", where=where, got=", ".join(names), hint="Name one with AS"
        )
    # DuckDB adds whole numbers in 128 bits: what does not fit into 64 refuses the file.
    columns = ", ".join(
        f"CAST({_quoted(name)} AS BIGINT) AS {_quoted(name)}" if kind == "HUGEINT" else _quoted(name)
        for name, kind, *_ in described
    )
    # As a table first: so what the query gives counts as its memory.
    connection.execute(f"CREATE TEMP TABLE answer AS SELECT {columns} FROM ({text})")
    made = pl.DataFrame(connection.sql("SELECT * FROM answer").to_arrow_table())
    return made.with_columns(
        pl.col(name).dt.cast_time_unit("us").dt.replace_time_zone("UTC")
        for name, dtype in made.schema.items()
        if isinstance(dtype, pl.Datetime)
    )


def _plain(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in types that DuckDB gives back: times in UTC without a zone, durations in microseconds."""
    changed = []
    for name, dtype in rows.schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
            changed.append(column.dt.convert_time_zone("UTC").dt.replace_time_zone(None))
        elif isinstance(dtype, pl.Duration):
            changed.append(column.dt.total_microseconds())
        elif isinstance(dtype, pl.Categorical | pl.Enum):
            changed.append(column.cast(pl.String))
    return rows.with_columns(changed)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _message(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())
