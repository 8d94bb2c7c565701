from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from race import race

from featurestore.errors import Conflict, StorageError
from featurestore.storage.delta import DataFile, Table
from featurestore.storage.objects import Storage

SCHEMA = pa.schema(
    [("x", pa.int64()), ("__batch", pa.int64()), ("__file", pa.int32()), ("__row", pa.int64())]
)
WRITER = """
import json, sys
from featurestore.errors import Conflict
from featurestore.storage.objects import Storage
from featurestore.storage.delta import DataFile, Table
storage, who = Storage(sys.argv[1]), sys.argv[2]
table = Table.open(storage, "t")
print("ready", flush=True)
sys.stdin.readline()
won = []
for number in range(1, 9):
    if table.committed("app") >= number:
        continue
    try:
        file = DataFile(f"{number}-{who}.parquet", 1, 1, {"numRecords": 1})
        table = table.commit(app_id="app", number=number, add=[file], metadata={"who": who})
        won.append(number)
    except Conflict:
        table = Table.open(storage, "t")
print(json.dumps(won))
"""
Write = Callable[[Storage, int], DataFile]


@pytest.fixture
def write() -> Write:
    """Writes a data file of one row, ``x = n``, and commits nothing."""

    def write(storage: Storage, n: int) -> DataFile:
        buffer = io.BytesIO()
        rows = {"x": [n], "__batch": [n], "__file": [0], "__row": [0]}
        pq.write_table(pa.table(rows, schema=SCHEMA), buffer)
        storage.replace(f"t/{n}.parquet", buffer.getvalue())
        return DataFile(f"{n}.parquet", len(buffer.getvalue()), 1, {"numRecords": 1})

    return write


@pytest.fixture
def table(storage: Storage) -> Table:
    return Table.create(storage, "t", SCHEMA)


def names(table: Table) -> list[str]:
    return sorted(file.path for file in table.files())


def test_a_table_that_was_never_made_is_none(storage: Storage) -> None:
    assert Table.open(storage, "t") is None


def test_creating_a_table_that_is_there_opens_it(storage: Storage, table: Table, write: Write) -> None:
    table.commit(app_id="app", number=1, add=[write(storage, 1)], metadata={})
    assert names(Table.create(storage, "t", SCHEMA)) == ["1.parquet"]


def test_rows_and_batch_number_are_committed_together(storage: Storage, table: Table, write: Write) -> None:
    assert table.committed("app") == 0
    table = table.commit(app_id="app", number=1, add=[write(storage, 1)], metadata={"rows": "1"})
    again = Table.open(storage, "t")
    assert again is not None
    assert again.committed("app") == 1
    assert names(again) == ["1.parquet"]
    assert again.history(1)[0]["rows"] == "1"
    assert pq.read_table(io.BytesIO(storage.read("t/1.parquet")))["x"].to_pylist() == [1]


def test_a_commit_without_files_counts(table: Table) -> None:
    assert table.commit(app_id="app", number=1, metadata={}).committed("app") == 1


def test_files_that_were_written_and_not_committed_are_not_in_the_table(
    storage: Storage, table: Table, write: Write
) -> None:
    write(storage, 1)
    assert Table.create(storage, "t", SCHEMA).files() == []


def test_a_committed_batch_is_not_committed_again(storage: Storage, table: Table, write: Write) -> None:
    table = table.commit(app_id="app", number=1, add=[write(storage, 1)], metadata={})
    with pytest.raises(Conflict, match="this batch is committed"):
        table.commit(app_id="app", number=1, add=[write(storage, 2)], metadata={})


def test_of_two_writers_of_one_batch_one_lands(storage: Storage, table: Table, write: Write) -> None:
    other = Table.open(storage, "t")
    assert other is not None
    table.commit(app_id="app", number=1, add=[write(storage, 1)], metadata={})
    with pytest.raises(Conflict, match="another writer was first"):
        other.commit(app_id="app", number=1, add=[write(storage, 2)], metadata={})
    assert names(Table.create(storage, "t", SCHEMA)) == ["1.parquet"]


def test_of_racing_processes_each_batch_is_committed_by_one(storage: Storage, table: Table) -> None:
    won = race(WRITER, storage.root, "abc")
    assert names(Table.create(storage, "t", SCHEMA)) == sorted(
        f"{number}-{who}.parquet" for who, numbers in won.items() for number in numbers
    )
    assert sorted(number for numbers in won.values() for number in numbers) == list(range(1, 9))


