"""Files of a web server that a document lists: which are there, which version each is, and what is read of it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError
from web_folder import ALL, WebFolder, web_folder

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files import web_file, web_index
from featurestore.arrivals.files.file_source import FileSource
from featurestore.errors import StorageError
from featurestore.resources.data_pipeline import Source
from featurestore.storage import web as storage_web
from featurestore_transforms.sources.reader import UnreadableArrival, open_reader

MEMORY_BYTES = 256 << 20


@pytest.fixture
def web() -> Iterator[WebFolder]:
    with web_folder() as folder:
        folder.write_index("raw/a.csv", '{"url": "/raw/b.csv", "rows": 1}', "raw/c.csv")
        folder.put("raw/a.csv", "n\n1\n")
        folder.put("raw/b.csv", "n\n2\n")
        yield folder


def source(web: WebFolder, **more: str) -> FileSource:
    return FileSource(Source.model_validate(web.source(**more)))


def names(source: FileSource) -> list[str]:
    return [arrival.uri.rpartition("/")[2] for arrival in source.arrivals()]


def rows(arrival: Arrival, web: WebFolder, **more: str) -> list[object]:
    reader = open_reader(arrival, Source.model_validate(web.source(**more)), MEMORY_BYTES, "/")
    with reader.explaining():
        values = reader.scan().collect().get_column("n").to_list()
    reader.require_unchanged()
    return values


def test_what_it_lists_and_what_the_server_has_is_there(web: WebFolder) -> None:
    files = source(web)
    assert names(files) == ["a.csv", "b.csv"]
    web.put("raw/c.csv", "n\n3\n")
    web.put("raw/unlisted.csv", "n\n4\n")
    del web.files["raw/a.csv"]
    assert names(files) == ["b.csv", "c.csv"]


def test_it_is_sent_again_only_when_it_changed(web: WebFolder) -> None:
    files = source(web)
    for _ in range(3):
        names(files)
    assert web.asked("GET", "index.txt") == [200, 304, 304]
    web.write_index("raw/b.csv")
    assert names(files) == ["b.csv"]
    assert web.asked("GET", "index.txt")[3:] == [200]


@pytest.mark.parametrize("status", [404, 410, 403, 500])
def test_an_index_that_is_not_there_is_not_an_empty_one(web: WebFolder, status: int) -> None:
    files = source(web)
    names(files)
    web.status["index.txt"] = status
    with pytest.raises(StorageError):
        names(files)
    del web.status["index.txt"]
    assert names(files) == ["a.csv", "b.csv"]


def test_a_line_that_lists_no_file_is_told_after_the_files_that_others_list(web: WebFolder) -> None:
    web.write_index("raw/a.csv", "<html>", "raw/b.csv?signature=x", "ftp://elsewhere/raw/b.csv", "{}")
    listed: list[str] = []
    with pytest.raises(StorageError, match=r"line 3: '<html>' is not a URL, and 3 others like it"):
        listed.extend(arrival.uri for arrival in source(web).arrivals())
    assert listed == [f"{web.url}/raw/a.csv"]


@pytest.mark.parametrize(
    "line", ["raw/../secret.csv", "raw/%2e%2e/secret.csv", "http://127.0.0.1:9/raw/a.csv", "/secret.csv"]
)
def test_no_file_is_asked_for_that_the_glob_does_not_name(web: WebFolder, line: str) -> None:
    web.put("secret.csv", "n\n7\n")
    web.write_index(line)
    with suppress(StorageError):
        assert names(source(web, uri=f"{web.url}/raw/**/*.csv")) == []
    assert web.asked("HEAD", "secret.csv") == []


def test_one_file_that_must_not_be_read_keeps_no_other_from_being_taken(web: WebFolder) -> None:
    web.status["raw/a.csv"] = 403
    listed: list[str] = []
    with pytest.raises(StorageError, match="403"):
        listed.extend(arrival.uri for arrival in source(web).arrivals())
    assert listed == [f"{web.url}/raw/b.csv"]


def test_an_index_has_bounds(web: WebFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_index, "MOST_FILES", 2)
    with pytest.raises(StorageError, match=r"wanted 2 files at most, got 3"):
        names(source(web))
    monkeypatch.setattr(web_index, "MOST_FILES", 3)
    monkeypatch.setattr(web_index, "MOST_BYTES", 20)
    with pytest.raises(StorageError, match="more than 20 bytes"):
        names(source(web))


TOLD = [ALL, ALL - {"etag"}, ALL - {"modified"}, ALL - {"etag", "modified"}, ALL - {"size"}, ALL - {"head"}]


@pytest.mark.parametrize("tells", TOLD, ids=lambda tells: "without " + "+".join(sorted(ALL - tells)))
def test_a_version_is_of_the_content_whatever_the_server_tells(web: WebFolder, tells: frozenset[str]) -> None:
    web.tells = tells
    files = source(web)
    first, _ = files.arrivals()
    assert first.size_bytes == 4
    assert files.find(first) == first
    assert rows(first, web) == ["1"]
    web.put("raw/a.csv", "n\n8\n")
    second, _ = files.arrivals()
    assert second.version != first.version
    assert files.find(first) == second
    with pytest.raises(UnreadableArrival, match="file:changed"):
        rows(first, web)
    assert rows(second, web) == ["8"]


def test_a_file_without_a_version_is_read_for_one_up_to_a_bound(
    web: WebFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.tells = ALL - {"etag", "modified"}
    monkeypatch.setattr(web_file, "MOST_BYTES", 3)
    with pytest.raises(StorageError, match="more than 3 bytes"):
        names(source(web))


@pytest.mark.parametrize("tells", [ALL, ALL - {"etag"}])
@pytest.mark.parametrize("kind", ["CSV", "Parquet"])
def test_what_changes_while_it_is_read_is_another_arrival(
    web: WebFolder, tells: frozenset[str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def content(n: int) -> bytes:
        data, frame = io.BytesIO(), pl.DataFrame({"n": [n] * 50_000})
        frame.write_parquet(data, row_group_size=500) if kind == "Parquet" else frame.write_csv(data)
        return data.getvalue()

    # So that it is read by parts.
    monkeypatch.setattr(storage_web, "_AT_ONCE_BYTES", 0)
    web.tells = tells
    web.put("raw/a.csv", content(1))
    arrival, _ = source(web, format=kind).arrivals()
    assert set(map(int, map(str, rows(arrival, web, format=kind)))) == {1}
    gets = len(web.asked("GET", "raw/a.csv"))

    def change(method: str, path: str) -> None:
        if method == "GET" and path == "raw/a.csv" and len(web.asked(method, path)) == 2 * gets - 1:
            web.serves.clear()
            web.put(path, content(2))

    web.serves.append(change)
    with pytest.raises(UnreadableArrival, match="file:changed"):
        rows(arrival, web, format=kind)


def test_a_server_that_sends_no_parts_of_a_file_is_never_read_wrong(
    web: WebFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = io.BytesIO()
    pl.DataFrame({"n": range(1000)}).write_parquet(data, compression="uncompressed")
    web.put("raw/a.csv", data.getvalue())
    web.tells = ALL - {"ranges"}
    arrival, _ = source(web, format="Parquet").arrivals()
    assert rows(arrival, web, format="Parquet") == list(range(1000))
    monkeypatch.setattr(storage_web, "_AT_ONCE_BYTES", 0)
    with pytest.raises(UnreadableArrival, match=r"file:unsupported: .* not supported by the server"):
        rows(arrival, web, format="Parquet")


def test_it_names_no_credentials_and_goes_with_a_glob_of_a_web_server(tmp_path: Path) -> None:
    for uri, index in (
        ("https://h/*.csv", "https://ann:secret@h/i"),
        ("https://h/*.csv", "https://h/i?token=1"),
        ("https://h/*.csv", "index.txt"),
        ("https://h/a.csv", "https://h/i"),
        (f"{tmp_path}/*.csv", "https://h/i"),
    ):
        with pytest.raises(ValidationError):
            Source.model_validate({"uri": uri, "index": index, "format": "CSV"})
    asked = Source.model_validate({"uri": "https://h/*.csv", "index": "https://h/i", "format": "CSV"})
    assert asked.opened == ("https://h/*.csv", "https://h/i")
