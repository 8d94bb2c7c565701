"""``featurestore import``: resources from what another feature store has. The work is done in the module of each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Optional

import typer

import_app = typer.Typer(help="Write YAML for what another feature store has.", no_args_is_help=True)


@import_app.callback()
def _kinds() -> None:
    """Which one is a command of its own."""


@import_app.command("feast")
def feast(
    repository: Annotated[Path, typer.Argument(help="Folder with feature_store.yaml.", metavar="REPO")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write to: empty or new.", show_default=False)
    ],
    python: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--python", help="Interpreter of the environment that has feast. Without it: this one."),
    ] = None,
) -> None:
    """Write YAML for the pipelines, views and services of a Feast repository, and a report of what is left out."""
    from featurestore.cli.import_feast import import_feast
    from featurestore.printable import printable

    typer.echo(printable(import_feast(repository, output, python, os.environ)))
