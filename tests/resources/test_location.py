"""What a URI in a resource may be: no credentials, no chain, only protocols that are known, and no file just anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from featurestore.errors import SpecError, StorageError
from featurestore.redaction import has_credentials, redact
from featurestore.resources import DataPipeline
from featurestore.resources.location import check_source_folder

SECRET_URIS = [
    "s3://key:secret@raw/*.csv",
    "s3://key:se/cret@raw/*.csv",
    "s3://key:se/cr?et@raw/*.csv",
    "s3://key:se@cr/et@raw/*.csv",
    "s3://key%3Ase/cret@raw/*.csv",
    "S3://key:se/cret@raw/*.csv",
    "https://user:token@example.com/raw.csv",
    "https://user:to/ken@example.com/raw.csv",
    "https://token@example.com/raw.csv",
    "https://user%40host:secret@example.com/raw.csv",
    "http://user:12/34@localhost/raw.csv",
    "https://example.com/raw.csv?token=secret",
    "https://example.com/raw.csv?a=1&access_token=secret",
    "https://example.com/raw.csv?X-Amz-Security-Token=secret",
    "https://account.blob.core.windows.net/raw/a.csv?sv=2024&sig=secret",
    "https://example.com/raw.csv#api_key=secret",
    "abfss://raw:secret@account.dfs.core.windows.net/*.csv",
    "az://account:se/cret@raw/*.csv",
    "gs://key:secret@raw/*.csv",
]
OPEN_URIS = [
    "s3://raw/who@where.example/2013-01-01T05:00/*.csv",
    "abfss://raw@account.dfs.core.windows.net/*.csv",
    "https://example.com/export.csv?format=csv&author=me",
    "http://localhost:8080/raw/a.csv",
    "raw/12:30/a@b.csv",
    "/data/a::b/*.csv",
]


def source(uri: str) -> object:
    spec = {"source": {"uri": uri, "format": "CSV"}}
    return DataPipeline.model_validate({"kind": "DataPipeline", "metadata": {"name": "p"}, "spec": spec})


@pytest.mark.parametrize("uri", SECRET_URIS)
def test_credentials_in_a_uri_are_found_and_refused_and_never_shown(uri: str) -> None:
    assert has_credentials(uri)
    with pytest.raises(ValidationError, match="credentials stand in a Secret"):
        source(uri)
    shown = str(StorageError(f"cannot read {uri}", where=uri, wanted=f"not {uri}", got=repr(uri), hint=uri))
    for part in ("secret", "se/cret", "cret", "token@", "token=s", "to/ken", "12/34", "key:", "user"):
        assert part not in shown.replace("access_token=***", "").replace("Security-Token=***", "")


@pytest.mark.parametrize("uri", OPEN_URIS)
def test_what_only_looks_like_credentials_is_taken_and_shown(uri: str) -> None:
    source(uri)
    assert redact(f"in {uri}, wanted {uri!r}") == f"in {uri}, wanted {uri!r}"


@pytest.mark.parametrize("protocol", ["s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https"])
def test_protocols_of_sources_are_a_list(protocol: str) -> None:
    source(f"{protocol}://raw/folder/*.csv")


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "ftp://host/a.csv",
            "sftp://host/a",
            "memory://a/b",
            "local:///etc/passwd",
            "reference://a",
            "FTP://a/b",
        ),
        *(
            "github://a/b",
            "jar://a",
            "smb://host/a",
            "hdfs://a/b",
            "dir://a",
            "data://x",
            "s4://raw/a",
            "S3://raw/a",
        ),
    ],
)
def test_every_other_protocol_is_refused(uri: str) -> None:
    with pytest.raises(ValidationError, match="a source is a path, or a URL that begins with"):
        source(uri)


@pytest.mark.parametrize(
    "uri",
    ["zip://*.csv::s3://raw/a.zip", "simplecache::s3://raw/*.csv", "raw::a.csv", "s3://a/b::file:///etc"],
)
def test_a_chain_of_urls_is_refused(uri: str) -> None:
    with pytest.raises(ValidationError, match="a URL is not chained"):
        source(uri)


def test_a_local_source_lies_in_the_project_or_in_a_root_that_is_named(tmp_path: Path) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    for folder in (project, other):
        folder.mkdir()
    inside = [
        "raw/*.csv",
        "./raw/**/*.csv",
        f"{project}/raw/*.csv",
        f"file://{project}/*.csv",
        "s3://raw/*.csv",
    ]
    for uri in inside:
        check_source_folder(uri, project, {}, "here")
    outside = [
        "../other/*.csv",
        "raw/../../other/*.csv",
        f"{other}/*.csv",
        f"file://{other}/a.csv",
        "/etc/passwd",
    ]
    for uri in outside:
        with pytest.raises(SpecError, match=r"outside of the project.*FEATURESTORE_FILE_ROOTS="):
            check_source_folder(uri, project, {}, "here")
    named = {"FEATURESTORE_FILE_ROOTS": f"/nowhere:{other}"}
    for uri in outside[:-1]:
        check_source_folder(uri, project, named, "here")


def test_a_folder_that_only_begins_like_the_project_is_outside(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="outside"):
        check_source_folder(f"{tmp_path}/project-2/*.csv", tmp_path / "project", {}, "here")


@pytest.mark.parametrize("name", ["a [x]", "[ab]", "what?", "all*", "b[1"])
def test_the_folder_of_a_project_is_no_pattern(tmp_path: Path, name: str) -> None:
    project = tmp_path / name
    check_source_folder("raw/*.csv", project, {}, "here")
    check_source_folder("*.csv", project, {}, "here")
    for uri in ("../*/raw/*.csv", f"../{name}x/raw/*.csv", f"raw/*/../../../{name}/*.csv"):
        with pytest.raises(SpecError, match="outside"):
            check_source_folder(uri, project, {}, "here")
