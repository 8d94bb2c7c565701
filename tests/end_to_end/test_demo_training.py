"""The story of a model runs: each of its steps checks what it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cluster.binaries import MissingError, environment_python
from examples import exhaustive
from own_environment import ROOT
from unavailable import unavailable


@pytest.mark.slow
@pytest.mark.skipif(not exhaustive(), reason="runs in make test-all: its parts have tests of their own")
def test_flights_become_a_model_that_is_served_and_whose_drift_is_told(tmp_path: Path) -> None:
    try:
        for name in ("mlflow", "kserve"):
            environment_python(name)
    except MissingError as missing:
        unavailable(missing)
    done = subprocess.run(
        [sys.executable, "-m", "demo.training", tmp_path / "store"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "support")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    assert "Drifted: " in done.stdout
