"""Errors in human-readable form: one part to a line."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from featurestore.errors import FeatureStoreError, SpecError
from featurestore.printable import printable

_PARTS = ("where", "wanted", "got", "hint")


def print_error(error: FeatureStoreError) -> None:
    """Print the error to standard error; of a SpecError, all that is wrong."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    problems = error.problems if isinstance(error, SpecError) and error.problems else (error,)
    for problem in problems:
        console.print(error_text(problem))


def error_text(error: FeatureStoreError) -> Text:
    """The error's parts, one to a line."""
    text = Text.assemble(("error: ", "bold red"), printable(error.problem))
    for name in _PARTS:
        part = getattr(error, name)
        if part:
            label = {"where": "in", "hint": "→"}.get(name, name)
            text.append(f"\n{label:>8}  ", style="dim").append(printable(part).replace("\n", "\n" + " " * 10))
    return text
