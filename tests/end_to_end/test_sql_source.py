"""Rows of PostgreSQL as a source: each is taken once, however late its transaction commits, and what is not is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from event_specs import NAME, START, VIEW
from events import Events
from eventually import eventually
from postgres_server import PostgresServer, PostgresTable, moment

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import FeatureStoreError, SpecError, StorageError
from featurestore.quarantine.replay import replay
from featurestore.resources.data_pipeline import Source
from featurestore.storage import paths
from featurestore_transforms.sources.reader import open_reader


@pytest.fixture
def table(postgres: PostgresServer) -> PostgresTable:
    return postgres.table()


def pipeline(
    table: PostgresTable, folder: Path, spec: dict[str, Any] | None = None, **sql: Any
) -> Events[Any]:
    return Events[Any](folder / "project", table).apply(sql, **(spec or {}))


def again(events: Events[Any]) -> None:
    assert replay(events.laptop.storage, NAME, now_us=events.laptop.clock()) is not None
    events.run()


def reasons(events: Events[Any]) -> list[str]:
    return [row["reason"] for row in events.laptop.table(paths.quarantine("pipelines", NAME))]


def taken(events: Events[Any]) -> list[list[str]]:
    """Of each batch the ranges that it took, in seconds after the start; and the rules of what was told."""
    manifests = (events.ledger.manifest(n + 1) for n in range(events.ledger.last_batch()))

    def short(entry: Any) -> str:
        version = entry.arrival.version
        for second in range(60):
            version = version.replace(f"2024-01-01T00:00:{second:02d}.000000Z", str(second))
        return version if entry.action == "Take" else f"{version} {entry.rule or entry.action}"

    return [[short(entry) for entry in manifest.entries] for manifest in manifests]


def test_the_rows_that_are_there_and_those_that_come_later_are_taken_once(
    table: PostgresTable, tmp_path: Path
) -> None:
    table.append(1, 2)
    events = pipeline(table, tmp_path)
    events.run()
    table.append(3)
    table.append(4, 5)
    events.run()
    events.run()
    assert events.numbers == [1, 2, 3, 4, 5]
    assert taken(events) == [["..2"], ["2..5"]]


def test_its_rows_are_features(table: PostgresTable, tmp_path: Path) -> None:
    table.append(1)
    events = pipeline(table, tmp_path)
    events.laptop.apply(VIEW)
    events.run()
    table.append(7)
    events.run()
    at = {"level": ["info"], "event_timestamp": [START + timedelta(hours=1)]}
    assert events.laptop.store(START).get_features("levels:n", at).to_dict()["n"] == [7]


def test_the_first_batch_begins_where_the_spec_says(table: PostgresTable, tmp_path: Path) -> None:
    table.append(1, 2, 3)
    begun = {
        start: pipeline(table, tmp_path / start[-4:], startAt=start)
        for start in ("Earliest", "Latest", "2024-01-01T00:00:02Z", "2030-01-01T00:00:00Z")
    }
    for events in begun.values():
        events.run()
    table.append(4)
    for events in begun.values():
        events.run()
    assert [events.numbers for events in begun.values()] == [[1, 2, 3, 4], [4], [2, 3, 4], []]


def test_latest_rows_of_a_table_that_is_empty_are_all_that_come(table: PostgresTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Latest")
    events.run()
    table.append(1)
    events.run()
    assert events.numbers == [1]


def test_an_integer_may_be_the_watermark(table: PostgresTable, tmp_path: Path) -> None:
    table.append(-3, 1, 2)
    whole = pipeline(table, tmp_path / "whole", watermark="id")
    later = pipeline(table, tmp_path / "later", watermark="id", startAt="2")
    for events in (whole, later):
        events.run()
    table.append(5)
    for events in (whole, later):
        events.run()
    assert (whole.numbers, later.numbers) == ([-3, 1, 2, 5], [2, 5])
    assert taken(whole) == [["..2"], ["2..5"]]


def test_a_query_is_read_as_a_table(table: PostgresTable, tmp_path: Path) -> None:
    table.append(1, 2, 3)
    query = f"SELECT *, n * 10 AS tens FROM {table.name} WHERE n <> 2 -- and nothing else;"
    events = pipeline(table, tmp_path, query=query)
    events.run()
    table.append(4)
    events.run()
    assert [(row["n"], row["tens"]) for row in events.rows] == [(1, 10), (3, 30), (4, 40)]


def test_a_row_that_changes_is_taken_again_with_its_new_watermark(
    table: PostgresTable, tmp_path: Path
) -> None:
    table.append(1, 2)
    events = pipeline(table, tmp_path)
    events.run()
    table.server.ask(f"UPDATE {table.name} SET n = 10, seen = '{moment(30)}' WHERE id = 1")
    events.run()
    assert events.numbers == [1, 2, 10]
    assert events.open == []


def test_a_batch_takes_no_more_rows_than_it_may_but_those_of_one_watermark(
    table: PostgresTable, tmp_path: Path
) -> None:
    table.append(*range(1, 6))
    table.server.ask(f"UPDATE {table.name} SET seen = '{moment(3)}' WHERE id IN (3, 4)")
    events = pipeline(table, tmp_path, maxRows=3)
    events.run()
    assert taken(events) == [["..3"], ["3..5"]]
    assert events.numbers == [1, 2, 3, 4, 5]


def test_rows_below_those_of_a_transaction_that_is_open_wait_for_it_and_none_is_lost(
    table: PostgresTable, tmp_path: Path
) -> None:
    events = pipeline(table, tmp_path)
    table.append(1)
    events.run()
    with table.server.connection(autocommit=False) as slow:
        slow.execute(table.insert(2))
        table.append(3)
        events.run()
        assert events.numbers == [1]
        slow.commit()
    events.run()
    assert events.numbers == [1, 2, 3]
    assert taken(events) == [["..1"], ["1..3"]]


def test_a_prepared_transaction_is_waited_for_as_well(table: PostgresTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path)
    with table.server.connection(autocommit=False) as slow:
        slow.execute(table.insert(1))
        slow.execute("PREPARE TRANSACTION 'two-phases'")
    table.append(2)
    events.run()
    assert events.numbers == []
    table.server.ask("COMMIT PREPARED 'two-phases'")
    events.run()
    assert events.numbers == [1, 2]


def test_a_watermark_that_was_taken_before_the_first_write_is_waited_for_as_long_as_settle_says(
    table: PostgresTable, tmp_path: Path
) -> None:
    table.append(1)
    events = pipeline(table, tmp_path, settle="20s")
    early = table.insert(2)
    table.append(3)
    backlog = events.backlog()
    assert backlog.open is None
    assert backlog.unsettled
    table.server.ask(early)
    backlog.look(events.laptop.clock() + 25_000_000)
    manifest = backlog.close(1, events.digest, events.laptop.clock())
    assert [entry.arrival.content for entry in manifest.entries] == ["0-3"]
    events.run()
    assert events.numbers == [1, 2, 3]


def test_rows_that_come_below_what_was_read_are_told_and_a_rebuild_reads_them(
    table: PostgresTable, tmp_path: Path
) -> None:
    events = pipeline(table, tmp_path)
    late, later = table.insert(1), table.insert(2, 3)
    table.append(4)
    events.run()
    table.server.ask(late)
    events.run()
    events.run()
    assert events.numbers == [4]
    assert events.open == [(2, "sql:late", None)]
    assert reasons(events)[0].startswith(
        "1 rows with a watermark up to 2024-01-01T00:00:04.000000Z were committed"
    )
    table.server.ask(later)
    table.append(5)
    events.run()
    assert events.numbers == [4, 5]
    assert events.open == [(2, "sql:late", None), (3, "sql:late", None)]
    assert taken(events) == [["..4"], ["late:1:..4 sql:late"], ["late:2:..4 sql:late"], ["4..5"]]


def test_rows_without_a_watermark_are_told_and_taken_once_they_have_one(
    table: PostgresTable, tmp_path: Path
) -> None:
    table.append(1, 2, 3, 4)
    table.server.ask(f"UPDATE {table.name} SET seen = NULL WHERE id = 2")
    table.server.ask(f"UPDATE {table.name} SET seen = 'infinity' WHERE id = 3")
    table.server.ask(f"UPDATE {table.name} SET seen = '12000-01-01' WHERE id = 4")
    events = pipeline(table, tmp_path)
    events.run()
    events.run()
    assert events.numbers == [1]
    assert events.open == [(1, "sql:unplaced", None)]
    assert reasons(events)[0].startswith("3 rows have no seen, or one that is infinite")
    table.server.ask(f"UPDATE {table.name} SET seen = '{moment(9)}' WHERE id > 1")
    events.run()
    assert events.numbers == [1, 2, 3, 4]


def test_a_row_that_breaks_a_rule_is_quarantined_alone_and_taken_as_it_was_mended(
    table: PostgresTable, tmp_path: Path
) -> None:
    table.append(1, 500, 600, 700)
    events = pipeline(table, tmp_path)
    events.run()
    assert (events.numbers, events.open) == ([1], [(1, "small", 3)])
    records = events.laptop.table(paths.quarantine("pipelines", NAME))
    assert sorted(row["__row"] for row in records) == [500, 600, 700]
    table.server.ask(f"UPDATE {table.name} SET n = 5 WHERE id = 500")
    table.server.ask(f"DELETE FROM {table.name} WHERE id IN (1, 600)")
    again(events)
    assert (events.numbers, events.open) == ([1, 5], [(2, "small", 1)])


def test_rows_that_change_between_a_batch_and_its_run_are_taken_as_they_are_and_none_is_lost(
    table: PostgresTable, tmp_path: Path
) -> None:
    table.append(1, 2, 3)
    events = pipeline(table, tmp_path)
    events.backlog().close(1, events.digest, events.laptop.clock())
    table.server.ask(f"DELETE FROM {table.name} WHERE id = 1")
    table.server.ask(f"UPDATE {table.name} SET n = 20, seen = '{moment(20)}' WHERE id = 2")
    events.run()
    assert events.numbers == [3, 20]
    assert events.open == []


def test_a_table_that_is_dropped_after_a_batch_was_made_refuses_it(
    table: PostgresTable, tmp_path: Path
) -> None:
    table.append(1)
    events = pipeline(table, tmp_path)
    events.backlog().close(1, events.digest, events.laptop.clock())
    table.drop()
    events.run()
    assert events.open == [(1, "sql:gone", None)]
    table.create()
    table.append(1)
    again(events)
    # Its row has another watermark now.
    assert (events.open, events.numbers) == ([], [1])


def test_a_key_that_is_not_one_refuses_the_range_until_it_is(table: PostgresTable, tmp_path: Path) -> None:
    table.append(1, 2)
    query = f"SELECT *, 7 AS seven FROM {table.name}"
    events = pipeline(table, tmp_path, query=query, key="seven")
    events.run()
    assert reasons(events) == ["seven is not the key of a row: it is '7' in 2 rows"]
    events.apply({"query": query})
    again(events)
    assert (events.numbers, events.open) == ([1, 2], [])


def test_a_query_that_fails_for_a_row_refuses_its_range_in_words(
    table: PostgresTable, tmp_path: Path
) -> None:
    table.append(0, 1)
    events = pipeline(table, tmp_path, query=f"SELECT *, 1 / n AS part FROM {table.name}", maxRows=1)
    events.run()
    assert events.numbers == [1]
    assert "division by zero" in reasons(events)[0]


def problem(table: PostgresTable, **sql: Any) -> FeatureStoreError:
    with pytest.raises(FeatureStoreError) as raised:
        list(open_source(Source.model_validate(table.source(**sql))).arrivals())
    return raised.value


def test_what_is_wrong_with_a_spec_is_said_in_words(table: PostgresTable) -> None:
    error = problem(table, watermark="sen")
    assert isinstance(error, SpecError)
    assert str(error).startswith("there is no such column: in spec.source.sql.watermark")
    assert error.hint == "Did you mean 'seen'?"
    assert problem(table, key="ids").hint.startswith("Did you mean 'id'")
    assert "got level, a text" in str(problem(table, watermark="level"))
    assert "wanted a time, got '5'" in str(problem(table, startAt="5"))
    assert "syntax error" in str(problem(table, query="SELECT FROM WHERE"))
    assert isinstance(problem(table, query=f"SELECT * FROM {table.name}; DROP TABLE {table.name}"), SpecError)


def test_a_query_that_writes_writes_nothing(table: PostgresTable, tmp_path: Path) -> None:
    table.append(1)
    name = f"erase_{table.name}"
    table.server.ask(
        f"CREATE FUNCTION {name}() RETURNS SETOF {table.name} LANGUAGE sql AS 'DELETE FROM {table.name} RETURNING *'"
    )
    assert "read-only transaction" in str(problem(table, query=f"SELECT * FROM {name}()"))
    assert table.server.ask(f"SELECT count(*) FROM {table.name}") == [(1,)]


def test_a_table_that_is_not_there_is_told_with_the_one_that_may_be_meant(table: PostgresTable) -> None:
    source = open_source(Source.model_validate(table.source(table=f"{table.name}x")))
    assert list(source.arrivals()) == []
    assert source.explain_empty() == (
        f"the server answers, and has no table '{table.name}x'. Did you mean '{table.name}'?"
    )


def test_a_server_that_is_not_there_is_an_error_that_heals(table: PostgresTable, tmp_path: Path) -> None:
    table.append(1)
    events = pipeline(table, tmp_path)
    with (
        table.server.stopped(),
        pytest.raises(StorageError, match=r"PostgreSQL lets nobody in.*Connection refused"),
    ):
        events.run()
    events.run()
    assert events.numbers == [1]


def test_a_read_that_the_server_ends_is_an_error_that_heals(table: PostgresTable) -> None:
    table.append(1)
    query = f"SELECT *, pg_advisory_lock({table.server.port}) IS NULL AS locked FROM {table.name}"
    spec = Source.model_validate(table.source(query=query))
    arrival = Arrival("sql://postgres/query/seen", "..2024-01-01T00:00:01.000000Z", 0, 0, "0-1")
    with table.server.connection() as held, ThreadPoolExecutor(1) as threads:
        held.execute(f"SELECT pg_advisory_lock({table.server.port})")
        reading = threads.submit(open_reader, arrival, spec, 2**28, "/")
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory'"
        eventually(lambda: bool(table.server.ask(ended)) or reading.done())
        with pytest.raises(StorageError, match="terminating connection"):
            reading.result()
    assert open_reader(arrival, spec, 2**28, "/").arrival.size_bytes > 0
