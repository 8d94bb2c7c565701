"""How the demo speaks: headings, the command to repeat a step by hand, and its real output."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Container
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

console = Console(highlight=False)
if not console.is_terminal:
    console = Console(highlight=False, width=120)


def heading(number: int, text: str) -> None:
    """A chapter of the story."""
    console.print()
    console.print(Rule(f"[bold]{number}. {text}", align="left"))


def say(text: str) -> None:
    """A sentence of the story."""
    console.print(text)


def command(folder: Path, *arguments: str, codes: Container[int] = (0,)) -> None:
    """Run ``featurestore ARGUMENTS`` in the folder, showing the command and what it prints.

    ``codes``: the exit codes by which the story goes on.

    Raises:
        SystemExit: the command failed, and the story cannot go on.
    """
    console.print(f"\n[bold cyan]$ featurestore {shlex.join(arguments)}[/]")
    done = subprocess.run(cli(*arguments), cwd=folder, env=environment())
    if done.returncode not in codes:
        raise SystemExit(done.returncode)


def cli(*arguments: str) -> list[str]:
    """The command line with this interpreter's package."""
    return [sys.executable, "-m", "featurestore.cli", *arguments]


def environment() -> dict[str, str]:
    """The same width and colors as the story's own."""
    colors = {"FORCE_COLOR": "1"} if console.is_terminal else {}
    return {**os.environ, **colors, "COLUMNS": str(console.width)}
