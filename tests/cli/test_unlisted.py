"""A folder that must not be listed: it is told, the files beside it are taken, and its own once it can be listed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from privileges import bound_by_permissions

from featurestore.arrivals.ledger import Ledger
from featurestore.reconcile.conditions import read_status
from featurestore.registry.project import open_project

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="root is kept from nothing elsewhere")
RESOURCES = """
kind: FeatureStore
metadata: {name: default}
spec: {offline: {uri: store}, online: {duckdb: {}}}
---
kind: DataPipeline
metadata: {name: p}
spec: {source: {uri: raw/**/*.csv, format: CSV}, trigger: {arrivals: {maxWait: 0s}}}
"""


def test_files_beside_a_folder_that_must_not_be_listed_are_taken_and_the_folder_is_named(
    tmp_path: Path,
) -> None:
    def featurestore(*arguments: str, bound: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "featurestore.cli", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=bound_by_permissions if bound else None,
        )

    (tmp_path / "store.yaml").write_text(RESOURCES)
    for number, name in enumerate(("a", "locked", "unsearchable", "z")):
        (tmp_path / "raw" / name).mkdir(parents=True)
        (tmp_path / "raw" / name / "1.csv").write_text(f"x\n{number}\n")
    locked = {"locked": 0o000, "unsearchable": 0o444}
    for name, mode in locked.items():
        (tmp_path / "raw" / name).chmod(mode)
    assert featurestore("apply", "-f", ".").returncode == 0
    first = featurestore("run", "--once")
    doctor = featurestore("doctor")
    storage = open_project(tmp_path, {}, tmp_path).storage
    status = read_status(storage, "pipelines", "p")
    for name in locked:
        (tmp_path / "raw" / name).chmod(0o755)
    assert first.returncode == 75, first.stdout + first.stderr
    for said in (first.stdout, first.stderr, doctor.stdout):
        assert "raw/locked" in said
        assert "Permission denied" in said
    assert doctor.returncode != 0
    assert status is not None
    reachable = status.condition("SourceReachable")
    assert reachable is not None
    assert reachable.status == "False"
    assert "and 1 other like it" in reachable.message
    # Nothing is kept from anybody any more: a process that may be forked.
    last = featurestore("run", "--once", bound=False)
    assert last.returncode == 0, last.stdout + last.stderr
    ledger = Ledger(storage, "p")
    results = [ledger.result(n + 1) for n in range(ledger.last_batch())]
    assert sum(result.rows_committed for result in results if result) == len(
        ("a", "locked", "unsearchable", "z")
    )
