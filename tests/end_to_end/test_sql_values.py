"""Values of each type of PostgreSQL arrive as PostgreSQL has them, or are told."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from event_specs import NAME
from events import Events
from postgres_server import PostgresServer

from featurestore.storage import paths

EXACT: dict[str, tuple[str, Any]] = {
    "boolean": ("true", True),
    "smallint": ("-32768", -32768),
    "integer": ("2147483647", 2147483647),
    "bigint": ("-9223372036854775808", -(2**63)),
    "real": ("1.5", 1.5),
    "double precision": ("0.1", 0.1),
    "numeric(38,2)": (
        "-123456789012345678901234567890123456.78",
        Decimal("-123456789012345678901234567890123456.78"),
    ),
    "numeric": (
        "0.10000000000000000000000000000000000000000000000001",
        "0.10000000000000000000000000000000000000000000000001",
    ),
    "numeric(50,2)": ("1.5", "1.50"),
    "text": ("Ünïcode 🐘 'quoted'", "Ünïcode 🐘 'quoted'"),
    "varchar(10)": ("ab ", "ab "),
    "char(4)": ("ab", "ab"),
    "bytea": (r"\x00ff10", b"\x00\xff\x10"),
    "date": ("0001-01-01", date(1, 1, 1)),
    "timestamp": ("2024-02-29 23:59:59.999999", datetime(2024, 2, 29, 23, 59, 59, 999999, UTC)),
    "timestamptz": ("2024-01-01 00:00:00.000001+05:30", datetime(2023, 12, 31, 18, 30, 0, 1, UTC)),
    "time": ("24:00:00", "24:00:00"),
    "timetz": ("12:30:00+02", "12:30:00+02"),
    "interval": ("1 year 2 days 03:04:05.000006", "P1Y2DT3H4M5.000006S"),
    "uuid": ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "json": ('{"b": 1,  "a": [null]}', '{"b": 1,  "a": [null]}'),
    "jsonb": ('{"b": 1,  "a": [null]}', '{"a": [null], "b": 1}'),
    "xml": ("<a/>", "<a/>"),
    "inet": ("10.0.0.1/8", "10.0.0.1/8"),
    "money": ("12.30", "$12.30"),
    "point": ("(1.5,2)", "(1.5,2)"),
    "int4range": ("[1,5)", "[1,5)"),
    "bit(4)": ("1010", "1010"),
    "oid": ("7", "7"),
    "integer[]": ("{1,NULL,-3}", [1, None, -3]),
    "double precision[]": ("{0.5}", [0.5]),
    "boolean[]": ("{t,f}", [True, False]),
    "text[]": ('{"a,b",NULL,""}', ["a,b", None, ""]),
    "numeric(10,2)[]": ("{1.50,2}", ["1.50", "2.00"]),
    "timestamptz[]": ("{2024-01-01 00:00:00+00,infinity}", ["2024-01-01 00:00:00+00", "infinity"]),
    "mood": ("sad", "sad"),
    "mood[]": ("{sad,glad}", ["sad", "glad"]),
    "few": ("3", 3),
}
"""Type to a value as SQL writes it, and what is in the dataset."""
WITHOUT_PLACE = {
    "date": ("infinity", "10000-01-01", "0001-01-01 BC"),
    "timestamp": ("-infinity", "294276-12-31"),
    "timestamptz": ("infinity", "4713-01-01 BC"),
    "numeric(10,2)": ("NaN",),
    "integer[]": ("{{1,2},{3,4}}",),
    "text[]": ("{{a},{b}}",),
}
"""Type to values that no table holds."""


@pytest.fixture(scope="module")
def types(postgres: PostgresServer) -> PostgresServer:
    """A server that has types of its own, too."""
    postgres.ask("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    postgres.ask("CREATE DOMAIN few AS integer CHECK (VALUE < 10)")
    return postgres


def test_a_value_of_each_type_is_what_postgresql_has_and_null_is_null(
    types: PostgresServer, tmp_path: Path
) -> None:
    columns = {f"c{place}": kind for place, kind in enumerate(EXACT)}
    table = types.table(**columns)
    table.append(1, 2)
    values = ", ".join(f"{name} = {_text(EXACT[kind][0])}" for name, kind in columns.items())
    types.ask(f"UPDATE {table.name} SET {values} WHERE id = 1")
    events = Events[Any](tmp_path, table).apply()
    events.run()
    assert events.open == []
    full, empty = events.rows
    assert {kind: full[name] for name, kind in columns.items()} == {
        kind: want for kind, (_, want) in EXACT.items()
    }
    assert {empty[name] for name in columns} == {None}


def test_a_value_that_no_table_holds_is_told_and_the_other_rows_are_taken(
    types: PostgresServer, tmp_path: Path
) -> None:
    columns = {f"c{place}": kind for place, kind in enumerate(WITHOUT_PLACE)}
    table = types.table(**columns)
    odd = [(name, value) for name, kind in columns.items() for value in WITHOUT_PLACE[kind]]
    table.append(0, *range(1, len(odd) + 1))
    for place, (name, value) in enumerate(odd):
        types.ask(f"UPDATE {table.name} SET {name} = {_text(value)} WHERE id = {place + 1}")
    events = Events[Any](tmp_path, table).apply()
    events.run()
    assert events.numbers == [0]
    records = events.laptop.table(paths.quarantine("pipelines", NAME))
    refused = {row["__row"]: (row["rule"], row["reason"].partition(":")[0]) for row in records}
    assert refused == {place + 1: ("row:malformed", name) for place, (name, _) in enumerate(odd)}


def test_names_of_columns_may_be_what_sql_has_to_quote(types: PostgresServer, tmp_path: Path) -> None:
    table = types.table(
        **{'"select"': "int", '"a ""b"" ü"': "int", '"Level"': "int", "number": "int", "why": "int"}
    )
    table.append(1)
    types.ask(f'UPDATE {table.name} SET "select" = 1, "a ""b"" ü" = 2, "Level" = 3, number = 4, why = 5')
    query = f'SELECT id, seen AS "Seen At", n, "select", "a ""b"" ü", number, why FROM {table.name}'
    events = Events[Any](tmp_path, table).apply({"query": query, "watermark": "Seen At"})
    events.run()
    [row] = events.rows
    assert [row["select"], row['a "b" ü'], row["number"], row["why"]] == [1, 2, 4, 5]


def test_rows_of_any_key_keep_their_numbers(types: PostgresServer, tmp_path: Path) -> None:
    table = types.table()
    table.append(1, 500, 600)
    query = f"SELECT 'k' || id AS k, seen, n, level FROM {table.name}"
    events = Events[Any](tmp_path, table).apply({"query": query, "key": "k"})
    events.run()
    records = events.laptop.table(paths.quarantine("pipelines", NAME))
    numbers = {row["__row"] for row in records}
    assert len(numbers) == 2
    types.ask(f"DELETE FROM {table.name} WHERE id = 500")
    again = Events[Any](tmp_path / "again", table).apply({"query": query, "key": "k"})
    again.run()
    [record] = again.laptop.table(paths.quarantine("pipelines", NAME))
    assert record["__row"] in numbers


def test_a_decimal_becomes_the_float_that_is_declared(types: PostgresServer, tmp_path: Path) -> None:
    table = types.table(price="numeric(10,2)", ratio="numeric")
    table.append(1)
    types.ask(f"UPDATE {table.name} SET price = 1.25, ratio = 0.5")
    declared = [{"name": "price", "type": "float64"}, {"name": "ratio", "type": "float64"}]
    events = Events[Any](tmp_path, table).apply(columns=declared)
    events.run()
    assert [(row["price"], row["ratio"]) for row in events.rows] == [(1.25, 0.5)]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
