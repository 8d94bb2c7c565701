"""An Iceberg table as a source: each snapshot's rows are taken once, whatever others do to the table."""

from __future__ import annotations

import gzip
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from event_specs import NAME, START, VIEW
from events import Events, taken
from ice_table import IceTable

from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import Damaged, RequestError, SpecError, StorageError
from featurestore.quarantine.replay import replay
from featurestore.resources.data_pipeline import Source
from featurestore.storage import paths
from featurestore_transforms.sources.reader import open_head


@pytest.fixture
def table(tmp_path: Path) -> IceTable:
    return IceTable(tmp_path / "lake" / "events")


def pipeline(table: IceTable, folder: Path, **iceberg: Any) -> Events[Any]:
    return Events[Any](folder / "project", table).apply(iceberg)


def reasons(events: Events[Any]) -> list[str]:
    return [row["reason"] for row in events.laptop.table(paths.quarantine("pipelines", NAME))]


def test_the_rows_that_are_there_and_those_of_later_snapshots_are_taken_once(
    table: IceTable, tmp_path: Path
) -> None:
    table.append(1, 2)
    table.append(3)
    events = pipeline(table, tmp_path)
    events.laptop.apply(VIEW)
    events.run()
    table.append(4)
    table.append(5, 6)
    events.run()
    events.run()
    assert events.numbers == [1, 2, 3, 4, 5, 6]
    assert taken(events) == [["*-3"], ["3-4", "4-5"]]
    at = {"level": ["info"], "event_timestamp": [START + timedelta(hours=1)]}
    assert events.laptop.store(START).get_features("levels:n", at).to_dict()["n"] == [6]


def test_the_first_batch_begins_where_the_spec_says(table: IceTable, tmp_path: Path) -> None:
    for n in (1, 2, 3):
        table.append(n)
    starts = ("Snapshot", "Earliest", "Latest", str(table.id(2)))
    begun = {start: pipeline(table, tmp_path / start, startAt=start) for start in starts}
    for events in begun.values():
        events.run()
    table.append(4)
    for events in begun.values():
        events.run()
    assert [events.numbers for events in begun.values()] == [[1, 2, 3, 4], [1, 2, 3, 4], [4], [2, 3, 4]]
    with pytest.raises(SpecError, match="no such snapshot"):
        decided(table, startAt="77")


def decided(table: IceTable, **iceberg: Any) -> list[Any]:
    """What a source says of what is there, to somebody who knows nothing of it."""
    source = open_source(Source.model_validate(table.source(**iceberg)))
    return [source.decide(arrival, []) for arrival in source.arrivals()]


def test_of_an_empty_table_that_was_seen_all_that_comes_is_later(table: IceTable, tmp_path: Path) -> None:
    table.table.name()
    table.hint()
    begun = {start: pipeline(table, tmp_path / start, startAt=start) for start in ("Latest", "Snapshot")}
    for events in begun.values():
        events.run()
    table.append(1)
    for events in begun.values():
        events.run()
        assert (events.numbers, events.open) == ([1], [])


