from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Protocol

import fsspec
import pytest
import s3fs

from featurestore.arrivals.files.listing import explain_empty, find_arrival, list_arrivals, look
from featurestore.errors import StorageError
from featurestore.resources.data_pipeline import Source


class Folder(Protocol):
    url: str

    def put(self, path: str, content: bytes = b"x") -> str: ...
    def put_empty(self, *paths: str) -> None: ...
    def remove(self, path: str) -> None: ...
    def source(self, glob: str) -> Source: ...
    def names(self, glob: str) -> list[str]: ...


def test_files_are_listed_with_size_and_version(folder: Folder) -> None:
    uri = folder.put("a.csv", b"three")
    (arrival,) = list_arrivals(folder.source("*.csv"))
    assert (arrival.uri, arrival.size_bytes) == (uri, 5)
    assert arrival.version
    assert arrival.modified_us > 1_500_000_000_000_000


def test_an_unchanged_file_keeps_its_version(folder: Folder) -> None:
    folder.put("a.csv")
    assert list(list_arrivals(folder.source("*.csv"))) == list(list_arrivals(folder.source("*.csv")))


def test_other_bytes_are_another_version(folder: Folder) -> None:
    folder.put("a.csv", b"one")
    (before,) = list_arrivals(folder.source("*.csv"))
    folder.put("a.csv", b"two!")
    (after,) = list_arrivals(folder.source("*.csv"))
    assert before.version != after.version


def test_a_file_of_the_same_size_renamed_over_another_is_another_version(local_folder: Folder) -> None:
    path = local_folder.put("a.csv", b"one")
    (before,) = list_arrivals(local_folder.source("*.csv"))
    written = local_folder.put("b.tmp", b"two")
    os.utime(written, ns=(0, before.modified_us * 1000 + 1_000_000))
    os.rename(written, path)
    (after,) = list_arrivals(local_folder.source("*.csv"))
    assert before.version != after.version


def test_the_order_is_that_of_whole_uris(folder: Folder) -> None:
    names = ["a.csv", "a/b.csv", "a-/c.csv", "a0.csv", "a/a/d.csv", "Z.csv", "é.csv", "￮.csv", "😀.csv"]
    for name in names:
        folder.put(name)
    assert folder.names("**/*.csv") == sorted(names)


def test_odd_names_are_listed_as_they_are(folder: Folder) -> None:
    names = [
        "a b.csv",
        "[x].csv",
        "100%.csv",
        "a%20b.csv",
        "plus+.csv",
        "q&=#.csv",
        "tab\t.csv",
        "new\nline.csv",
    ]
    for name in names:
        folder.put(name)
    assert folder.names("*.csv") == sorted(names)


def test_a_glob_within_a_name_is_matched_everywhere_alike(folder: Folder) -> None:
    for name in ("2013-01/a.csv", "2013-02/a.csv", "2014-01/a.csv", "2013-01/a.txt", "2013-01/b/a.csv"):
        folder.put(name)
    assert folder.names("2013-*/*.csv") == ["2013-01/a.csv", "2013-02/a.csv"]
    assert folder.names("**/a.csv") == ["2013-01/a.csv", "2013-01/b/a.csv", "2013-02/a.csv", "2014-01/a.csv"]
    assert folder.names("2013-01/a.csv") == ["2013-01/a.csv"]


def test_empty_files_are_listed(folder: Folder) -> None:
    folder.put("empty.csv", b"")
    assert folder.names("*.csv") == ["empty.csv"]


def test_hidden_and_temporary_names_are_left_out_at_every_depth(folder: Folder) -> None:
    for name in (
        "a.csv",
        ".a.csv",
        "_SUCCESS.csv",
        "a.csv.part",
        "_temporary/0/a.csv",
        ".staging/a.csv",
        "x.inprogress/a.csv",
        "_day=1/a.csv",
    ):
        folder.put(name)
    assert folder.names("**") == ["_day=1/a.csv", "a.csv"]


def test_a_deleted_file_is_not_listed(folder: Folder) -> None:
    folder.put("a.csv")
    folder.put("b.csv")
    folder.remove("a.csv")
    assert folder.names("*.csv") == ["b.csv"]


def test_a_listing_longer_than_a_page_is_whole_and_sorted(folder: Folder) -> None:
    names = [f"{n % 7}/{n:05d}.csv" for n in range(1_050)]
    folder.put_empty(*names)
    assert folder.names("**/*.csv") == sorted(names)


def test_a_folder_marker_is_no_file(s3_root: str) -> None:
    fs = s3fs.S3FileSystem()
    fs.call_s3(
        "put_object", Bucket="features", Key=f"{s3_root.removeprefix('s3://features/')}/raw/", Body=b""
    )
    source = Source.model_validate({"uri": f"{s3_root}/**", "format": "CSV"})
    assert list(list_arrivals(source)) == []


