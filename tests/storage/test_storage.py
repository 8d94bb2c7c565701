from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import s3fs
from race import race

from featurestore.errors import NotFound, SpecError, StorageError
from featurestore.storage.objects import Storage

WRITER = """
import json, sys
from featurestore.storage.objects import Storage
storage = Storage(sys.argv[1])
who = sys.argv[2]
storage.find("warm")
print("ready", flush=True)
sys.stdin.readline()
won = [n for n in range(40) if storage.put_if_absent(f"race/{n}", (who * 20_000).encode())]
print(json.dumps(won))
"""


def test_what_was_put_is_read(storage: Storage) -> None:
    assert storage.put_if_absent("a/b/c.json", b"one")
    assert storage.read("a/b/c.json") == b"one"


def test_an_empty_object_is_there(storage: Storage) -> None:
    assert storage.put_if_absent("empty", b"")
    assert storage.find("empty") == b""
    assert not storage.put_if_absent("empty", b"more")


def test_put_if_absent_leaves_what_is_there(storage: Storage) -> None:
    storage.put_if_absent("a", b"first")
    assert not storage.put_if_absent("a", b"second")
    assert storage.read("a") == b"first"


def test_of_many_threads_one_puts(storage: Storage) -> None:
    def put(n: int) -> bool:
        return storage.put_if_absent("one", str(n).encode() * 100_000)

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(put, range(8)))
    assert won.count(True) == 1
    assert storage.read("one") == str(won.index(True)).encode() * 100_000


def test_of_many_processes_one_puts_each_object_and_its_bytes_are_whole(storage: Storage) -> None:
    won = race(WRITER, storage.root, "abcd")
    assert sorted(n for numbers in won.values() for n in numbers) == list(range(40))
    for who, numbers in won.items():
        for n in numbers:
            assert storage.read(f"race/{n}") == who.encode() * 20_000
    assert storage.names("race") == sorted(str(n) for n in range(40))


def test_replace_creates_and_replaces(storage: Storage) -> None:
    storage.replace("a/pointer", b"one")
    storage.replace("a/pointer", b"two")
    assert storage.read("a/pointer") == b"two"
    assert storage.names("a") == ["pointer"]


def test_a_reader_sees_the_old_bytes_or_the_new_ones(storage: Storage) -> None:
    values = [str(n).encode() * 50_000 for n in range(10)]
    storage.replace("pointer", values[0])

    def write(_: int) -> None:
        for value in values * 3:
            storage.replace("pointer", value)

    def read(_: int) -> set[bytes]:
        return {storage.read("pointer") for _ in range(60)}

    with ThreadPoolExecutor(3) as threads:
        writing = threads.submit(write, 0)
        seen = set().union(*threads.map(read, range(2)))
        writing.result()
    assert seen <= set(values)


def test_another_writers_object_is_seen_at_once(storage: Storage) -> None:
    other = Storage(storage.root)
    assert storage.find("a") is None
    assert storage.names("") == []
    other.put_if_absent("a", b"1")
    assert storage.read("a") == b"1"
    assert storage.names("") == ["a"]
    other.delete("a")
    assert storage.find("a") is None
    assert storage.names("") == []


def test_what_is_absent_is_named_in_the_error(storage: Storage) -> None:
    with pytest.raises(NotFound, match=r"no such object: in .*/a/b"):
        storage.read("a/b")


def test_names_are_those_directly_in_the_folder(storage: Storage) -> None:
    for path in ("f/2", "f/1", "f/folder/3", "g/4"):
        storage.put_if_absent(path, b"x")
    assert storage.names("f") == ["1", "2", "folder"]


def test_a_folder_that_is_absent_has_no_names(storage: Storage) -> None:
    assert storage.names("nothing") == []


def test_names_are_not_cut_at_a_page(s3_root: str) -> None:
    storage = Storage(s3_root)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda n: storage.replace(f"many/{n:05d}", b"x"), range(1_100)))
    assert storage.names("many") == [f"{n:05d}" for n in range(1_100)]


def test_a_folder_is_deleted_with_all_in_it(storage: Storage) -> None:
    for path in ("f/1", "f/g/2", "f.txt"):
        storage.put_if_absent(path, b"x")
    storage.delete("f")
    assert storage.names("") == ["f.txt"]


def test_deleting_what_is_absent_does_nothing(storage: Storage) -> None:
    storage.delete("nothing")
    storage.put_if_absent("a", b"1")
    storage.delete("a")
    storage.delete("a")


def test_a_root_is_written_as_a_path_or_as_a_url(local_root: str) -> None:
    Storage(local_root).put_if_absent("a", b"1")
    assert Storage(f"file://{local_root}").read("a") == b"1"
    assert Storage(f"file://{local_root}").uri("a") == f"{local_root}/a"


