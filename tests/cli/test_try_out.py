"""``apply`` and ``plan`` try what they are given on files that are there: real files, a real worker process."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from privileges import bound_by_permissions

STORE = "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: store}, online: {duckdb: {}}}\n"
GOOD = "id,at,v,note\n1,2024-01-01T00:00:00Z,10,a\n2,2024-01-01T00:00:00Z,20,b\n"
VIEW = """
---
kind: FeatureView
metadata: {{name: f}}
spec:
  entity: {{name: e, joinKeys: [{{name: id, type: string}}]}}
  source: {{pipeline: p}}
  timestampField: at
  features: [{feature}]
"""


class Place:
    """A project whose spec is written and whose files are dropped by the test."""

    def __init__(self, folder: Path, call: Callable[..., Any]) -> None:
        self.folder, self.call = folder, call
        (folder / "raw").mkdir()
        (folder / "store.yaml").write_text(STORE)

    def spec(self, more: str = "", source: str = "format: CSV", feature: str = "") -> None:
        text = (
            f"kind: DataPipeline\nmetadata: {{name: p}}\nspec:\n  source: {{uri: 'raw/*', {source}}}\n{more}"
        )
        (self.folder / "p.yaml").write_text(text + (VIEW.format(feature=feature) if feature else ""))

    def drop(self, name: str, data: str | bytes, age_s: int = 0) -> Path:
        path = self.folder / "raw" / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        modified_s = 1_700_000_000 - age_s
        os.utime(path, (modified_s, modified_s))
        return path

    def plan(self, *arguments: str) -> Any:
        return self.call("plan", "-f", ".", *arguments)


@pytest.fixture
def place(tmp_path: Path, featurestore: Callable[..., Any]) -> Place:
    return Place(tmp_path, featurestore)


def test_without_a_file_one_line_says_that_nothing_was_tried(place: Place) -> None:
    place.spec("  transforms: [{rename: {columns: {typo: v}}}]\n")
    said = place.call("apply", "-f", ".")
    assert said.code == 0, said.err
    assert "No file to try it on yet: no file in" in said.out
    assert "!" not in said.out


def test_rows_that_would_be_taken_and_those_that_break_a_rule_are_counted(place: Place) -> None:
    place.spec("  expectations: [{name: big, that: v > 10}]\n", feature="{name: v, type: int64}")
    place.drop("a.csv", GOOD)
    said = place.plan()
    assert said.code == 0, said.err
    assert "Tried on raw/a.csv: 1 of 2 rows would be taken; 1 break big (v > 10, but v = 10)." in said.out
    assert "1 of these 1 row would give features." in said.out
    assert not (place.folder / "store").exists()


@pytest.mark.parametrize(
    ("more", "feature", "said"),
    [
        ("  transforms: [{rename: {columns: {nte: x}}}]\n", "", "unknown column 'nte'"),
        ("  transforms: [{filter: {where: vv > 1}}]\n", "", "unknown column 'vv'"),
        ("  transforms: [{derive: {columns: {x: note * 2}}}]\n", "", "types do not fit"),
        ("  expectations: [{name: r, that: v}]\n", "", "a condition must be true or false"),
        (
            "  transforms: [{sql: {query: SELECT nope FROM self}}]\n",
            "",
            "the spec does not fit the files that it was tried on",
        ),
        ("", "{name: v, type: timestamp}", "the values of column 'v' do not fit"),
        ("", "{name: x, type: int64, column: vv}", "unknown column 'vv'"),
    ],
    ids=["rename", "filter", "derive", "a rule that is a number", "sql", "type of a feature", "feature"],
)
def test_a_step_that_fits_no_file_is_an_error_unless_nothing_is_to_be_tried(
    place: Place, more: str, feature: str, said: str
) -> None:
    place.spec(more, feature=feature)
    place.drop("a.csv", GOOD)
    refused = place.call("apply", "-f", ".")
    assert refused.code == 2
    assert said in refused.err
    assert "p.yaml:" in refused.err
    assert "`--no-try` takes it as it is" in refused.err
    assert place.call("apply", "-f", ".", "--no-try").code == 0


@pytest.mark.parametrize(
    ("more", "source", "feature", "said"),
    [
        (
            "  columns: [{name: idd, type: int64}]\n",
            "format: CSV",
            "",
            "schema:missingColumn: no column 'idd'; the file has 'id', 'at', 'v', 'note'. Did you mean 'id'?",
        ),
        ("", "format: CSV, csv: {delimiter: ';'}", "", "file:delimiter: one column 'id,at,v,note'"),
        ("", "format: Parquet", "", "file:format: not a Parquet file"),
        ("  expectations: [{name: r, that: v > 99}]\n", "format: CSV", "", "None of 2 rows of raw/a.csv"),
        ("  transforms: [{filter: {where: v > 99}}]\n", "format: CSV", "", "the steps leave all of them out"),
        ("", "format: CSV", "{name: note, type: float64}", "2 break feature:note (wanted float64, got 'a')"),
    ],
    ids=["declared column", "delimiter", "format", "rule", "filter", "feature"],
)
def test_a_spec_that_would_take_nothing_is_marked_and_accepted(
    place: Place, more: str, source: str, feature: str, said: str
) -> None:
    place.spec(more, source, feature)
    place.drop("a.csv", GOOD)
    applied = place.call("apply", "-f", ".")
    assert applied.code == 0, applied.err
    [line] = [line for line in applied.out.splitlines() if line.startswith("  ! ")]
    assert said in line


def test_the_newest_file_alone_may_be_bad_and_then_others_are_tried(place: Place) -> None:
    place.spec("  transforms: [{filter: {where: v > 1}}]\n")
    place.drop("old.csv", GOOD, age_s=60)
    place.drop("new.csv", "id,at\n1,2024-01-01T00:00:00Z\n")
    said = place.plan()
    assert said.code == 0, said.err
    assert "! raw/new.csv would go to quarantine as a file: spec:transforms[0]" in said.out
    assert "Tried on raw/old.csv: 2 of 2 rows would be taken." in said.out


def test_of_a_large_file_the_first_rows_are_tried_and_types_are_not_judged_by_them(place: Place) -> None:
    rows = "".join(f"{n},{'x' * 100}\n" for n in range(50_000)) + "A1,y\n"
    place.drop("a.csv.gz", gzip.compress(f"code,pad\n{rows}".encode(), 1))
    place.spec("  transforms: [{filter: {where: LENGTH(code) > 0}}]\n")
    said = place.plan()
    assert said.code == 0, said.err
    place.spec("  transforms: [{filter: {where: LENGTH(cod) > 0}}]\n")
    assert "unknown column 'cod'" in place.plan().err
    place.spec("  columns: [{name: code, type: string}]\n")
    assert " of the first " in place.plan().out


def test_a_column_that_stands_in_the_path_only_is_told_until_a_partition_takes_it(place: Place) -> None:
    (place.folder / "raw" / "day=2024-01-31" / "hour=7").mkdir(parents=True)
    place.drop("day=2024-01-31/hour=7/a.csv", GOOD)
    (place.folder / "p.yaml").write_text(
        "kind: DataPipeline\nmetadata: {name: p}\nspec:\n  source: {uri: 'raw/**/*.csv', format: CSV}\n"
    )
    said = place.plan()
    assert said.code == 0, said.err
    assert (
        "Its path has day=, hour= which is not taken: spec.source.partitions makes columns of it." in said.out
    )
    (place.folder / "p.yaml").write_text(
        "kind: DataPipeline\nmetadata: {name: p}\nspec:\n  source:\n    uri: 'raw/**/*.csv'\n    format: CSV\n"
        "    partitions: [{name: day, type: date}, {name: hour, type: int64}]\n"
    )
    assert "Its path has" not in place.plan().out


def test_a_file_that_kills_the_worker_is_told_and_harms_nothing(place: Place) -> None:
    (place.folder / "killer.py").write_text("import os\ndef clean(rows):\n    os.kill(os.getpid(), 9)\n")
    place.spec("  transforms: [{python: {callable: 'killer:clean'}}]\n")
    place.drop("a.csv", GOOD)
    said = place.call("apply", "-f", ".")
    assert said.code == 0, said.err
    assert "! It could not be tried: the worker process was ended" in said.out or "SIGKILL" in said.out


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://127.0.0.1:1/a.csv", "a.csv"),
        ("s3://raw/*.csv", "in s3://raw/, got Could not connect to the endpoint"),
    ],
)
def test_a_source_that_does_not_answer_is_told_and_accepted(
    place: Place, monkeypatch: pytest.MonkeyPatch, uri: str, words: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    place.spec()
    text = (place.folder / "p.yaml").read_text()
    (place.folder / "p.yaml").write_text(text.replace("raw/*", uri))
    said = place.call("apply", "-f", ".")
    assert said.code == 0, said.err
    assert "! It could not be tried: the source cannot be" in said.out
    assert words in " ".join(said.out.split())


def test_keys_that_object_storage_refuses_are_told_when_a_spec_is_tried(
    place: Place, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    place.spec()
    text = (place.folder / "p.yaml").read_text()
    (place.folder / "p.yaml").write_text(text.replace("raw/*", "s3://features/none/*.csv"))
    said = place.call("apply", "-f", ".")
    assert said.code == 0, said.err
    assert "! It could not be tried: the source cannot be listed: in s3://features/none/" in said.out
    assert "not-the-secret" not in said.out + said.err


@pytest.mark.skipif(sys.platform != "linux", reason="root is kept from nothing elsewhere")
def test_a_folder_that_must_not_be_listed_is_told_when_a_spec_is_tried(place: Place) -> None:
    place.spec()
    place.drop("a.csv", GOOD)
    (place.folder / "raw").chmod(0)
    try:
        said = subprocess.run(
            [sys.executable, "-m", "featurestore.cli", "plan", "-f", "."],
            cwd=place.folder,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=bound_by_permissions,
        )
    finally:
        (place.folder / "raw").chmod(0o755)
    assert said.returncode == 0, said.stderr
    assert "must not be listed" in said.stdout or "ermission denied" in said.stdout, said.stdout


def test_what_was_tried_is_there_as_json(place: Place) -> None:
    place.spec()
    place.drop("a.parquet", b"")
    pl.DataFrame({"id": [1, 2]}).write_parquet(place.folder / "raw" / "a.parquet")
    place.spec(source="format: Parquet")
    [tried] = json.loads(place.plan("-o", "json").out)["tried"]
    assert tried["pipeline"] == "p"
    assert [(one["uri"], one["rows"], one["taken"]) for one in tried["tried"]] == [("raw/a.parquet", 2, 2)]


def test_columns_that_files_had_are_known_when_the_files_are_gone(place: Place) -> None:
    place.spec()
    file = place.drop("a.csv", GOOD)
    assert place.call("apply", "-f", ".").code == 0
    assert place.call("run", "--once").code == 0
    file.unlink()
    place.spec("  transforms: [{filter: {where: note > 5}}]\n")
    said = place.call("apply", "-f", ".")
    assert said.code == 2
    assert "types do not fit" in said.err
    place.spec("  transforms: [{filter: {where: nte = 'a'}}]\n")
    assert "Did you mean 'note'?" in place.call("apply", "-f", ".").err
    place.spec("  transforms: [{filter: {where: note = 'a'}}]\n")
    assert place.call("apply", "-f", ".").code == 0
    place.spec(feature="{name: w, type: int64, expression: note * 2}")
    refused = place.call("apply", "-f", ".", "--no-try")
    assert refused.code == 2
    assert "types do not fit" in refused.err