def test_links_are_followed(local_folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.csv").write_bytes(b"x")
    os.symlink(tmp_path / "elsewhere", f"{local_folder.url}/linked")
    os.symlink(tmp_path / "elsewhere" / "a.csv", f"{local_folder.url}/b.csv")
    assert local_folder.names("**/*.csv") == ["b.csv", "linked/a.csv"]


def test_links_in_a_circle_and_links_to_nothing_are_left_out(local_folder: Folder) -> None:
    local_folder.put("deep/a.csv")
    os.symlink(local_folder.url, f"{local_folder.url}/deep/back")
    os.symlink("self.csv", f"{local_folder.url}/self.csv")
    os.symlink("/nothing/there.csv", f"{local_folder.url}/broken.csv")
    assert local_folder.names("**/*.csv") == ["deep/a.csv"]


def test_what_is_no_regular_file_is_left_out(local_folder: Folder) -> None:
    os.mkfifo(f"{local_folder.url}/pipe.csv")
    os.mkdir(f"{local_folder.url}/folder.csv")
    assert local_folder.names("*.csv") == []


def test_a_name_that_is_not_unicode_is_left_out_and_said(
    local_folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    with open(os.fsencode(local_folder.url) + b"/\xff.csv", "wb"):
        pass
    with caplog.at_level(logging.WARNING):
        assert local_folder.names("*.csv") == []
    assert "not valid UTF-8" in caplog.text


def test_files_of_a_relative_source_are_known_by_their_path_below_the_base(local_folder: Folder) -> None:
    local_folder.put("a.csv")
    source = Source.model_validate({"uri": "raw/*.csv", "format": "CSV"})
    (arrival,) = list_arrivals(source, os.path.dirname(local_folder.url))
    assert arrival.uri == "raw/a.csv"
    assert find_arrival(arrival.uri, base=os.path.dirname(local_folder.url)) == arrival


def test_a_listing_is_lazy(local_folder: Folder) -> None:
    for n in range(3):
        local_folder.put(f"{n}/a.csv")
    listing = list_arrivals(local_folder.source("*/*.csv"))
    assert next(listing).uri.endswith("0/a.csv")
    local_folder.remove("2/a.csv")
    assert [arrival.uri[-7:] for arrival in listing] == ["1/a.csv"]


def test_any_file_system_of_fsspec_is_listed() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/listing/b.csv", b"x")
    fs.pipe_file("/listing/a/a.csv", b"xy")
    remote = Source.model_validate({"uri": "gs://bucket/*.csv", "format": "CSV"})
    source = remote.model_copy(update={"uri": "memory://listing/**/*.csv"})
    first, second = list_arrivals(source)
    assert (first.uri, first.size_bytes) == ("memory://listing/a/a.csv", 2)
    assert second.uri == "memory://listing/b.csv"
    absent = remote.model_copy(update={"uri": "memory://nothing/*.csv"})
    assert list(list_arrivals(absent)) == []


def test_a_folder_that_is_not_there_yet_is_empty_and_said_to_be_absent(folder: Folder) -> None:
    source = folder.source("later/*.csv")
    assert list(list_arrivals(source)) == []
    assert explain_empty(source) == f"{folder.url}/later is not there yet"


def test_a_folder_in_which_nothing_matches_is_told_apart(folder: Folder) -> None:
    folder.put("a.txt")
    assert explain_empty(folder.source("*.csv")) == f"no file in {folder.url} matches *.csv"


def test_a_source_that_is_a_folder_is_told_how_to_write_it(folder: Folder) -> None:
    folder.put("a.csv")
    source = Source.model_validate({"uri": folder.url, "format": "CSV"})
    assert list(list_arrivals(source)) == []
    assert explain_empty(source).endswith(f"is a folder: write {folder.url}/**/* to take the files in it")


def test_a_missing_bucket_is_an_error_and_never_empty(s3_server: str) -> None:
    missing = Source.model_validate({"uri": "s3://no-such-bucket/*.csv", "format": "CSV"})
    with pytest.raises(StorageError, match="bucket does not exist"):
        list(list_arrivals(missing))


def test_an_endpoint_that_is_away_is_an_error_and_never_empty(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    source = Source.model_validate({"uri": "s3://features/*.csv", "format": "CSV"})
    with pytest.raises(StorageError, match=r"cannot be listed: in s3://features/, got Could not connect"):
        list(list_arrivals(source))
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_folder_that_cannot_be_opened_is_an_error_and_never_empty(tmp_path: Path) -> None:
    too_long = f"{tmp_path}/{'x' * 300}"
    source = Source.model_validate({"uri": f"{too_long}/*.csv", "format": "CSV"})
    with pytest.raises(StorageError, match="File name too long"):
        list(list_arrivals(source))


def test_what_cannot_be_looked_at_is_an_error_after_all_that_can(
    local_folder: Folder, tmp_path: Path
) -> None:
    one, two = local_folder.put("a/1.csv"), local_folder.put("c/2.csv")
    for number in range(3):
        # A name that no file can have: whether there is one is not known.
        os.symlink("x" * 300, f"{local_folder.url}/b{number}.csv")
    listed: list[str] = []
    with pytest.raises(StorageError, match=r"b0\.csv, got .*File name too long.*, and 2 others like it"):
        listed.extend(arrival.uri for arrival in list_arrivals(local_folder.source("**/*.csv")))
    assert listed == [one, two]


def test_a_look_gives_only_what_the_source_names_and_what_is_there(local_folder: Folder) -> None:
    one, two = local_folder.put("b.csv"), local_folder.put("a.csv")
    hidden, other = local_folder.put(".c.csv"), local_folder.put("d.txt")
    gone = f"{local_folder.url}/gone.csv"
    found = look(local_folder.source("*.csv"), None, [one, two, hidden, other, gone, one])
    assert [arrival.uri for arrival in found] == [two, one]
    assert found == list(list_arrivals(local_folder.source("*.csv")))


def test_a_single_file_is_found_in_the_words_of_the_listing(folder: Folder) -> None:
    uri = folder.put("deep/é 1.csv", b"one")
    assert [find_arrival(uri)] == list(list_arrivals(folder.source("**/*.csv")))
    assert find_arrival(f"{folder.url}/gone.csv") is None
    assert find_arrival(f"{folder.url}/deep") is None
