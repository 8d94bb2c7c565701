"""A Delta table as a source: each commit's rows are taken once, whatever others do to the table."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from event_specs import NAME, START, VIEW
from events import Events, taken
from lake_table import FEED, LakeTable

from featurestore.arrivals.source_kinds import open_source
from featurestore.cli.doctor import examine
from featurestore.errors import Conflict, Damaged, RequestError
from featurestore.quarantine.replay import replay
from featurestore.resources.data_pipeline import Source
from featurestore.storage import paths
from featurestore.storage.credentials import object_store_options
from featurestore_transforms.sources.reader import open_head


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    return LakeTable(tmp_path / "lake" / "events")


@pytest.fixture
def fed(tmp_path: Path) -> LakeTable:
    """A table with a change data feed."""
    return LakeTable(tmp_path / "lake" / "events", **FEED)


def pipeline(table: LakeTable, folder: Path, **delta: Any) -> Events[Any]:
    return Events[Any](folder / "project", table).apply(delta)


def again(events: Events[Any]) -> None:
    assert replay(events.laptop.storage, NAME, now_us=events.laptop.clock()) is not None
    events.run()


def reasons(events: Events[Any]) -> list[str]:
    return [row["reason"] for row in events.laptop.table(paths.quarantine("pipelines", NAME))]


def test_the_rows_that_are_there_and_those_of_later_commits_are_taken_once(
    table: LakeTable, tmp_path: Path
) -> None:
    table.append(1, 2)
    table.append(3)
    events = pipeline(table, tmp_path)
    events.run()
    table.append(4)
    table.append(5, 6)
    events.run()
    events.run()
    assert events.numbers == [1, 2, 3, 4, 5, 6]
    assert taken(events) == [["*-2"], ["2-3", "3-4"]]


def test_its_rows_are_features(table: LakeTable, tmp_path: Path) -> None:
    table.append(1)
    events = pipeline(table, tmp_path)
    events.laptop.apply(VIEW)
    events.run()
    table.append(7)
    events.run()
    at = {"level": ["info"], "event_timestamp": [START + timedelta(hours=1)]}
    assert events.laptop.store(START).get_features("levels:n", at).to_dict()["n"] == [7]


def test_the_first_batch_begins_where_the_spec_says(table: LakeTable, tmp_path: Path) -> None:
    for n in (1, 2, 3):
        table.append(n)
    begun = {
        start: pipeline(table, tmp_path / start, startAt=start)
        for start in ("Snapshot", "Earliest", "Latest", "1", "9")
    }
    for events in begun.values():
        events.run()
    table.append(4)
    for events in begun.values():
        events.run()
    assert {start: events.numbers for start, events in begun.items() if start != "9"} == {
        "Snapshot": [1, 2, 3, 4],
        "Earliest": [1, 2, 3, 4],
        "Latest": [4],
        "1": [2, 3, 4],
    }
    assert begun["9"].ledger.last_batch() == 0


def test_files_that_are_rewritten_bring_no_row_again(table: LakeTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    table.append(1)
    table.append(2)
    table.optimize()
    events.run()
    table.append(3)
    table.append(4)
    events.run()
    table.optimize()
    events.run()
    events.run()
    assert events.numbers == [1, 2, 3, 4]
    assert taken(events) == [["0-1", "1-2", "2-3 Skip"], ["3-4", "4-5"], ["5-6 Skip"]]


def test_a_batch_takes_no_more_commits_than_it_may_and_the_next_the_others(
    table: LakeTable, tmp_path: Path
) -> None:
    for n in range(5):
        table.append(n)
    events = pipeline(table, tmp_path, startAt="Earliest", maxCommits=2)
    events.run()
    assert taken(events) == [["0-1", "1-2"], ["2-3", "3-4"], ["4-5"]]
    assert events.numbers == [0, 1, 2, 3, 4]


def test_a_batch_takes_no_more_bytes_than_it_may_but_one_commit(table: LakeTable, tmp_path: Path) -> None:
    for n in range(3):
        table.append(n)
    events = pipeline(table, tmp_path, startAt="Earliest", maxBytes=1)
    events.run()
    assert taken(events) == [["0-1"], ["1-2"], ["2-3"]]


def test_a_commit_that_changes_rows_is_refused_alone_and_run_again_once_it_may_be_read(
    fed: LakeTable, tmp_path: Path
) -> None:
    events = pipeline(fed, tmp_path, startAt="Earliest")
    fed.append(1)
    fed.append(2)
    fed.table.update(predicate="n = 2", updates={"n": "20"})
    fed.append(3)
    events.run()
    assert events.numbers == [1, 2, 3]
    assert events.open == [(1, "delta:changed", None)]
    assert reasons(events) == [
        "version 2 (UPDATE) deletes or changes rows, and spec.source.delta.onChange is Reject"
    ]
    events.apply({"startAt": "Earliest", "onChange": "Feed"})
    again(events)
    assert (events.numbers, events.open) == ([1, 2, 3, 20], [])


def test_a_commit_that_changes_rows_may_bring_nothing(table: LakeTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest", onChange="Ignore")
    table.append(1, 2)
    table.table.update(predicate="n = 2", updates={"n": "20"})
    table.append(3)
    events.run()
    assert (events.numbers, events.open) == ([1, 2, 3], [])


def test_of_a_change_data_feed_rows_are_taken_as_they_are_after_the_change(
    fed: LakeTable, tmp_path: Path
) -> None:
    events = pipeline(fed, tmp_path, startAt="Earliest", onChange="Feed")
    fed.append(1, 2, 3)
    fed.table.update(predicate="n = 2", updates={"n": "20"})
    fed.table.delete("n = 1")
    events.run()
    assert (events.numbers, events.open) == ([1, 2, 3, 20], [])


def test_columns_tell_what_became_of_a_row_in_which_version_and_when(fed: LakeTable, tmp_path: Path) -> None:
    include = {"change": "became", "version": "v", "timestamp": "committed"}
    events = pipeline(fed, tmp_path, onChange="Feed", include=include)
    fed.append(1, 2, 3)
    events.run()
    fed.append(4)
    fed.table.update(predicate="n = 2", updates={"n": "20"})
    fed.table.delete("n = 1")
    events.run()
    rows = [(row["n"], row["became"], row["v"]) for row in events.rows]
    assert sorted(rows) == [
        *((1, "delete", 3), (1, "insert", 0), (2, "insert", 0), (3, "insert", 0)),
        *((4, "insert", 1), (20, "update_postimage", 2)),
    ]
    written = {action["commitInfo"]["timestamp"] for action in fed.actions(1) if "commitInfo" in action}
    [at] = [row["committed"] for row in events.rows if row["v"] == 1]
    assert {round(at.timestamp() * 1000)} == written
    assert [row["committed"] for row in events.rows if row["v"] == 0] == [None] * 3


def test_without_a_feed_a_commit_that_changes_rows_is_refused(table: LakeTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest", onChange="Feed")
    table.append(1, 2)
    table.table.update(predicate="n = 2", updates={"n": "20"})
    events.run()
    assert (events.numbers, events.open) == ([1, 2], [(1, "delta:changed", None)])
    assert "delta.enableChangeDataFeed is not set" in reasons(events)[0]


def test_a_table_that_is_overwritten_feeds_its_new_rows(fed: LakeTable, tmp_path: Path) -> None:
    events = pipeline(fed, tmp_path, startAt="Earliest", onChange="Feed")
    fed.append(1, 2)
    fed.append(3, mode="overwrite")
    events.run()
    assert (events.numbers, events.open) == ([1, 2, 3], [])


def test_commits_that_were_cleaned_up_unread_are_told_and_the_others_taken(
    table: LakeTable, tmp_path: Path
) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    table.append(1)
    events.run()
    for n in (2, 3, 4):
        table.append(n)
    table.forget_commits(before=3)
    events.run()
    assert events.numbers == [1, 4]
    assert events.open == [(2, "delta:lost", None)]
    assert reasons(events)[0].startswith("versions 1 to 2 cannot be read any more")
    with pytest.raises(RequestError, match=r"commit 0 of batch 2 .* is gone"):
        replay(events.laptop.storage, NAME, now_us=events.laptop.clock())


def test_commits_that_are_cleaned_up_between_a_look_and_a_batch_are_told(
    table: LakeTable, tmp_path: Path
) -> None:
    for n in (1, 2):
        table.append(n)
    events = pipeline(table, tmp_path, startAt="Earliest")
    backlog = events.backlog()
    table.append(3)
    table.forget_commits(before=2)
    with pytest.raises(Conflict):
        backlog.close(1, events.digest, events.laptop.clock())
    events.run()
    assert (events.numbers, events.open) == ([3], [])
    events.apply({"startAt": "0"})
    events.run()
    assert events.numbers == [3]


def test_a_version_to_begin_at_that_was_cleaned_up_is_told(table: LakeTable, tmp_path: Path) -> None:
    for n in (1, 2, 3):
        table.append(n)
    table.forget_commits(before=2)
    events = pipeline(table, tmp_path, startAt="0")
    events.run()
    assert (events.numbers, events.open) == ([3], [(1, "delta:lost", None)])


def test_files_that_were_vacuumed_unread_are_told_and_the_others_taken(
    table: LakeTable, tmp_path: Path
) -> None:
    table.append(1)
    table.write(pa.concat_tables([table.table.to_pyarrow_table()] * 2), partition_by=None)
    table.append(3)
    os.unlink(table.files(0)[0])
    events = pipeline(table, tmp_path, startAt="Earliest")
    events.run()
    assert events.numbers == [1, 1, 3]
    assert events.open == [(1, "delta:lost", None)]


def test_of_a_commit_some_of_whose_files_are_gone_the_others_are_taken(tmp_path: Path) -> None:
    table = LakeTable(tmp_path / "lake" / "events")
    rows = pa.table(
        {
            "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
            "level": ["info", "warning"],
            "n": [1, 2],
        }
    )
    table.write(rows, partition_by=["level"])
    os.unlink(next(file for file in table.files(0) if "warning" in str(file)))
    events = pipeline(table, tmp_path, startAt="Earliest")
    events.run()
    assert events.numbers == [1]
    [reason] = reasons(events)
    assert reason.startswith("delta:lost: 1 of 2 files of version 0 were deleted")


def test_vacuum_after_optimize_leaves_what_was_rewritten_and_not_read_told(
    table: LakeTable, tmp_path: Path
) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    table.append(1)
    table.append(2)
    table.optimize()
    table.vacuum()
    events.run()
    assert events.numbers == []
    assert events.open == [(1, "delta:lost", None), (1, "delta:lost", None)]


def test_a_table_that_was_made_again_is_told_and_all_its_rows_taken(table: LakeTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Latest")
    table.append(1)
    events.run()
    table.append(2)
    events.run()
    table.delete()
    for n in (7, 8, 9):
        table.append(n)
    events.run()
    table.append(10)
    events.run()
    assert events.numbers == [2, 7, 8, 9, 10]
    assert [rule for _, rule, _ in events.open] == ["delta:replaced"]
    assert "the table was deleted and made again" in reasons(events)[0]


def test_a_table_that_was_made_again_between_a_batch_and_its_run_is_refused_and_then_taken(
    table: LakeTable, tmp_path: Path
) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    table.append(1)
    events.backlog().close(1, events.digest, events.laptop.clock())
    table.delete()
    table.append(7)
    events.run()
    assert events.numbers == [7]
    assert [rule for _, rule, _ in events.open] == ["delta:replaced", "delta:replaced"]


def test_a_table_that_was_restored_from_a_copy_is_told_and_goes_on(table: LakeTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path)
    table.append(1)
    copy = tmp_path / "copy"
    shutil.copytree(table.uri, copy)
    table.append(2)
    events.run()
    table.append(3)
    events.run()
    table.delete()
    shutil.copytree(copy, table.uri)
    events.run()
    table.append(4)
    events.run()
    assert events.numbers == [1, 2, 3, 4]
    assert [rule for _, rule, _ in events.open] == ["delta:restored"]


def test_a_log_that_no_longer_tells_its_table_goes_on(table: LakeTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path)
    for n in (1, 2, 3):
        table.append(n)
    events.run()
    table.append(4)
    table.forget_commits(before=2)
    events.run()
    table.append(5)
    late = pipeline(table, tmp_path / "late")
    for one in (events, late):
        one.run()
    table.append(6)
    late.run()
    assert (events.numbers, late.numbers) == ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])
    assert [*events.open, *late.open] == []


def test_a_file_outside_of_the_table_is_not_read(table: LakeTable, tmp_path: Path) -> None:
    table.append(1)
    table.append(2)
    [file] = table.files(1)
    secret = tmp_path / "secret.parquet"
    shutil.copy(file, secret)
    text = table.commit(1).read_text()
    for path in (f"../../{secret.name}", str(secret), f"file://{secret}"):
        table.commit(1).write_text(text.replace(file.name, path))
        events = pipeline(table, tmp_path / str(len(path)), startAt="Earliest")
        events.run()
        assert events.numbers == [1]
        assert [rule for _, rule, _ in events.open] == ["delta:outside"]


def test_a_broken_file_refuses_its_commit_alone(table: LakeTable, tmp_path: Path) -> None:
    for n in (1, 2, 3):
        table.append(n)
    [file] = table.files(1)
    data = bytearray(file.read_bytes())
    data[-12:-4] = b"\xff" * 8
    file.write_bytes(data)
    events = pipeline(table, tmp_path, startAt="Earliest")
    events.run()
    assert events.numbers == [1, 3]
    assert len(events.open) == 1


def test_a_commit_that_cannot_be_parsed_is_an_error_that_says_so_and_heals(
    table: LakeTable, tmp_path: Path
) -> None:
    table.append(1)
    table.append(2)
    good = table.commit(1).read_bytes()
    table.commit(1).write_bytes(b"{")
    events = pipeline(table, tmp_path, startAt="Earliest")
    with pytest.raises(Damaged, match="a commit of the Delta table cannot be read"):
        events.run()
    table.commit(1).write_bytes(good)
    events.run()
    assert events.numbers == [1, 2]


def test_a_row_that_breaks_a_rule_is_quarantined_alone_and_run_again(
    table: LakeTable, tmp_path: Path
) -> None:
    table.append(1, 500, 2)
    events = pipeline(table, tmp_path)
    events.run()
    assert (events.numbers, events.open) == ([1, 2], [(1, "small", 1)])
    events.apply(expectations=[])
    again(events)
    assert (events.numbers, events.open) == ([1, 2, 500], [])


def test_a_table_that_needs_what_is_not_known_is_refused(table: LakeTable, tmp_path: Path) -> None:
    table.append(1)
    lines = list(table.actions(0))
    for action in lines:
        if "metaData" in action:
            action["metaData"]["configuration"]["delta.columnMapping.mode"] = "name"
    table.commit(0).write_text("\n".join(map(json.dumps, lines)))
    events = pipeline(table, tmp_path)
    events.run()
    assert events.open == [(1, "delta:unsupported", None)]
    assert "columnMapping" in reasons(events)[0]


def test_doctor_says_how_much_there_is_and_why_there_is_nothing(table: LakeTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path)

    def source() -> tuple[str, str]:
        [finding] = (
            one for one in examine(events.laptop.project) if one.what == f"source of pipeline {NAME}"
        )
        return finding.message, finding.hint

    assert source() == (f"{table.uri} names no commit yet", f"there is no Delta table at {table.uri} yet")
    table.append(1)
    assert source() == (f"{table.uri} names 1 commit", "")


def test_of_two_processes_that_close_the_same_batch_one_is_first(table: LakeTable, tmp_path: Path) -> None:
    table.append(1)
    events = pipeline(table, tmp_path, startAt="Earliest")
    short = events.backlog()
    table.append(2)
    long = events.backlog()
    short.close(1, events.digest, events.laptop.clock())
    with pytest.raises(Conflict):
        long.close(1, events.digest, events.laptop.clock())
    events.run()
    assert events.numbers == [1, 2]


def test_a_spec_is_tried_on_what_the_table_is_now(table: LakeTable, tmp_path: Path) -> None:
    table.append(1, 2)
    table.table.update(predicate="n = 2", updates={"n": "20"})
    source = Source.model_validate(table.source())
    [arrival] = open_source(source).arrivals()
    reader, _ = open_head(arrival, source, 1 << 30, "", tmp_path)
    assert sorted(reader.scan().collect()["n"]) == [1, 20]


def test_a_table_in_object_storage_is_taken_and_its_log_is_what_notifications_are_of(
    s3_root: str, tmp_path: Path
) -> None:
    uri = f"{s3_root}/lake/events"
    table = LakeTable(uri, object_store_options(uri, None))
    table.append(1)
    events = pipeline(table, tmp_path)
    events.run()
    table.append(2)
    table.append(3)
    events.run()
    assert (events.numbers, events.open) == ([1, 2, 3], [])
    opened = open_source(Source.model_validate(table.source()))
    urls = [f"{uri}/_delta_log/{1:020}.json", f"{uri}/part-1.parquet", "s3://other/_delta_log/1.json"]
    assert [opened.named([url]) for url in urls] == [[uri], [], []]
    [commit] = [
        entry.arrival for entry in events.ledger.manifest(2).entries if "1-2@" in entry.arrival.version
    ]
    assert opened.find(commit) == commit
