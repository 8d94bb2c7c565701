"""What a source promises, on each storage: a local folder, S3, Azure, Google."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import cloud_server
import pytest

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.files.listing import explain_empty, find_arrival, find_pinned, list_arrivals, look
from featurestore.errors import StorageError
from featurestore.resources.data_pipeline import Source
from featurestore.storage.objects import Storage
from featurestore_transforms.sources.range_file import RangeFile
from featurestore_transforms.sources.source_file import open_bytes

ODD = (
    " leading.csv",
    "a b.csv",
    "a#b.csv",
    "a%20b.csv",
    "a%b.csv",
    "a+b.csv",
    "a&b=c;d.csv",
    "a'b,c.csv",
    "a:b@c.csv",
    "ümläut 日本.csv",
    "é.csv",
    f"{'long' * 60}.csv",
)
CLOUDS = ("azure", "gcs")


@pytest.fixture(params=["local", "s3", *CLOUDS])
def files(request: pytest.FixtureRequest) -> Storage:
    """A folder of files, which any storage root is."""
    return Storage(str(request.getfixturevalue(f"{request.param}_root")))


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest) -> Storage:
    return Storage(str(request.getfixturevalue(f"{request.param}_root")))


def source(files: Storage, glob: str) -> Source:
    return Source(uri=f"{files.root}/{glob}", format="CSV")


def listed(files: Storage, glob: str) -> list[str]:
    start = len(files.root) + 1
    return [arrival.uri[start:] for arrival in list_arrivals(source(files, glob))]


def put(files: Storage, *names: str, data: bytes = b"x") -> None:
    for name in names:
        files.replace(name, data)


def test_a_listing_has_the_files_that_the_glob_names_and_no_siblings(files: Storage) -> None:
    put(files, "raw/a.csv", "raw/b.csv", "raw/c.txt", "raw/day/d.csv", "raw2/e.csv", "raw.csv")
    assert listed(files, "raw/*.csv") == ["raw/a.csv", "raw/b.csv"]
    assert listed(files, "raw/**/*.csv") == ["raw/a.csv", "raw/b.csv", "raw/day/d.csv"]
    assert listed(files, "raw/a*.csv") == ["raw/a.csv"]
    assert listed(files, "raw/a.csv") == ["raw/a.csv"]


def test_a_listing_is_sorted_and_not_cut_at_a_page(files: Storage) -> None:
    names = [f"raw/{n:03}.csv" for n in range(120)]
    put(files, *reversed(names))
    assert listed(files, "raw/*.csv") == names


def test_names_are_listed_found_and_read_as_they_are(files: Storage) -> None:
    for name in ODD:
        put(files, f"raw/{name}", data=name.encode())
    arrivals = list(list_arrivals(source(files, "raw/*.csv")))
    assert [arrival.uri for arrival in arrivals] == sorted(f"{files.root}/raw/{name}" for name in ODD)
    for arrival in arrivals:
        assert find_arrival(arrival.uri) == arrival
        with open_bytes(arrival.uri) as file:
            assert file.read() == arrival.uri.rpartition("/")[2].encode()
    assert look(source(files, "raw/*.csv"), None, [arrival.uri for arrival in arrivals]) == arrivals


def test_a_file_that_is_written_again_is_another_version_and_one_that_is_deleted_is_not_there(
    files: Storage,
) -> None:
    put(files, "raw/a.csv", data=b"one")
    (first,) = list_arrivals(source(files, "raw/*.csv"))
    assert find_pinned(first) == first
    put(files, "raw/a.csv", data=b"other")
    (second,) = list_arrivals(source(files, "raw/*.csv"))
    assert second.version != first.version
    assert find_pinned(first) == second == find_arrival(first.uri)
    files.delete("raw/a.csv")
    assert find_arrival(first.uri) is None
    assert find_pinned(first) is None
    assert listed(files, "raw/*.csv") == []
    assert look(source(files, "raw/*.csv"), None, [first.uri]) == []


def test_it_is_said_why_a_listing_was_empty(files: Storage) -> None:
    assert "is not there yet" in explain_empty(source(files, "raw/*.csv"))
    put(files, "raw/day/a.csv")
    assert "is a folder" in explain_empty(source(files, "raw/day"))
    assert "no file" in explain_empty(source(files, "raw/*.parquet"))


def test_ranges_of_a_large_file_are_read_without_the_rest(files: Storage, tmp_path: Path) -> None:
    block = bytes(range(256)) * 4096
    (tmp_path / "large").write_bytes(block * 12)
    files.upload("raw/large.csv", tmp_path / "large")
    uri = f"{files.root}/raw/large.csv"
    with open_bytes(uri) as file:
        file.seek(7_000_003)
        assert file.read(100_000) == (block * 12)[7_000_003:7_100_003]
        file.seek(-5, os.SEEK_END)
        assert file.read() == block[-5:]
    with RangeFile(Arrival(uri, "", len(block) * 12, 0)) as ranges:
        ranges.fetch([(10, 20), (9_000_000, 9_000_300)])
        assert ranges.read_at(9_000_000, 300) == (block * 12)[9_000_000:9_000_300]
        assert ranges.read_at(12, 3) == block[12:15]


def test_an_empty_object_that_stands_for_a_folder_is_no_file(
    cloud: Storage, request: pytest.FixtureRequest
) -> None:
    put(cloud, "raw/empty", "raw/folder/a", data=b"")
    path = cloud.root.partition("://")[2]
    if cloud.root.startswith("az"):
        cloud_server.put_blob(request.getfixturevalue("azure_server"), f"/{path}/raw/folder/")
    else:
        cloud_server.put_object(request.getfixturevalue("gcs_server"), f"/{path}/raw/folder/")
    assert listed(cloud, "raw/*") == ["raw/empty"]
    assert listed(cloud, "raw/**/*") == ["raw/empty", "raw/folder/a"]


@pytest.mark.parametrize("url", ["az://no-such-bucket", "gs://no-such-bucket", "s3://no-such-bucket"])
def test_a_bucket_that_is_missing_is_an_error_and_not_an_empty_source(
    url: str, azure_server: str, gcs_server: str, s3_server: str
) -> None:
    missing = Source(uri=f"{url}/raw/*.csv", format="CSV")
    with pytest.raises(StorageError, match=r"NoSuchBucket|ContainerNotFound|bucket does not exist"):
        list(list_arrivals(missing))
    for call in (
        lambda: find_arrival(f"{url}/raw/a.csv"),
        lambda: Storage(f"{url}/root").find("a"),
        lambda: Storage(f"{url}/root").put_if_absent("a", b"x"),
        lambda: Storage(f"{url}/root").names(""),
    ):
        with pytest.raises(StorageError):
            call()


@pytest.mark.parametrize(
    ("url", "environ", "secret"),
    [
        ("az://features", {"AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"}, "c2VjcmV0"),
        ("az://features", {"AZURE_STORAGE_ACCOUNT_KEY": "not base64!"}, "not base64!"),
        ("az://features", {"AZURE_STORAGE_SAS_TOKEN": "sv=2022-11-02&sig=c2VjcmV0"}, "c2VjcmV0"),
        ("gs://features", {"GOOGLE_SERVICE_ACCOUNT_KEY": '{"private_key": "c2VjcmV0"'}, "c2VjcmV0"),
        (
            "gs://features",
            {
                "GOOGLE_SERVICE_ACCOUNT_KEY": '{"private_key": "c2VjcmV0", "client_email": "a", "private_key_id": "b"}'
            },
            "c2VjcmV0",
        ),
    ],
    ids=["azure-key", "azure-not-a-key", "azure-sas", "google-cut", "google-not-a-key"],
)
def test_wrong_credentials_are_an_error_that_does_not_show_them(
    url: str, environ: Mapping[str, str], secret: str, azure_server: str, gcs_server: str
) -> None:
    given = dict(environ)
    if url.startswith("az"):
        given["AZURE_STORAGE_ACCOUNT_NAME"] = cloud_server.ACCOUNT
        given["AZURE_STORAGE_ENDPOINT"] = f"{azure_server}/{cloud_server.ACCOUNT}"
    messages = []
    for _ in range(2):
        for call in (
            lambda: list(list_arrivals(Source(uri=f"{url}/raw/*.csv", format="CSV"), None, given)),
            lambda: find_arrival(f"{url}/raw/a.csv", given),
            lambda: Storage(f"{url}/root", given).find("a"),
            lambda: Storage(f"{url}/root", given).put_if_absent("a", b"x"),
        ):
            with pytest.raises(StorageError) as refused:
                call()
            messages.append(str(refused.value))
    assert not any(secret in message for message in messages)
    # They go into conditions, which must not change by themselves.
    assert messages[:4] == messages[4:]


@pytest.mark.parametrize("kind", ["key", "signature"])
def test_the_credentials_that_are_given_are_taken_and_not_those_of_the_process(
    azure_server: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    keys = {
        "key": {"AZURE_STORAGE_ACCOUNT_KEY": cloud_server.ACCOUNT_KEY},
        "signature": {"AZURE_STORAGE_SAS_TOKEN": cloud_server.sas_token()},
    }
    given = {
        **keys[kind],
        "AZURE_STORAGE_ACCOUNT_NAME": cloud_server.ACCOUNT,
        "AZURE_STORAGE_ENDPOINT": f"{azure_server}/{cloud_server.ACCOUNT}",
    }
    strangers = {
        "AZURE_STORAGE_ACCOUNT_NAME": "stranger",
        "AZURE_STORAGE_ACCOUNT_KEY": "c3RyYW5nZXI=",
        "AZURE_STORAGE_TOKEN": "stranger",
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURITE_BLOB_STORAGE_URL": "http://127.0.0.1:1",
        "AZURE_CLIENT_ID": "stranger",
        "AZURE_TENANT_ID": "stranger",
        "AZURE_CLIENT_SECRET": "stranger",
        "AZURE_FEDERATED_TOKEN_FILE": "/stranger",
    }
    for name, text in strangers.items():
        monkeypatch.setenv(name, text)
    host = f"features@{cloud_server.ACCOUNT}.dfs.core.windows.net"
    storage = Storage(f"abfss://{host}/{uuid.uuid4().hex}", given)
    assert storage.put_if_absent("raw/a.csv", b"x")
    (arrival,) = list_arrivals(source(storage, "raw/*.csv"), None, given)
    assert find_arrival(arrival.uri, given) == arrival


@pytest.mark.parametrize("url", ["az://features/root", "gs://features/root"])
def test_a_secret_without_keys_for_a_storage_is_told_what_to_add(url: str) -> None:
    with pytest.raises(StorageError, match=r"Add (AZURE_STORAGE_ACCOUNT_NAME|GOOGLE_SERVICE_ACCOUNT_KEY)"):
        Storage(url, {"AWS_ACCESS_KEY_ID": "a"})