def test_a_file_where_a_folder_would_be_is_an_error_and_not_an_object_that_is_there(local_root: str) -> None:
    storage = Storage(local_root)
    storage.replace("a", b"a file")
    with pytest.raises(StorageError):
        storage.put_if_absent("a/b.json", b"1")


def test_a_killed_writer_leaves_no_part_that_is_listed(local_root: str) -> None:
    storage = Storage(local_root)
    storage.put_if_absent("f/1", b"x")
    Path(local_root, "f", ".tmp-left-behind").write_bytes(b"half")
    assert storage.names("f") == ["1"]


@pytest.fixture
def other_s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment of another S3 client; fsspec keeps clients for as long as a process lives."""
    s3fs.S3FileSystem.clear_instance_cache()
    yield monkeypatch
    s3fs.S3FileSystem.clear_instance_cache()


def _all_calls_fail(storage: Storage, got: str) -> None:
    with pytest.raises(StorageError, match=got):
        storage.read("a/b")
    with pytest.raises(StorageError, match=got):
        storage.find("a/b")
    with pytest.raises(StorageError, match=got):
        storage.put_if_absent("a/b", b"x")
    with pytest.raises(StorageError, match=got):
        storage.replace("a/b", b"x")
    with pytest.raises(StorageError, match=got):
        storage.names("a")
    with pytest.raises(StorageError, match=got):
        storage.delete("a")


def test_an_endpoint_that_is_away_is_an_error_and_not_absence(other_s3: pytest.MonkeyPatch) -> None:
    other_s3.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    _all_calls_fail(Storage("s3://features/away"), "Could not connect")


def test_a_bucket_that_is_missing_is_an_error_and_not_absence(s3_root: str) -> None:
    _all_calls_fail(Storage("s3://no-such-bucket/root"), "bucket does not exist")


def test_a_refused_login_is_an_error_and_not_absence(other_s3: pytest.MonkeyPatch) -> None:
    other_s3.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    _all_calls_fail(Storage("s3://features/refused"), "signature")


def test_missing_credentials_are_an_error_and_not_absence(other_s3: pytest.MonkeyPatch) -> None:
    other_s3.delenv("AWS_ACCESS_KEY_ID")
    other_s3.delenv("AWS_SECRET_ACCESS_KEY")
    other_s3.setenv("AWS_EC2_METADATA_DISABLED", "true")
    _all_calls_fail(Storage("s3://features/nobody"), "credentials")


def test_a_root_that_is_no_folder_is_an_error_and_not_absence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    storage = Storage(str(tmp_path / "file"))
    for call in (storage.read, storage.find):
        with pytest.raises(StorageError, match="Not a directory"):
            call("a/b")
    for write in (storage.put_if_absent, storage.replace):
        with pytest.raises(StorageError, match=r"Not a directory|File exists"):
            write("a/b", b"x")


@pytest.mark.parametrize("place", ["s3://features/", "/srv/", "s3://features/a/", "memory://"])
@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "a\\b", "a\tb"])
def test_a_root_whose_tables_would_stand_elsewhere_is_refused_with_the_reason(place: str, name: str) -> None:
    with pytest.raises(SpecError, match="would not be found again") as refused:
        Storage(f"{place}{name}/store")
    assert refused.value.hint


@pytest.mark.parametrize("put", ["link", "replace"])
def test_a_write_whose_unfinished_file_is_swept_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: str
) -> None:
    storage, real = Storage(str(tmp_path)), getattr(os, put)
    swept: list[int] = []

    def late(*names: str) -> None:
        if not swept:
            swept.append(storage.delete_unfinished(0))
        real(*names)

    monkeypatch.setattr(os, put, late)
    if put == "link":
        assert storage.put_if_absent("a/b", b"one")
    else:
        storage.replace("a/b", b"one")
    assert storage.read("a/b") == b"one"
    assert swept == [1]
    assert os.listdir(tmp_path / "a") == ["b"]


def test_a_local_file_is_put_in_the_place_of_an_object_and_comes_back(
    storage: Storage, tmp_path: Path
) -> None:
    file, copy = tmp_path / "file", tmp_path / "copy"
    for content in (b"", b"x" * 3_000_000, b"short"):
        file.write_bytes(content)
        storage.upload("a/b", file)
        assert storage.read("a/b") == content
        storage.download("a/b", copy)
        assert copy.read_bytes() == content
        copy.unlink()
    assert storage.names("a") == ["b"]
    with pytest.raises(NotFound):
        storage.download("a/c", copy)
