"""The arguments of ``featurestore erase`` and their help. The work is done in ``erase.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from featurestore.cli.app import Output, settings
from featurestore.printable import printable
from featurestore.timestamps import current_us


def erase(
    entity: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--entity", help="Whose keys they are: the entity of views."),
    ] = None,
    view: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--view", help="Only in the pipeline of this view, and in what reads it."),
    ] = None,
    keys: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--keys", help="Parquet or CSV file with the join keys as columns."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", "--dry-run", help="Say what it is about, and erase nothing.")
    ] = False,
    allow_return: Annotated[
        bool, typer.Option("--allow-return", help="Take the keys again from files that arrive after this.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish what was begun.")] = False,
    verify: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--verify", help="Check the signature of the record with this number, and show it."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: Output = None,
) -> None:
    """Erase all that is stored of some keys, for ever, and write a signed record of it.

    Source files are yours: the record names those that had the keys.
    """
    from featurestore.cli import erase as command
    from featurestore.errors import RequestError

    def show(text: str) -> None:
        typer.echo(printable(text))

    project = settings.project()
    if verify is not None:
        show(command.show_records([command.verify(project, verify)], output))
        return
    if resume:
        show(command.show_records(command.resume(project), output))
        return
    if keys is None:
        raise RequestError("which keys?", wanted="--keys FILE, --resume or --verify NUMBER")
    erasure = command.plan(project, entity, view, keys, allow_return=allow_return)
    if plan or not yes:
        show(command.show(erasure, output))
    if plan:
        return
    if not yes:
        typer.confirm("This cannot be undone. Erase?", abort=True)
    number = command.begin(project, erasure, current_us())
    show(command.show_records([command.finish(project, number)], output))
