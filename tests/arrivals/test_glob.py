from __future__ import annotations

import os
from pathlib import Path

import pytest

from featurestore.arrivals.files.glob import TEMPORARY, Pattern, is_temporary
from featurestore.errors import SpecError
from featurestore.resources.data_pipeline import Source


def pattern(uri: str, base: str | None = None) -> Pattern:
    return Pattern.of(Source.model_validate({"uri": uri, "format": "CSV"}), base)


@pytest.mark.parametrize(
    ("uri", "protocol", "folder", "rest"),
    [
        ("s3://raw/flights/**/*.csv", "s3", "raw/flights", ("**", "*.csv")),
        ("s3://raw/*.csv", "s3", "raw", ("*.csv",)),
        ("s3://raw/a.csv", "s3", "raw", ("a.csv",)),
        ("/raw/2013-*/x/*.csv", "", "/raw", ("2013-*", "x", "*.csv")),
        ("/raw/[ab]/c.csv", "", "/raw", ("[ab]", "c.csv")),
        ("file:///raw/*.csv", "", "/raw", ("*.csv",)),
        ("raw/*.csv", "", "/base/raw", ("*.csv",)),
        ("../raw/*.csv", "", "/raw", ("*.csv",)),
        ("./raw//x/../*.csv", "", "/base/raw", ("*.csv",)),
        ("/*.csv", "", "", ("*.csv",)),
    ],
)
def test_a_glob_is_taken_apart_where_it_stops_being_fixed(
    uri: str, protocol: str, folder: str, rest: tuple[str, ...]
) -> None:
    found = pattern(uri, "/base")
    assert (found.protocol, found.folder, found.rest) == (protocol, folder, rest)


def test_without_a_base_a_path_begins_at_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pattern("raw/*.csv").folder == f"{os.getcwd()}/raw"


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert pattern("~/raw/*.csv", "/base").folder == "/home/anna/raw"


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("/r/*.csv", "/r/a.csv", True),
        ("/r/*.csv", "/r/b/a.csv", False),
        ("/r/*.csv", "/r/a.CSV", False),
        ("/r/*.csv", "/r/a.csv.gz", False),
        ("/r/*.csv", "/other/a.csv", False),
        ("/r/**/*.csv", "/r/a.csv", True),
        ("/r/**/*.csv", "/r/b/c/a.csv", True),
        ("/r/**", "/r/b/c/a.csv", True),
        ("/r/*/*.csv", "/r/b/a.csv", True),
        ("/r/*/*.csv", "/r/a.csv", False),
        ("/r/b?/[0-9]*.csv", "/r/b1/7x.csv", True),
        ("/r/b?/[0-9]*.csv", "/r/b1/x7.csv", False),
        ("/r/[!a]*.csv", "/r/a.csv", False),
        ("/r/[[]x].csv", "/r/[x].csv", True),
        ("/r/*.csv", "/r/new\nline.csv", True),
        ("/r/*.csv", "/r/é ü %20.csv", True),
        ("/r/x.csv", "/r/x.csv", True),
        ("/r/x.csv", "/r/xycsv", False),
    ],
)
def test_a_glob_names_what_a_person_expects(glob: str, path: str, matches: bool) -> None:
    assert pattern(glob).matches(path) is matches


@pytest.mark.parametrize(
    "name",
    [".a.csv", "_SUCCESS", "_temporary", "_delta_log", "a.csv~", *(f"a.csv{end}" for end in TEMPORARY)],
)
def test_names_of_unfinished_files_and_folders_are_skipped(name: str) -> None:
    assert is_temporary(name)
    assert is_temporary(name.upper())
    assert not pattern("/r/**").matches(f"/r/{name}")
    assert not pattern("/r/**").matches(f"/r/{name}/a.csv")
    assert not pattern("/r/**").may_hold(f"/r/{name}")


@pytest.mark.parametrize("name", ["a.csv", "a_b.csv", "_day=1", "part.csv", "tmp", "a.parts", "2013~a.csv"])
def test_other_names_are_not_skipped(name: str) -> None:
    assert pattern("/r/**").matches(f"/r/{name}")


def test_what_the_glob_spells_out_is_not_skipped() -> None:
    assert pattern("/r/_landing/*.csv").matches("/r/_landing/a.csv")
    assert pattern("/r/*/.cache/*.csv").matches("/r/x/.cache/a.csv")
    assert pattern("/r/*/.cache/*.csv").may_hold("/r/x/.cache")
    assert not pattern("/r/*/.cache/*.csv").matches("/r/x/.cache/.a.csv")


@pytest.mark.parametrize(
    ("glob", "folder", "may_hold"),
    [
        ("/r/*.csv", "/r/a", False),
        ("/r/*/*.csv", "/r/a", True),
        ("/r/*/*.csv", "/r/a/b", False),
        ("/r/2013-*/*.csv", "/r/2013-01", True),
        ("/r/2013-*/*.csv", "/r/2014-01", False),
        ("/r/**/*.csv", "/r/a/b/c", True),
        ("/r/x*/**/*.csv", "/r/y/b", False),
        ("/r/x*/**/*.csv", "/r/x/b", True),
    ],
)
def test_folders_in_which_nothing_can_match_are_not_opened(glob: str, folder: str, may_hold: bool) -> None:
    assert pattern(glob).may_hold(folder) is may_hold


def test_a_double_star_within_a_name_is_an_error_that_shows_how_to_write_it() -> None:
    with pytest.raises(
        SpecError, match=r"in spec.source.uri, wanted '\*\*' as a whole part .* got '/r/\*\*.csv'"
    ):
        pattern("/r/**.csv")


@pytest.mark.parametrize("uri", ["s3://*/a.csv", "s3://bucket"])
def test_a_bucket_must_be_named(uri: str) -> None:
    with pytest.raises(SpecError, match=r"wanted a bucket and a path, as in s3://bucket/folder/\*.parquet"):
        pattern(uri)


def test_the_folder_of_a_project_is_no_pattern() -> None:
    found = pattern("raw/*.csv", "/srv/[x] {y}*")
    assert (found.folder, found.rest) == ("/srv/[x] {y}*/raw", ("*.csv",))
    assert pattern("../raw/*.csv", "/srv/[x]/p").folder == "/srv/[x]/raw"


def test_files_of_a_relative_source_are_known_by_their_path_below_the_project() -> None:
    assert pattern("raw/*.csv", "/base").uri("/base/raw/a.csv") == "raw/a.csv"
    assert pattern("/raw/*.csv", "/base").uri("/raw/a.csv") == "/raw/a.csv"
    assert pattern("s3://raw/*.csv", "/base").uri("raw/a.csv") == "s3://raw/a.csv"