def test_writers_of_different_applications_both_land(storage: Storage, table: Table, write: Write) -> None:
    other = Table.open(storage, "t")
    assert other is not None
    table.commit(app_id="one", number=1, add=[write(storage, 1)], metadata={})
    both = other.commit(app_id="two", number=1, add=[write(storage, 2)], metadata={})
    assert names(both) == ["1.parquet", "2.parquet"]
    assert (both.committed("one"), both.committed("two")) == (1, 1)


def test_of_two_writers_that_rewrite_one_file_one_lands(storage: Storage, table: Table, write: Write) -> None:
    file = write(storage, 1)
    table = table.commit(app_id="app", number=1, add=[file], metadata={})
    other = Table.open(storage, "t")
    assert other is not None
    table.commit(app_id="app", number=2, add=[write(storage, 2)], remove=[file], metadata={})
    with pytest.raises(Conflict):
        other.commit(app_id="else", number=1, add=[write(storage, 3)], remove=[file], metadata={})
    assert names(Table.create(storage, "t", SCHEMA)) == ["2.parquet"]


def test_changes_are_the_files_that_came_and_went(storage: Storage, table: Table, write: Write) -> None:
    one, two, three = (write(storage, n) for n in (1, 2, 3))
    first = table.commit(app_id="app", number=1, add=[one, two], metadata={})
    last = first.commit(app_id="app", number=2, add=[three], remove=[one], metadata={})
    changes = last.changes(first.version)
    assert [file.path for file in changes.added] == ["3.parquet"]
    assert [file.path for file in changes.removed] == ["1.parquet"]
    assert sorted(file.path for file in last.changes(None).added) == ["2.parquet", "3.parquet"]
    assert last.changes(last.version).added == ()


def test_a_file_that_came_and_went_in_between_is_no_change(
    storage: Storage, table: Table, write: Write
) -> None:
    before = table.version
    one = write(storage, 1)
    table = table.commit(app_id="app", number=1, add=[one], metadata={})
    table = table.commit(app_id="app", number=2, remove=[one], metadata={})
    assert table.changes(before).added == table.changes(before).removed == ()


def test_changes_since_a_version_that_is_gone_are_an_error_and_not_all_files(
    local_root: str, write: Write
) -> None:
    storage = Storage(local_root)
    table = Table.create(storage, "t", SCHEMA)
    for number in (1, 2, 3):
        table = table.commit(app_id="app", number=number, add=[write(storage, number)], metadata={})
    table._delta.create_checkpoint()
    Path(local_root, "t/_delta_log/00000000000000000001.json").unlink()
    newest = Table.open(storage, "t")
    assert newest is not None
    with pytest.raises(StorageError):
        newest.changes(1)


def test_no_commit_is_forgotten_however_old(local_root: str, write: Write) -> None:
    storage = Storage(local_root)
    table = Table.create(storage, "t", SCHEMA)
    for number in range(1, 103):
        table = table.commit(app_id="app", number=number, metadata={"batch": str(number)})
        if number == 95:
            for name in storage.names("t/_delta_log"):
                os.utime(f"{local_root}/t/_delta_log/{name}", (1, 1))
    assert any("checkpoint" in name for name in storage.names("t/_delta_log"))
    assert [commit["batch"] for commit in table.history() if "batch" in commit][-1] == "1"
    assert table.changes(1).added == ()


def test_a_table_is_not_read_again_while_nobody_commits_to_it(
    storage: Storage, table: Table, write: Write
) -> None:
    table = table.commit(app_id="app", number=1, add=[write(storage, 1)], metadata={})
    # Whoever reads the log now finds that it has no beginning.
    storage.delete("t/_delta_log/00000000000000000000.json")
    found = Table.open(storage, "t")
    assert found is not None
    assert (found.version, names(found)) == (1, ["1.parquet"])
    with pytest.raises(StorageError):
        Table.open(Storage(storage.root, storage.environ), "t")


def test_what_another_writer_commits_is_there_when_the_table_is_opened_again(
    storage: Storage, table: Table, write: Write
) -> None:
    other = Table.open(Storage(storage.root, storage.environ), "t")
    assert other is not None
    other.commit(app_id="app", number=1, add=[write(storage, 1)], metadata={})
    found = Table.open(storage, "t")
    assert found is not None
    assert (found.version, found.committed("app"), names(found)) == (1, 1, ["1.parquet"])
    assert (table.version, table.committed("app"), names(table)) == (0, 0, [])


