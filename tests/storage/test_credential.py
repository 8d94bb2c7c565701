"""Credentials that are given are used as they are, whatever the process's own environment says.

The environment of these tests has those of a stranger, whom the server does not know and whose endpoint is dead.
"""

from __future__ import annotations

import http.server
import os
import pickle
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa
import pytest
import s3fs

from featurestore.arrivals.files.listing import explain_empty, find_arrival, list_arrivals
from featurestore.errors import StorageError
from featurestore.resources.data_pipeline import Source
from featurestore.storage.credentials import Credentials, object_store_options
from featurestore.storage.delta import Table
from featurestore.storage.filesystem import filesystem
from featurestore.storage.objects import Storage
from featurestore.storage.row_groups import RowGroups
from featurestore_transforms.tables.data_files import write_data_file
from featurestore_transforms.tables.polars_credentials import access
from featurestore_transforms.tables.row_changes import scan

SCHEMA = pa.schema(
    [("n", pa.int64()), ("__batch", pa.int64()), ("__file", pa.int32()), ("__row", pa.int64())]
)
STRANGER = {
    "AWS_ACCESS_KEY_ID": "stranger",
    "AWS_SECRET_ACCESS_KEY": "stranger-only",
    "AWS_SESSION_TOKEN": "stranger-token",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
    "AWS_REGION": "xx-stranger-1",
    "AWS_DEFAULT_REGION": "xx-stranger-1",
}


