"""What the command says, asks, refuses and signs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from erasing import SECRET, Erasing

from featurestore.cli import erase as command
from featurestore.erasure.begin import unfinished
from featurestore.erasure.key_file import read_keys
from featurestore.errors import NotFound, RequestError
from featurestore.runner.journal import Event, Journal


def run(p: Any, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "featurestore.cli", "erase", *arguments],
        cwd=p.folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_command_plans_erases_resumes_and_verifies(past: Erasing) -> None:
    about = ("--entity", "thing", "--keys", str(past.keys(SECRET)))
    planned = run(past, *about, "--plan", "-o", "json")
    assert json.loads(planned.stdout)["views"] == ["places", "things"], planned.stderr
    assert past.traces(), "a plan erased something"
    assert run(past, *about).returncode == 1, "nobody said yes"
    assert past.traces()
    Journal(past.project.state).write(Event(time_us=0, subject="runner", what="Failed", message=SECRET))
    given = {"FEATURESTORE_SIGNING_KEY": "a key of my own, and long"}
    killed = run(past, *about, "--yes", FEATURESTORE_KILL_AT="after-dataset-erasure", **given)
    assert killed.returncode == 75, killed.stdout + killed.stderr
    done = run(past, "--resume", **given)
    assert done.returncode == 0, done.stderr
    assert "raw/a.csv" in done.stdout
    assert past.traces() == []
    assert list(Journal(past.project.state).read()) == [], "a failure may have shown a value"
    assert run(past, "--verify", "1", **given).returncode == 0
    assert run(past, "--verify", "1", FEATURESTORE_SIGNING_KEY="another key, and long too").returncode == 2


def test_a_record_that_was_changed_is_told_from_what_was_signed(erased: Erasing) -> None:
    path = Path(erased.storage.uri("erasures/000000000001/record.json"))
    path.write_text(path.read_text().replace('"keys":1', '"keys":2'))
    with pytest.raises(RequestError, match="changed after it was signed"):
        command.verify(erased.project, 1)


def test_what_cannot_be_meant_is_refused_before_anything_is_written(past: Erasing) -> None:
    with pytest.raises(NotFound, match="Did you mean 'thing'"):
        past.begin(SECRET, entity="thin")
    with pytest.raises(NotFound, match="no view"):
        past.begin(SECRET, entity=None, view="thin")
    with pytest.raises(RequestError, match="--entity or --view"):
        past.begin(SECRET, view="things")
    with pytest.raises(RequestError, match="lacks the join key 'place'"):
        past.begin(SECRET, entity="place")
    with pytest.raises(RequestError, match="no key"):
        past.begin()
    assert unfinished(past.storage) == []


@pytest.mark.parametrize(
    ("kind", "values", "wanted"),
    [
        ("string", ["a", "b", "a"], [("a",), ("b",)]),
        ("string", [7, 8], [("7",), ("8",)]),
        ("int64", [7, 8], [("7",), ("8",)]),
        ("int64", ["007", "8"], [("7",), ("8",)]),
        ("int64", [7.0], [("7",)]),
    ],
    ids=["strings", "numbers as strings", "numbers", "texts of numbers", "whole floats"],
)
def test_keys_are_read_as_their_type_says(tmp_path: Path, kind: str, values: list[Any], wanted: Any) -> None:
    path = tmp_path / "keys.parquet"
    pq.write_table(pa.table({"k": values}), path)
    assert read_keys(path, [("k", kind)]) == wanted


@pytest.mark.parametrize(
    ("kind", "values"), [("int64", [1.5]), ("int64", ["x"]), ("string", [None]), ("string", [1.5])]
)
def test_what_is_no_key_is_refused(tmp_path: Path, kind: str, values: list[Any]) -> None:
    path = tmp_path / "keys.parquet"
    pq.write_table(pa.table({"k": values}), path)
    with pytest.raises(RequestError, match="key"):
        read_keys(path, [("k", kind)])