def test_a_table_in_the_place_of_one_that_was_deleted_is_not_taken_for_it(
    storage: Storage, table: Table, write: Write
) -> None:
    table = table.commit(app_id="app", number=1, add=[write(storage, 1)], metadata={})
    elsewhere = Storage(storage.root, storage.environ)
    elsewhere.delete("t")
    assert Table.open(storage, "t") is None
    later = Table.create(elsewhere, "t", SCHEMA)
    later = later.commit(app_id="app", number=1, add=[write(storage, 2)], metadata={})
    for version in (None, 1):
        found = Table.open(storage, "t", version)
        assert found is not None
        assert (found.identity, names(found)) == (later.identity, ["2.parquet"])


def test_what_is_kept_of_a_table_does_not_grow_with_its_versions(
    storage: Storage, table: Table, write: Write
) -> None:
    for number in range(1, 7):
        table = table.commit(app_id="app", number=number, add=[write(storage, number)], metadata={})
        assert len(table.changes(table.version - 1).added) == 1
        assert len(table.changes(0).added) == number
    assert set(storage.kept) == {("t", 0), ("t", 5), ("t", 6)}
    before = Table.open(storage, "t", 5)
    assert before is not None
    held = {id(file) for version in (before, table) for file in version.files()}
    assert len(held) == 6


def test_adding_columns_again_does_nothing(table: Table) -> None:
    wider = pa.schema([*SCHEMA, ("y", pa.string())])
    once = table.add_columns(wider)
    twice = once.add_columns(wider)
    assert once.schema.names == [*SCHEMA.names, "y"]
    assert twice.version == once.version


def test_two_writers_add_the_same_column_once(storage: Storage, table: Table) -> None:
    other = Table.open(storage, "t")
    assert other is not None
    wider = pa.schema([*SCHEMA, ("y", pa.string())])
    table.add_columns(wider)
    with pytest.raises(Conflict):
        other.add_columns(wider)
    newest = Table.open(storage, "t")
    assert newest is not None
    assert newest.add_columns(wider).schema.names == [*SCHEMA.names, "y"]


def test_a_commit_over_a_column_that_came_meanwhile_is_a_conflict(
    storage: Storage, table: Table, write: Write
) -> None:
    other = Table.open(storage, "t")
    assert other is not None
    table.add_columns(pa.schema([("y", pa.string())]))
    with pytest.raises(Conflict):
        other.commit(app_id="app", number=1, add=[write(storage, 1)], metadata={})


def test_names_with_odd_characters_are_found_again(storage: Storage, table: Table) -> None:
    odd = DataFile("a b%20ü+[x].parquet", 1, 1, {"numRecords": 1})
    table = table.commit(app_id="app", number=1, add=[odd], metadata={})
    assert names(table) == [odd.path]
    assert table.commit(app_id="app", number=2, remove=[odd], metadata={}).files() == []


@pytest.fixture
def other_s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    s3fs.S3FileSystem.clear_instance_cache()
    yield monkeypatch
    s3fs.S3FileSystem.clear_instance_cache()


def _all_calls_fail(root: str) -> None:
    storage = Storage(root)
    with pytest.raises(StorageError):
        Table.open(storage, "t")
    with pytest.raises(StorageError):
        Table.create(storage, "t", SCHEMA)


def test_an_endpoint_that_is_away_is_an_error_and_not_a_missing_table(other_s3: pytest.MonkeyPatch) -> None:
    other_s3.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    _all_calls_fail("s3://features/away")


def test_a_bucket_that_is_missing_is_an_error_and_not_a_missing_table(s3_server: str) -> None:
    _all_calls_fail("s3://no-such-bucket/root")


def test_a_refused_login_is_an_error_and_not_a_missing_table(other_s3: pytest.MonkeyPatch) -> None:
    other_s3.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    _all_calls_fail("s3://features/refused")


def test_a_folder_that_cannot_be_read_is_an_error_and_not_a_missing_table(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    _all_calls_fail(str(tmp_path / "file"))


def test_an_open_table_whose_log_is_lost_is_an_error(storage: Storage, table: Table, write: Write) -> None:
    file = write(storage, 1)
    storage.delete("t")
    with pytest.raises(StorageError):
        table.committed("app")
    with pytest.raises(StorageError):
        table.commit(app_id="app", number=1, add=[file], metadata={})
