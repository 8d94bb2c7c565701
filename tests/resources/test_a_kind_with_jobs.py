"""docs/adding-a-kind-with-jobs.md is true on a laptop: a copy of the product with its files and rows alone makes it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kind_with_jobs import ROOT, blocks, copy_with_kind, touched

PROJECT = """\
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: store}, online: {duckdb: {}}}
---
kind: DataPipeline
metadata: {name: events}
spec: {source: {uri: raw/*.csv, format: CSV}, trigger: {arrivals: {maxWait: 0s}}}
---
kind: FeatureView
metadata: {name: things}
spec:
  entity: {name: thing, joinKeys: [{name: k, type: string}]}
  source: {pipeline: events}
  timestampField: ts
  features: [{name: v, type: int64, column: v}]
---
kind: RowCount
metadata: {name: counted}
spec: {view: things}
"""
COMMANDS = """
import os, sys
from featurestore.cli.app import app
for line in sys.argv[1:]:
    print(f"# {line}", flush=True)
    if line.startswith("mv "):
        os.rename(*line.split()[1:])
    else:
        app(line.split(), standalone_mode=False)
"""
"""Commands of ours, and ``mv``, in one process: each that is new imports all of the copy, which nothing forks."""


class Copy:
    """The copy, and a project in its folder ``project``."""

    def __init__(self, folder: Path) -> None:
        self.paths = copy_with_kind(folder)
        self.project = folder / "project"
        (self.project / "raw").mkdir(parents=True)
        (self.project / "store.yaml").write_text(PROJECT)

    def write(self, name: str, *rows: int) -> None:
        """Where no pipeline looks yet."""
        lines = "".join(f"e{n},2024-01-01T00:00:{n:02}Z,{n}\n" for n in rows)
        (self.project / name).write_text(f"k,ts,v\n{lines}")

    def does(self, *commands: str) -> str:
        """What these commands print, in one process of the copy."""
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, self.paths)), "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, *commands],
            cwd=self.project,
            env=environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("copy"))


@pytest.mark.parametrize("page", ["extending.md", "adding-a-kind-with-jobs.md"])
def test_it_takes_four_files_and_three_rows_as_both_pages_say(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    section = text.partition("## A kind with Jobs")[2].partition("\n## ")[0] or text
    rows = re.findall(r"^\d\. (?:In )?\[`\w+\.py`\]\(\.\./(\S+\.py)\)", section, re.MULTILINE)
    assert set(rows) == touched()
    assert (len(blocks().keys() - touched()), len(rows)) == (4, 3)


def test_a_worker_makes_it_and_makes_it_again_only_when_it_is_due(copy: Copy) -> None:
    copy.write("1.csv", 1, 2, 3)
    copy.write("2.csv", 4, 5)
    first = ("mv 1.csv raw/1.csv", "apply -f .", "run --once", "get rowcount counted -o json")
    later = ("run --once", "run --once", "get rc", "describe rowcount counted")
    told, _, after = copy.does(*first, "mv 2.csv raw/2.csv", *later).partition("# mv 2.csv")
    status = json.loads(told.partition("# get rowcount counted -o json\n")[2])["status"]
    assert (status["counts"], status["rows"]) == (1, 3)
    assert {it["type"]: it["reason"] for it in status["conditions"]}["Ready"] == "UpToDate"
    assert after.count("rowcount/counted: count 2: 5 rows") == 1
    assert "count 3" not in after
    _, row = after.partition("# get rc\n")[2].splitlines()[:2]
    assert row.split()[:3] == ["counted", "True", "5"]
    assert "5 rows." in after.partition("# describe")[2]
