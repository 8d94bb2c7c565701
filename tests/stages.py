"""Run the tests in stages, each as a process of its own, and end with a table: stage, tests, minutes.

    python tests/stages.py          what `make test` runs: every test, of what is exhaustive a sample
    python tests/stages.py --all    what `make test-all` runs: everything

All stages run, whatever became of those before; the exit code is 1 if any of them failed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEWEST, LOWEST = ".venv", ".venv-lowest"
OURS_ALONE = ("cluster", "docs", "end_to_end", "house", "install", "node", "reconcile")
"""Folders of tests that touch no library of others, or none in a way that other folders do not."""


@dataclass(frozen=True)
class Stage:
    """``python``: the environment that runs it. ``environ``: variables that it sets for the tests."""

    name: str
    python: str
    arguments: tuple[str, ...]
    environ: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    stage: str
    code: int
    counts: dict[str, int]
    seconds: float


PARALLEL = ("-n", "2", "--dist", "worksteal")


def stages(everything: bool) -> list[Stage]:
    """The stages in the order in which they run."""
    deep = {"EXHAUSTIVE": "1", "EXAMPLES": "2"} if everything else {}
    ignored = tuple(f"--ignore=tests/{it}" for it in OURS_ALONE)
    return [
        Stage("lowest", LOWEST, ("-m", "not slow and not node", *PARALLEL, *ignored), {"EXAMPLES": "0.1"}),
        Stage("newest", NEWEST, ("-m", "not node", *PARALLEL), deep),
        Stage("node", NEWEST, ("-m", "node"), deep),
    ]


def run(stage: Stage) -> Outcome:
    """Run one stage; what it prints is printed at once."""
    command = [f"{stage.python}/bin/pytest", *stage.arguments]
    print(f"\n── {stage.name}: {' '.join(command)}", flush=True)
    started = time.monotonic()
    last = ""
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **stage.environ}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line if re.search(r"\d+ (passed|failed|error)", line) else last
    return Outcome(stage.name, process.returncode, counts(last), time.monotonic() - started)


def counts(line: str) -> dict[str, int]:
    """What pytest's last line counts: ``{"passed": 12, "failed": 1}``.

    >>> counts("===== 1 failed, 12 passed, 3 deselected in 4.05s =====")
    {'failed': 1, 'passed': 12, 'deselected': 3}
    """
    return {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", line.partition(" in ")[0])}


def table(outcomes: list[Outcome]) -> str:
    """The stages with their tests and minutes, and the sum in the last line."""
    rows = [
        ("stage", "tests", "failed", "minutes"),
        *((it.stage, passed(it), failed(it), f"{it.seconds / 60:.1f}") for it in outcomes),
        (
            "all",
            sum(map(passed, outcomes)),
            sum(map(failed, outcomes)),
            f"{sum(it.seconds for it in outcomes) / 60:.1f}",
        ),
    ]
    return "\n".join(f"{a:<8}{b:>8}{c:>8}{d:>9}" for a, b, c, d in rows)


def passed(outcome: Outcome) -> int:
    return outcome.counts.get("passed", 0)


def failed(outcome: Outcome) -> int:
    """Tests that failed or could not begin; at least one if the stage ended otherwise than well."""
    found = sum(outcome.counts.get(word, 0) for word in ("failed", "error", "errors"))
    return found or int(outcome.code != 0)


def main(everything: bool) -> int:
    outcomes = [run(stage) for stage in stages(everything)]
    print(f"\n{table(outcomes)}\n")
    print(f"{sum(map(passed, outcomes))} passed, {sum(map(failed, outcomes))} failed")
    return int(any(it.code for it in outcomes))


if __name__ == "__main__":
    sys.exit(main("--all" in sys.argv[1:]))
