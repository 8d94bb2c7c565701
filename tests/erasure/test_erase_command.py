"""What the command says, asks, refuses and signs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from erasing import SECRET

from featurestore.cli import erase as command
from featurestore.erasure.begin import unfinished
from featurestore.erasure.key_file import read_keys
from featurestore.errors import NotFound, RequestError
from featurestore.runner.journal import Event, Journal

Make = Callable[..., Any]


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


def test_the_command_plans_erases_resumes_and_verifies(store: Make) -> None:
    p = store().history()
    about = ("--entity", "thing", "--keys", str(p.keys(SECRET)))
    planned = run(p, *about, "--plan", "-o", "json")
    assert json.loads(planned.stdout)["views"] == ["places", "things"], planned.stderr
    assert p.traces(), "a plan erased something"
    assert run(p, *about).returncode == 1, "nobody said yes"
    assert p.traces()
    Journal(p.project.state).write(Event(time_us=0, subject="runner", what="Failed", message=SECRET))
    given = {"FEATURESTORE_SIGNING_KEY": "a key of my own, and long"}
    killed = run(p, *about, "--yes", FEATURESTORE_KILL_AT="after-dataset-erasure", **given)
    assert killed.returncode == 75, killed.stdout + killed.stderr
    done = run(p, "--resume", **given)
    assert done.returncode == 0, done.stderr
    assert "raw/a.csv" in done.stdout
    assert p.traces() == []
    assert list(Journal(p.project.state).read()) == [], "a failure may have shown a value"
    assert run(p, "--verify", "1", **given).returncode == 0
    assert run(p, "--verify", "1", FEATURESTORE_SIGNING_KEY="another key, and long too").returncode == 2


def test_a_record_that_was_changed_is_told_from_what_was_signed(store: Make) -> None:
    p = store().history()
    p.erase()
    path = Path(p.storage.uri("erasures/000000000001/record.json"))
    path.write_text(path.read_text().replace('"keys":1', '"keys":2'))
    with pytest.raises(RequestError, match="changed after it was signed"):
        command.verify(p.project, 1)


def test_what_cannot_be_meant_is_refused_before_anything_is_written(store: Make) -> None:
    p = store().history()
    with pytest.raises(NotFound, match="Did you mean 'thing'"):
        p.begin(SECRET, entity="thin")
    with pytest.raises(NotFound, match="no view"):
        p.begin(SECRET, entity=None, view="thin")
    with pytest.raises(RequestError, match="--entity or --view"):
        p.begin(SECRET, view="things")
    with pytest.raises(RequestError, match="lacks the join key 'place'"):
        p.begin(SECRET, entity="place")
    with pytest.raises(RequestError, match="no key"):
        p.begin()
    assert unfinished(p.storage) == []


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
