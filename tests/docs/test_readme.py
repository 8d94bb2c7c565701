"""What the README tells a new user to do is done here, as written."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pandas as pd
import pytest
from eventually import eventually
from examples import exhaustive
from readme import README, ROOT, Shell, blocks

import featurestore


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home", Path(sys.executable))


def make_flights_of_a_day(shell: Shell) -> Path:
    """The README's own line makes the file."""
    _, line = _installation()
    shell.run(line)
    return shell.folder / "2013-01-01.parquet"


def do_the_steps_by_hand(shell: Shell) -> None:
    [steps] = [block for block in blocks("") if "featurestore init" in block]
    init, apply, run, copy, get, python = steps.strip().splitlines()
    shell.run(init)
    assert "aircraft-delays" in shell.run(apply)
    runner = shell.start(run.partition("#")[0])
    views = ""

    def is_ready() -> bool:
        nonlocal views
        views = shell.run(get)
        return "True" in views

    try:
        shell.run(copy)
        # Each look loads the program: the first is when there is something to see.
        featurestore.connect(shell.folder).wait_fresh("aircraft-delays", "2013-01-01T12:00:00Z", timeout=900)
        eventually(is_ready, 300, lambda: views, each_s=3.0)
        assert views.split("\n")[0].split() == re.findall(r"[A-Z]{4,}", get.partition("#")[2])
        assert "11.0" in shell.run(python)
    finally:
        runner.send_signal(signal.SIGINT)
    assert runner.wait(300) == 0


def share_compiled(environment: Path) -> None:
    """Bring into a new environment what Python compiled for the tests: it counts for a file that is as old, which those are
    that uv has linked to both. To compile all of it anew takes ten seconds of a processor.
    """
    ours = Path(sysconfig.get_path("purelib"))
    for compiled in ours.glob("**/__pycache__"):
        package = environment / compiled.parent.relative_to(sys.prefix)
        if package != environment / ours.relative_to(sys.prefix) and package.is_dir():
            shutil.copytree(compiled, package / compiled.name, ignore=shutil.ignore_patterns("*.pyc.*"))


def _installation() -> list[str]:
    [install] = [block for block in blocks("") if "pip install" in block]
    return install.strip().splitlines()


def test_every_block_of_the_readme_is_run_below_or_on_kubernetes() -> None:
    fences = re.findall(r"^```(\w*)$", README, re.MULTILINE)[::2]
    assert fences == ["", "", "", "yaml", "python", "", "", "yaml", "yaml"]
    assert "make demo" in blocks("")[0]


@pytest.mark.slow
def test_the_steps_by_hand_work_as_written_with_what_is_installed_for_them(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=exhaustive())
    shell = Shell(tmp_path / "home", tmp_path / "venv" / "bin" / "python")
    # Not what is newest today, but what the other tests ran with.
    pinned = re.findall(r"^(\S+==.*?) \\$", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE)
    (tmp_path / "pinned.txt").write_text("\n".join(pinned))
    # What is imported is compiled then, and that is a part of it.
    shell.environment |= {"PIP_CONSTRAINT": str(tmp_path / "pinned.txt"), "PIP_NO_COMPILE": "1"}
    pip, _ = _installation()
    if not exhaustive():
        # The same packages, most of them unpacked already: pip unpacks 200 MB for half a minute of a processor.
        uv = Path(sys.executable).with_name("uv")
        shell.environment["UV_CACHE_DIR"] = subprocess.check_output([uv, "cache", "dir"], text=True).strip()
        shell.environment["UV_CONSTRAINT"] = str(tmp_path / "pinned.txt")
        pip = pip.replace("pip install", f"{uv} pip install --python {tmp_path / 'venv'}")
    shell.run(pip.replace("path/to/checkout", str(ROOT)))
    if not exhaustive():
        share_compiled(tmp_path / "venv")
    make_flights_of_a_day(shell)
    do_the_steps_by_hand(shell)


@pytest.mark.slow
def test_make_demo_tells_its_story_to_the_end(tmp_path: Path) -> None:
    made = subprocess.run(["make", "-n", "-C", ROOT, "demo"], capture_output=True, text=True, check=True)
    [recipe] = re.findall(r"^\.venv/bin/python (-m .+)$", made.stdout, re.MULTILINE)
    # In a folder of its own: a person's demo-store stays what it is. And not by a shell, so that its commands are forked.
    command = [sys.executable, *recipe.split()]
    environment = {**os.environ, "COLUMNS": "140"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert "\x1b" not in said, "a pipe gets no color codes"
    assert re.search(r"files done     ━{40} (36\d)/\1 ", said)
    # Flights that are still in the air land later: their views' newest event is ahead.
    views = re.findall(
        r"^(\S+) +(True|False|Unknown) +(?:in )?\d+[smh]\S* +[\d,]+ +(\d+) +(\d+) +0 +none$",
        said,
        re.MULTILINE,
    )
    assert len(views) == 4
    assert all(ready == "True" and commit == online for _, ready, commit, online in views)
    caught, left = re.findall(
        r"^\$ featurestore quarantine ls flights$(.+?)\n\n", said, re.MULTILINE | re.DOTALL
    )
    rules = ("plausible-distance", "schema:typeChanged", "file:truncated", "file:overwritten")
    assert [rule in caught for rule in rules] == [True, True, True, True]
    assert [rule in left for rule in rules] == [False, True, True, True]
    without, learned = (float(score) for score in re.findall(r"│ (0\.\d{3}) +│", said))
    assert without < 0.65 < 0.7 < learned
    inference = said.partition("Inference: the same features, now")[2]
    table, _, statuses = inference.partition("status of the first")
    assert re.findall(r"│ (\w+) +│ ([A-Z_]+) +│", statuses) == [
        (name, "PRESENT") for name in ("last_arr_delay", "dep_delay_mean_1h", "temp")
    ]
    assert "–" not in table, "no value of the last table is missing"
    assert re.findall(r"^(JFK|LGA) +\S+ +temp +- +(\w+)$", inference, re.MULTILINE) == [
        ("JFK", "OUTSIDE_MAX_AGE"),
        ("LGA", "OUTSIDE_MAX_AGE"),
    ]
    assert "Done in " in said


def test_the_example_resources_and_the_training_example_work_as_written(
    shell: Shell,
) -> None:
    project = shell.folder / "project"
    raw = project / "data/raw/flights"
    raw.mkdir(parents=True)
    make_flights_of_a_day(shell).rename(raw / "2013-01-01.parquet")
    (project / "store.yaml").write_text(
        "kind: FeatureStore\nmetadata: {name: default}\nspec: {offline: {uri: .featurestore}}\n"
    )
    resources, *_ = blocks("yaml")
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
