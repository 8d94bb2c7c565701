"""Platforms that do not go together with what the tests run with: our wheel beside each, in an environment of its own."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cluster.binaries import MissingError, environment_python
from unavailable import unavailable

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "platforms"
UV = Path(sys.executable).with_name("uv")
TIMEOUT_S = 600


@dataclass(frozen=True)
class OwnEnvironment:
    """``python``: of the platform. ``wheel``: folder that our wheel is unpacked into, beside what scripts leave."""

    python: Path
    wheel: Path

    def environ(self, **more: str) -> dict[str, str]:
        """For its processes, which have our package from the wheel alone."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FEATURESTORE_")}
        return {**kept, "PYTHONPATH": str(self.wheel), "PYTHONSAFEPATH": "1", "TZ": "UTC", **more}

    def ask(self, script: str, *arguments: object, environ: Mapping[str, str] | None = None) -> Any:
        """What a script of ``platforms/`` prints in its last line, as JSON."""
        done = self.run(script, *arguments, environ=environ)
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])

    def run(
        self, script: str, *arguments: object, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(script, *arguments),
            env=self.environ(**(environ or {})),
            cwd=self.wheel.parent,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def command(self, script: str, *arguments: object) -> Sequence[str]:
        return [str(self.python), str(SCRIPTS / script), *map(str, arguments)]


def own_environment(extra: str, folder: Path) -> OwnEnvironment:
    """The environment of a platform, with the wheel of this checkout; where it is not installed, the test is not run.

    ``folder``: an empty one, for the wheel.
    """
    try:
        python = environment_python(extra)
    except MissingError as missing:
        unavailable(missing)
    wheel = folder / "wheel"
    _done(
        [
            UV,
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--offline",
            "--python",
            python,
            "--target",
            wheel,
            _wheel(),
        ]
    )
    return OwnEnvironment(python, wheel)


@cache
def _wheel() -> Path:
    """The wheel of this checkout, built once for all environments."""
    build = Path(tempfile.mkdtemp(prefix="featurestore-wheel-"))
    atexit.register(shutil.rmtree, build, ignore_errors=True)
    of_here = ["--wheel", "--no-build-isolation", "--offline", "--python", sys.executable]
    _done([UV, "build", "--quiet", *of_here, "--out-dir", build, ROOT])
    [built] = build.glob("*.whl")
    return built


def section(page: str, title: str) -> str:
    """What stands below a heading of the second level."""
    _, _, rest = page.partition(f"\n## {title}\n")
    assert rest, title
    return rest.partition("\n## ")[0]


def _done(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