@pytest.fixture
def keys(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Credentials for the S3 server. The environment has the stranger's from here on."""
    given = {name: text for name, text in os.environ.items() if name.startswith("AWS_")}
    for name, text in STRANGER.items():
        monkeypatch.setenv(name, text)
    s3fs.S3FileSystem.clear_instance_cache()
    yield given
    s3fs.S3FileSystem.clear_instance_cache()


@dataclass
class Listener:
    """A server that has nothing, and notes what it is sent: names of headers are in small letters."""

    url: str = ""
    headers: list[Mapping[str, str]] = field(default_factory=list)


@pytest.fixture
def listener() -> Iterator[Listener]:
    heard = Listener()

    class Deaf(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Deaf) as server:
        heard.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield heard
        server.shutdown()
        thread.join()


def test_objects_are_written_and_read_with_the_keys_that_are_given(
    keys: dict[str, str], s3_root: str
) -> None:
    storage = Storage(s3_root, keys)
    assert storage.put_if_absent("a/b", b"1")
    assert not storage.put_if_absent("a/b", b"2")
    storage.replace("a/c", b"3")
    assert (storage.read("a/b"), storage.names("a")) == (b"1", ["b", "c"])
    storage.delete("a")
    assert storage.find("a/b") is None


def test_tables_and_their_data_files_are_written_and_read_with_the_keys_that_are_given(
    keys: dict[str, str], s3_root: str
) -> None:
    storage = Storage(s3_root, keys)
    rows = pl.DataFrame({"n": [1, 2], "__batch": [1, 1], "__file": [0, 0], "__row": [0, 1]})
    frame = rows.with_columns(pl.col("__file").cast(pl.Int32))
    table = Table.create(storage, "t", SCHEMA)
    file = write_data_file(storage, "t", frame)
    table = table.commit(app_id="app", number=1, add=[file], metadata={})
    assert scan(table, table.files()).collect().equals(frame)
    groups = RowGroups.of(table, {})
    assert list(groups.scan(["n"], [], lambda start, read: read["n"].to_pylist())) == [[1, 2]]


def test_sources_are_listed_with_the_keys_that_are_given(keys: dict[str, str], s3_root: str) -> None:
    Storage(s3_root, keys).replace("a.csv", b"x")
    source = Source.model_validate({"uri": f"{s3_root}/*.csv", "format": "CSV"})
    [arrival] = list_arrivals(source, None, keys)
    assert find_arrival(arrival.uri, keys) == arrival
    absent = Source.model_validate({"uri": f"{s3_root}/later/*.csv", "format": "CSV"})
    assert explain_empty(absent, None, keys) == f"{s3_root}/later is not there yet"


def test_two_stores_in_one_process_have_a_client_each(keys: dict[str, str], s3_root: str) -> None:
    wrong = Storage(s3_root, {**keys, "AWS_SECRET_ACCESS_KEY": "wrong"})
    right = Storage(s3_root, keys)
    right.replace("a", b"1")
    with pytest.raises(StorageError):
        wrong.read("a")
    assert right.read("a") == b"1"
    assert filesystem(s3_root, keys)[0] is filesystem(s3_root, dict(keys))[0]


def test_what_the_keys_do_not_name_is_not_taken_from_a_stranger(keys: dict[str, str]) -> None:
    two = {name: keys[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    fs, _ = filesystem("s3://features", two)
    fs.connect()
    assert fs.s3.meta.endpoint_url == "https://s3.amazonaws.com"
    assert fs.s3.meta.region_name == "us-east-1"
    assert Credentials.of(two, "s3://features").place() == {
        "aws_region": "us-east-1",
        "aws_endpoint_url_s3": "https://s3.us-east-1.amazonaws.com",
    }


def test_the_token_of_a_stranger_goes_nowhere(keys: dict[str, str], listener: Listener) -> None:
    given = {**keys, "AWS_ENDPOINT_URL": listener.url}
    assert Storage("s3://elsewhere/root", given).find("a") is None
    with pytest.raises(StorageError):
        Table.open(Storage("s3://elsewhere/root", given), "t")
    with pytest.raises(FileNotFoundError):
        pl.scan_parquet("s3://elsewhere/a.parquet", **access("s3://elsewhere/a.parquet", given)).collect()
    assert len(listener.headers) >= 3
    assert {heard.get("x-amz-security-token", "") for heard in listener.headers} == {""}
    assert all("Credential=tests/" in heard["authorization"] for heard in listener.headers)


def test_a_token_that_is_given_goes_with_its_key(keys: dict[str, str], listener: Listener) -> None:
    given = {**keys, "AWS_ENDPOINT_URL": listener.url, "AWS_SESSION_TOKEN": "own"}
    assert Storage("s3://elsewhere/root", given).find("a") is None
    with pytest.raises(StorageError):
        Table.open(Storage("s3://elsewhere/root", given), "t")
    with pytest.raises(FileNotFoundError):
        pl.scan_parquet("s3://elsewhere/b.parquet", **access("s3://elsewhere/b.parquet", given)).collect()
    assert {heard.get("x-amz-security-token") for heard in listener.headers} == {"own"}


@pytest.mark.parametrize("lacking", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_credentials_without_a_key_say_which_one_is_missing(keys: dict[str, str], lacking: str) -> None:
    given = {name: text for name, text in keys.items() if name != lacking} | {"access-key": "x"}
    with pytest.raises(
        StorageError, match=rf"are incomplete: in s3://b/r.*wanted {lacking}.*access-key"
    ) as raised:
        Storage("s3://b/r", given)
    assert "tests-only" not in str(raised.value)
    Storage("file:///srv/elsewhere", given)


def test_secrets_are_in_no_representation(keys: dict[str, str]) -> None:
    credentials = Credentials.of({**keys, "AWS_SESSION_TOKEN": "own-token"}, "s3://b")
    shown = f"{credentials!r} {access('s3://b', {**keys, 'AWS_SESSION_TOKEN': 'own-token'})!r}"
    assert "tests-only" not in shown
    assert "own-token" not in shown


def test_polars_keeps_one_client_for_the_same_keys_and_another_for_others(keys: dict[str, str]) -> None:
    def known(given: Mapping[str, str]) -> bytes:
        return pickle.dumps(access("s3://b", given)["credential_provider"])

    assert known(keys) == known(dict(keys))
    assert known(keys) != known({**keys, "AWS_SECRET_ACCESS_KEY": "another"})


def test_an_endpoint_without_encryption_needs_no_further_word(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert s3_server.startswith("http://")
    assert object_store_options("s3://b", None) == {"aws_allow_http": "true"}
    assert object_store_options("/srv/store", None) is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://minio.example")
    assert object_store_options("s3://b", None) is None