def test_files_that_are_rewritten_bring_no_row_again(table: IceTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    table.append(1)
    table.append(2)
    table.compact()
    events.run()
    table.append(3)
    events.run()
    table.compact()
    events.run()
    assert (events.numbers, events.open) == ([1, 2, 3], [])
    assert taken(events) == [["1-2", "2-3", "3-4 Skip"], ["4-5"], ["5-6 Skip"]]


def test_a_batch_takes_no_more_snapshots_and_bytes_than_it_may(table: IceTable, tmp_path: Path) -> None:
    for n in range(3):
        table.append(n)
    few = pipeline(table, tmp_path / "few", startAt="Earliest", maxSnapshots=2)
    small = pipeline(table, tmp_path / "small", startAt="Earliest", maxBytes=1)
    for events in (few, small):
        events.run()
        assert events.numbers == [0, 1, 2]
    assert taken(few) == [["1-2", "2-3"], ["3-4"]]
    assert taken(small) == [["1-2"], ["2-3"], ["3-4"]]


def test_a_snapshot_that_changes_rows_is_refused_alone_and_may_bring_nothing(
    table: IceTable, tmp_path: Path
) -> None:
    refusing = pipeline(table, tmp_path / "refusing", startAt="Earliest")
    ignoring = pipeline(table, tmp_path / "ignoring", startAt="Earliest", onChange="Ignore")
    table.append(1, 2)
    table.delete("n == 2")
    table.append(3)
    for events in (refusing, ignoring):
        events.run()
        assert events.numbers == [1, 2, 3]
    assert refusing.open == [(1, "iceberg:changed", None)]
    assert "deletes or changes rows, and spec.source.iceberg.onChange is Reject" in reasons(refusing)[0]
    assert ignoring.open == []
    refusing.apply({"startAt": "Earliest", "onChange": "Ignore"})
    assert replay(refusing.laptop.storage, NAME, now_us=refusing.laptop.clock()) is not None
    refusing.run()
    assert (refusing.numbers, refusing.open) == ([1, 2, 3], [])


def test_snapshots_that_expired_unread_are_told_and_the_others_taken(table: IceTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    table.append(1)
    events.run()
    for n in (2, 3, 4):
        table.append(n)
    table.expire(1, 2, 3)
    events.run()
    assert events.numbers == [1, 4]
    assert events.open == [(2, "iceberg:lost", None)]
    assert reasons(events)[0].startswith("snapshots 2 to 3 cannot be read any more")
    with pytest.raises(RequestError, match=r"snapshot 0 of batch 2 .* is gone"):
        replay(events.laptop.storage, NAME, now_us=events.laptop.clock())


def test_snapshots_that_came_and_expired_between_two_looks_are_told(table: IceTable, tmp_path: Path) -> None:
    table.table.name()
    table.hint()
    events = pipeline(table, tmp_path, startAt="Latest")
    events.run()
    for made_again in (False, True):
        if made_again:
            table.drop()
        for n in (1, 2, 3):
            table.append(n)
        table.expire(1, 2)
        events.run()
        events.run()
    assert events.numbers == [3, 3]
    assert [rule for _, rule, _ in events.open] == ["iceberg:lost", "iceberg:replaced", "iceberg:lost"]


def test_snapshots_from_before_a_format_with_numbers_are_not_left_out_without_a_word(
    table: IceTable, tmp_path: Path
) -> None:
    table.append(1)
    table.append(2)
    table.change_metadata(lambda it: it["snapshots"][0].pop("sequence-number"))
    with pytest.raises(SpecError, match=f"are from before its format had numbers.*{table.id(2)}"):
        decided(table, startAt="Earliest")
    events = pipeline(table, tmp_path, startAt="Snapshot")
    events.run()
    assert events.numbers == [1, 2]


def test_what_was_read_may_expire(table: IceTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    table.append(1)
    table.append(2)
    events.run()
    table.append(3)
    table.expire(1, 2)
    events.run()
    assert (events.numbers, events.open) == ([1, 2, 3], [])


def test_a_snapshot_that_expires_between_a_batch_and_its_run_is_told(table: IceTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    table.append(1)
    table.append(2)
    events.backlog().close(1, events.digest, events.laptop.clock())
    table.append(3)
    table.expire(1)
    events.run()
    assert (events.numbers, events.open) == ([2, 3], [(1, "iceberg:lost", None)])


def test_files_that_were_deleted_unread_are_told_and_the_others_taken(
    table: IceTable, tmp_path: Path
) -> None:
    for n in (1, 2, 3):
        table.append(n)
    os.unlink(table.files(2)[0])
    events = pipeline(table, tmp_path, startAt="Earliest")
    events.run()
    assert (events.numbers, events.open) == ([1, 3], [(1, "iceberg:lost", None)])
    whole = pipeline(table, tmp_path / "whole")
    whole.run()
    assert whole.numbers == [1, 3]
    assert reasons(whole)[0].startswith("iceberg:lost: 1 of 3 files of snapshot")


def test_a_table_that_was_made_again_is_told_and_all_its_rows_taken(table: IceTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Latest")
    table.append(1)
    events.run()
    table.append(2)
    events.run()
    table.drop()
    for n in (7, 8, 9):
        table.append(n)
    events.run()
    table.append(10)
    events.run()
    assert events.numbers == [2, 7, 8, 9, 10]
    assert [rule for _, rule, _ in events.open] == ["iceberg:replaced"]


def test_a_table_that_was_made_again_between_a_batch_and_its_run_is_refused_and_then_taken(
    table: IceTable, tmp_path: Path
) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    table.append(1)
    events.backlog().close(1, events.digest, events.laptop.clock())
    table.drop()
    table.append(7)
    events.run()
    assert events.numbers == [7]
    assert [rule for _, rule, _ in events.open] == ["iceberg:replaced", "iceberg:replaced"]


def test_a_table_that_was_rolled_back_is_told_and_goes_on(table: IceTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    for n in (1, 2, 3):
        table.append(n)
    events.run()
    table.roll_back(1)
    events.run()
    table.append(4)
    events.run()
    assert events.numbers == [1, 2, 3, 4]
    assert [rule for _, rule, _ in events.open] == ["iceberg:rolledBack"]
    assert "it was rolled back" in reasons(events)[0]


def test_what_is_written_after_a_rollback_that_nobody_saw_is_taken(table: IceTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    for n in (1, 2, 3):
        table.append(n)
    events.run()
    table.roll_back(1)
    table.append(4)
    events.run()
    assert events.numbers == [1, 2, 3, 4]
    assert taken(events) == [["1-2", "2-3", "3-4"], ["2-2 iceberg:rolledBack"], ["2-5"]]


@pytest.mark.parametrize("start", ["Earliest", "Snapshot"])
def test_a_table_that_is_rolled_back_and_forward_brings_no_row_twice(
    table: IceTable, tmp_path: Path, start: str
) -> None:
    events = pipeline(table, tmp_path, startAt=start)
    for n in (1, 2, 3):
        table.append(n)
    events.run()
    for number in (1, 3, 2, 3):
        table.roll_back(number)
        events.run()
    table.append(4)
    events.run()
    assert events.numbers == [1, 2, 3, 4]
    assert [rule for _, rule, _ in events.open] == ["iceberg:rolledBack"] * 2


def test_a_snapshot_of_a_branch_is_not_taken(table: IceTable, tmp_path: Path) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    table.append(1)
    table.table.manage_snapshots().create_branch(table.id(1), "audit").commit()
    table.table.append(table.table.scan().to_arrow(), branch="audit")
    table.append(3)
    events.run()
    assert (events.numbers, events.open) == ([1, 3], [])


def test_what_was_decided_on_a_history_that_is_no_more_makes_no_batch(
    table: IceTable, tmp_path: Path
) -> None:
    events = pipeline(table, tmp_path, startAt="Earliest")
    table.append(1)
    table.append(2)
    backlog = events.backlog()
    table.roll_back(1)
    list(backlog.source.arrivals())
    assert backlog.source.pin(backlog.open.entries) == []  # type: ignore[union-attr]


def test_a_table_that_was_copied_is_read_where_it_is(table: IceTable, tmp_path: Path) -> None:
    table.append(1)
    shutil.copytree(table.uri, tmp_path / "copy")
    shutil.rmtree(table.uri)
    table.uri = str(tmp_path / "copy")
    events = pipeline(table, tmp_path, startAt="Earliest")
    events.run()
    assert (events.numbers, events.open) == ([1], [])


def test_a_file_outside_of_the_table_is_not_read(table: IceTable, tmp_path: Path) -> None:
    table.append(1)
    table.change_metadata(lambda metadata: metadata.update(location=f"{tmp_path}/elsewhere"))
    events = pipeline(table, tmp_path, startAt="Earliest")
    events.run()
    assert (events.numbers, events.open) == ([], [(1, "iceberg:outside", None)])


def test_numbered_metadata_is_read_past_the_hint_and_unpacked(table: IceTable, tmp_path: Path) -> None:
    folder = Path(table.uri, "metadata")
    for n in (1, 2):
        table.append(n)
        data = table.metadata.read_bytes()
        (folder / f"v{n}.metadata.json").write_bytes(data)
    (folder / "v2.metadata.json").unlink()
    (folder / "v2.gz.metadata.json").write_bytes(gzip.compress(data))
    (folder / "version-hint.text").write_text("1")
    events = pipeline(table, tmp_path, startAt="Earliest")
    events.run()
    assert events.numbers == [1, 2]


def source_of(table: IceTable) -> Any:
    return open_source(Source.model_validate(table.source()))


def test_metadata_that_nothing_names_is_not_guessed(table: IceTable) -> None:
    assert list(source_of(table).arrivals()) == []
    table.append(1)
    Path(table.uri, "metadata", "version-hint.text").unlink()
    with pytest.raises(StorageError, match=r"wanted version-hint\.text"):
        list(source_of(table).arrivals())


DAMAGED: dict[str, Any] = {
    "not JSON": lambda table: table.metadata.write_text("{"),
    "no table": lambda table: table.metadata.write_text('{"format-version": 2}'),
    "another format": lambda table: table.change_metadata(lambda it: it.update({"format-version": 9})),
    "no current snapshot": lambda table: table.change_metadata(lambda it: it.update(snapshots=[])),
    "numbers go back": lambda table: table.change_metadata(
        lambda it: it["snapshots"][-1].update({"sequence-number": 1})
    ),
    "a hint elsewhere": lambda table: Path(table.uri, "metadata", "version-hint.text").write_text("../v1"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_metadata_is_an_error_that_says_where(table: IceTable, damage: str) -> None:
    table.append(1)
    table.append(2)
    DAMAGED[damage](table)
    with pytest.raises(Damaged, match="metadata"):
        list(source_of(table).arrivals())


def test_a_hint_to_metadata_that_is_gone_is_a_failed_observation(table: IceTable) -> None:
    table.append(1)
    table.metadata.unlink()
    with pytest.raises(StorageError, match="not there"):
        list(source_of(table).arrivals())


def manifests(table: IceTable, number: int) -> list[Path]:
    [snapshot] = [it for it in table.table.snapshots() if it.sequence_number == number]
    lists = [snapshot.manifest_list, *(it.manifest_path for it in snapshot.manifests(table.table.io)[:1])]
    return [Path(it.removeprefix("file://")) for it in lists]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "iceberg:corrupt"),
        (lambda path: path.write_bytes(b"Obj\x01"), "iceberg:corrupt"),
        (lambda path: path.unlink(), "iceberg:lost"),
    ],
)
def test_a_broken_manifest_holds_up_no_other_snapshot(
    table: IceTable, tmp_path: Path, which: int, damage: Any, rule: str
) -> None:
    table.append(1)
    table.append(2)
    damage(manifests(table, 1)[which])
    events = pipeline(table, tmp_path, startAt="Earliest")
    events.run()
    assert (events.numbers, events.open) == ([2], [(1, rule, None)])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-5]),
        lambda path: path.write_bytes(b"PAR1" + b"\0" * (path.stat().st_size - 8) + b"PAR1"),
    ],
)
def test_a_broken_file_is_told_and_holds_up_no_other_snapshot(
    table: IceTable, tmp_path: Path, damage: Any
) -> None:
    table.append(1)
    table.append(2)
    damage(table.files(1)[0])
    events = pipeline(table, tmp_path, startAt="Earliest")
    events.run()
    assert events.numbers == [2]
    assert len(events.open) == 1


def test_files_that_a_summary_does_not_count_are_told(table: IceTable, tmp_path: Path) -> None:
    table.append(1)
    table.change_metadata(lambda it: it["snapshots"][0]["summary"].update({"added-data-files": "2"}))
    events = pipeline(table, tmp_path, startAt="Earliest")
    events.run()
    assert (events.numbers, events.open) == ([], [(1, "iceberg:corrupt", None)])


def test_a_table_is_tried_on_what_it_is_now(table: IceTable, tmp_path: Path) -> None:
    table.append(1)
    table.append(2)
    table.delete("n == 1")
    source = Source.model_validate(table.source())
    [arrival] = open_source(source).arrivals()
    reader, is_all = open_head(arrival, source, 1 << 28, "/", tmp_path)
    assert not is_all
    assert reader.scan().collect().get_column("n").to_list() == [2]


def test_a_table_in_object_storage_is_taken(s3_root: str, tmp_path: Path) -> None:
    table = IceTable(tmp_path / "lake" / "events", uri=f"{s3_root}/lake/events", environ=os.environ)
    table.append(1)
    events = pipeline(table, tmp_path)
    events.run()
    table.append(2)
    table.append(3)
    events.run()
    assert (events.numbers, events.open) == ([1, 2, 3], [])
    opened = open_source(Source.model_validate(table.source()))
    [snapshot] = [it.arrival for it in events.ledger.manifest(2).entries if it.arrival.version < "3"]
    assert opened.find(snapshot) == snapshot


def test_notifications_of_its_metadata_are_hints_of_the_table() -> None:
    source = open_source(Source.model_validate({"iceberg": {"uri": "s3://lake/events/"}}))
    assert source.named(["s3://lake/events/metadata/v3.metadata.json"]) == ["s3://lake/events"]
    assert source.named(["s3://lake/events/metadata/version-hint.text"]) == ["s3://lake/events"]
    assert (
        source.named(["s3://lake/events/data/a.parquet", "s3://lake/other/metadata/v1.metadata.json"]) == []
    )
