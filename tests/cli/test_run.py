"""How ``run`` ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SLOW = """
import pathlib, time


def never(rows):
    pathlib.Path("begun").touch()
    time.sleep(600)
"""
PIPELINE = """\
kind: DataPipeline
metadata: {name: slow}
spec:
  source: {uri: "raw/*.csv", format: CSV}
  trigger: {arrivals: {maxWait: 0s}}
  transforms: [{python: {callable: "slow:never"}}]
"""


@pytest.fixture
def runner(featurestore: Any, tmp_path: Path) -> subprocess.Popen[str]:
    """``featurestore run`` in a process of its own, in a step that does not end."""
    (tmp_path / "store.yaml").write_text(
        "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: store}}\n"
    )
    (tmp_path / "slow.yaml").write_text(PIPELINE)
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").write_text("a\n1\n")
    os.utime(tmp_path / "raw" / "a.csv", (1_700_000_000, 1_700_000_000))
    assert featurestore("apply", "-f", ".", "--no-try").code == 0
    return subprocess.Popen(
        [sys.executable, "-m", "featurestore.cli", "run"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_first_interrupt_lets_the_step_end_a_second_one_stops_at_once_and_the_batch_is_still_to_be_run(
    featurestore: Any, runner: subprocess.Popen[str], tmp_path: Path
) -> None:
    deadline = time.monotonic() + 180
    try:
        while not (tmp_path / "begun").exists():
            assert runner.poll() is None, "it ended before the step began"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        runner.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            runner.wait(2)
        runner.send_signal(signal.SIGINT)
        said = runner.communicate(timeout=600)[0]
    finally:
        runner.kill()
    assert runner.returncode == 130, said
    assert "Traceback" not in said
    assert "What was under way is done again by the next run" in said
    assert "pending" in featurestore("history", "pipeline", "slow").out
