"""The commands, their arguments and their help. The work is done in the module of each command's name.

Those modules are imported when a command runs: ``--help`` loads no resource model and no data engine.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from featurestore.cli.import_ import import_app
from featurestore.cli.output import OutputFormat
from featurestore.cli.serve import serve
from featurestore.cli.training_page import diff
from featurestore.timestamps import current_us

if TYPE_CHECKING:
    from featurestore.registry.project import Project

EXIT_CODES = """\
Exit codes: 0 done; 1 an unexpected error; 2 a resource or an argument is wrong; 3 what was asked for does not exist;
4 done, but files were refused, or a whole batch was;
5 your code raised or is not installed; 75 something outside failed, try again;
130 stopped at once by a second Ctrl-C.
"""

app = typer.Typer(
    name="featurestore",
    help="A feature store: files in, point-in-time correct features out.",
    epilog=EXIT_CODES.replace("\n", " "),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
quarantine_app = typer.Typer(
    help="Rows and files that broke a rule: list, show, run again, dismiss.", no_args_is_help=True
)
app.add_typer(quarantine_app, name="quarantine")
app.command()(serve)
app.command()(diff)
app.add_typer(import_app, name="import")


@dataclass
class CliOptions:
    """Options before the command."""

    folder: Path = Path()
    debug: bool = False

    def project(self) -> Project:
        """The project that the command is about: FEATURESTORE_URI counts unless a folder was named."""
        from featurestore.registry.project import open_project

        return open_project(self.named_folder(), os.environ, Path.cwd())

    def named_folder(self) -> Path | None:
        """None if no folder was named."""
        return self.folder if self.folder != Path() else None


settings = CliOptions()


def _resource_name(text: str | None) -> str | None:
    """The name as resources have it, whichever way the user writes it."""
    if text is None:
        return None
    from featurestore.resources.metadata import resource_name

    return resource_name(text)


def _not_names(form: OutputFormat | None) -> OutputFormat | None:
    if form is OutputFormat.NAME:
        raise typer.BadParameter("'name' is an output of `get` only: json, yaml or wide")
    return form


def _kinds(incomplete: str) -> list[str]:
    from featurestore.cli.complete import kinds

    return kinds(incomplete)


def _kinds_and_all(incomplete: str) -> list[str]:
    from featurestore.cli.complete import kinds_and_all

    return kinds_and_all(incomplete)


def _names(ctx: typer.Context, incomplete: str) -> list[str]:
    from featurestore.cli.complete import names

    return names(ctx, incomplete)


def _features(ctx: typer.Context, incomplete: str) -> list[str]:
    from featurestore.cli.complete import features

    return features(ctx, incomplete)


def _fields(incomplete: str) -> list[str]:
    from featurestore.cli.complete import fields

    return fields(incomplete)


Kind = Annotated[str, typer.Argument(help="pipelines or views", metavar="KIND", autocompletion=_kinds)]
Name = Annotated[
    str, typer.Argument(help="Name of the resource.", callback=_resource_name, autocompletion=_names)
]
OptionalName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Argument(help="Only this resource.", callback=_resource_name, autocompletion=_names),
]
Output = Annotated[
    Optional[OutputFormat],  # noqa: UP045
    typer.Option("--output", "-o", help="Output format.", callback=_not_names),
]
ResourceOutput = Annotated[Optional[OutputFormat], typer.Option("--output", "-o", help="Output format.")]  # noqa: UP045
Files = Annotated[
    list[Path],
    typer.Option(
        "--filename",
        "-f",
        help="YAML file or folder, or - for standard input; may be repeated.",
        show_default=False,
    ),
]
Prune = Annotated[
    bool,
    typer.Option("--prune", help="Delete what was applied and is not in the files. Data stays."),
]
NoTry = Annotated[bool, typer.Option("--no-try", help="Do not try what changes on files that are there.")]


def _print(text: str) -> None:
    from featurestore.printable import printable

    typer.echo(printable(text))


def _wait() -> bool:
    """True after a second; False once the user interrupts."""
    try:
        time.sleep(1)
    except KeyboardInterrupt:
        return False
    return True


def _print_version(wanted: bool) -> None:
    if wanted:
        import featurestore

        _print(f"featurestore {featurestore.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    folder: Annotated[
        Path,
        typer.Option(
            "--folder", "-C", help="Folder with store.yaml, or a storage root. Without it: FEATURESTORE_URI."
        ),
    ] = Path(),
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where in the code an error comes from.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    settings.folder, settings.debug = folder, debug


@app.command()
def init(name: Annotated[Path, typer.Argument(help="Folder to create.")]) -> None:
    """Create a folder with a store, a pipeline and a view, ready to edit."""
    from featurestore.cli.init import init as write

    for path in write(settings.folder / name):
        _print(f"created {path}")
    inside = "" if name == Path() else f"cd {name} && "
    _print(f"\nNext: {inside}featurestore apply -f . && featurestore run")


@app.command()
def plan(filename: Files, prune: Prune = False, no_try: NoTry = False, output: Output = None) -> None:
    """Show what apply would change and what it would take of existing files, without changing anything."""
    from featurestore.cli.change import change

    change(filename, settings.project, output, prune=prune, record=False, trying=not no_try)


@app.command()
def apply(filename: Files, prune: Prune = False, no_try: NoTry = False, output: Output = None) -> None:
    """Check resources, try them on existing files, show what changes, and record them. A runner does the rest."""
    from featurestore.cli.change import change

    change(filename, settings.project, output, prune=prune, record=True, trying=not no_try)


@app.command()
def get(
    kind: Annotated[
        str,
        typer.Argument(help="pipelines, views, stores or all", metavar="KIND", autocompletion=_kinds_and_all),
    ],
    name: OptionalName = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep running, and print each line that changes.")
    ] = False,
    output: ResourceOutput = None,
) -> None:
    """List resources: whether they are ready, how fresh, how many rows, what is wrong."""
    from featurestore.cli.get import get as show

    project = settings.project()
    if not watch:
        _print(show(project, kind, name, output, current_us()))
        return
    from featurestore.cli.watch import watch as lines

    whole = output in (OutputFormat.JSON, OutputFormat.YAML)
    for text in lines(
        lambda now_us: show(project, kind, name, output, now_us), current_us, _wait, whole=whole
    ):
        _print(text)


@app.command()
def describe(kind: Kind, name: Name, output: Output = None) -> None:
    """Show one resource on a page: conditions, last batches, quarantine, schema."""
    from featurestore.cli.describe import describe as show

    _print(show(settings.project(), kind, name, output, current_us()))


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="Exit when nothing is left to do.")] = False,
    webhook_host: Annotated[
        str, typer.Option(help="Address where notifications are received, if a pipeline has any.")
    ] = "127.0.0.1",
    webhook_port: Annotated[int, typer.Option(help="Port of notifications.", min=0, max=65535)] = 8787,
) -> None:
    """Wait for files and turn them into features. Ctrl-C stops cleanly, a second one at once."""
    from featurestore.cli.run import run as start

    try:
        start(settings.project(), once=once, listen=(webhook_host, webhook_port))
    except KeyboardInterrupt as stopped:
        raise typer.Exit(130) from stopped


@app.command()
def rebuild(
    kind: Kind,
    name: Name,
    from_time: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--from", help="Only batches that were closed at or after this time."),
    ] = None,
    to_time: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--to", help="Only batches that were closed before this time."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", "--dry-run", help="Say what it takes, and begin nothing.")
    ] = False,
    without_gone: Annotated[
        bool, typer.Option("--without-gone", help="Leave out files that cannot be read any more.")
    ] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Give up the one that is under way.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: Output = None,
) -> None:
    """Run a pipeline's history again under its newest spec, or compute a view's rows again from its dataset.

    A runner does it, beside what is read, and promotes it at once.
    """
    from featurestore.cli import rebuild_pipeline
    from featurestore.cli.kind import find_kind
    from featurestore.cli.rebuild_view import rebuild_view
    from featurestore.errors import RequestError

    project = settings.project()
    if find_kind(kind, among=lambda kind: kind.has_data).noun == "view":
        if from_time or to_time or without_gone or cancel:
            raise RequestError(
                "a view is rebuilt as a whole, from its dataset",
                wanted="--plan alone",
                hint="`featurestore rebuild pipeline NAME` runs files again, and its views follow",
            )
        _print(rebuild_view(project, name, output, current_us(), record=not plan))
        return
    if cancel:
        _print(rebuild_pipeline.cancel(project, name, current_us()))
        return
    rebuild_plan = rebuild_pipeline.plan(project, name, from_time, to_time, current_us())
    _print(rebuild_pipeline.show(project, rebuild_plan, output))
    if plan:
        return
    if not without_gone:
        rebuild_plan.require_arrivals()
    if not yes:
        typer.confirm("Begin?", abort=True)
    _print(rebuild_pipeline.begin(project, rebuild_plan, without_gone=without_gone))


@app.command()
def delete(
    kind: Kind,
    name: Name,
    data: Annotated[bool, typer.Option("--data", help="Delete the data made from it as well.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete a pipeline or a view. Source files are never touched; data stays unless --data."""
    from featurestore.cli.delete import check_delete
    from featurestore.cli.delete import delete as remove

    project = settings.project()
    check_delete(project, kind, name)
    if data and not yes:
        typer.confirm(f"Delete {name!r} and all data made from it in {project.storage.root}?", abort=True)
    _print(remove(project, kind, name, data=data))


@app.command()
def features(
    names: Annotated[
        list[str],
        typer.Argument(
            help="view, view:feature, or a service",
            metavar="VIEW[:FEATURE]|SERVICE...",
            autocompletion=_features,
        ),
    ],
    entity: Annotated[
        list[str],
        typer.Option(
            "--entity",
            "-e",
            help="key=value[,key=value], key=value1,value2 for several entities, or JSON; may be repeated.",
            show_default=False,
        ),
    ],
    at: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--at",
            help="Time of a point-in-time read, such as 2013-01-02T10:00:00Z. Without it: online, now.",
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Read features of entities: online, or as they were at a time."""
    from featurestore.cli.features import features as show

    _print(show(settings.project(), names, entity, at, output))


@app.command()
def history(
    kind: Kind,
    name: Name,
    batch: Annotated[Optional[int], typer.Option("--batch", help="Show the files of this batch.")] = None,  # noqa: UP045
    limit: Annotated[int, typer.Option("--limit", help="Most commits to show.", min=1)] = 20,
    output: Output = None,
) -> None:
    """Show the commits of a pipeline or a view, or the files that a batch's rows come from."""
    from featurestore.cli.history import history as show

    _print(show(settings.project(), kind, name, batch, limit, output))


@app.command()
def logs(
    name: OptionalName = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep running, and print each event as it comes.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", help="Most events to show.", min=1)] = 50,
    output: Output = None,
) -> None:
    """Show what the runner of this folder did."""
    from featurestore.cli import logs as show

    if not follow:
        _print(show.logs(settings.project(), name, limit, output))
        return
    for text in show.follow(settings.project(), name, limit, output, _wait):
        _print(text)


@app.command()
def doctor(output: Output = None) -> None:
    """Check what has to work: extras, storage, online store, sources, serving versions. Say what to do."""
    from featurestore.cli.doctor import doctor as check

    if not check(settings.project(), output):
        sys.exit(1)


@app.command()
def explain(
    path: Annotated[
        str,
        typer.Argument(
            help="A kind, or a field of it: pipeline.spec.source",
            metavar="KIND[.FIELD]",
            autocompletion=_fields,
        ),
    ],
    recursive: Annotated[bool, typer.Option("--recursive", help="Show the fields of fields, too.")] = False,
    output: Output = None,
) -> None:
    """Show the fields of a kind: types, defaults and what they mean."""
    from featurestore.cli.explain import explain as show

    _print(show(path, output, recursive=recursive))


@app.command()
def schema() -> None:
    """Print the JSON Schema of all kinds, for editors that complete and check YAML."""
    from featurestore.resources.json_schema import json_schema_text

    typer.echo(json_schema_text(), nl=False)


Batch = Annotated[Optional[int], typer.Option("--batch", help="Only this batch.")]  # noqa: UP045
File = Annotated[Optional[int], typer.Option("--file", help="Only this file of the batch.")]  # noqa: UP045


@quarantine_app.command("ls")
def quarantine_ls(
    name: OptionalName = None,
    every: Annotated[bool, typer.Option("--all", help="Include entries that were run again.")] = False,
    output: Output = None,
) -> None:
    """List what each rule caught in each file."""
    from featurestore.cli.quarantine import ls

    _print(ls(settings.project(), name, every, output))


@quarantine_app.command("show")
def quarantine_show(
    name: Name,
    batch: Batch = None,
    file: File = None,
    rule: Annotated[Optional[str], typer.Option("--rule", help="Only this rule.")] = None,  # noqa: UP045
    limit: Annotated[int, typer.Option("--limit", help="Most rows to show.", min=1)] = 20,
    output: Output = None,
) -> None:
    """Show the rows that broke a rule, with the reason for each."""
    from featurestore.cli.quarantine import show

    _print(show(settings.project(), name, batch=batch, file=file, rule=rule, limit=limit, form=output))


@quarantine_app.command("replay")
def quarantine_replay(name: Name, batch: Batch = None, file: File = None) -> None:
    """Run quarantined files and rows again under the newest spec: exactly once, however often you ask."""
    from featurestore.cli.quarantine import replay

    _print(replay(settings.project(), name, batch=batch, file=file, now_us=current_us()))


@quarantine_app.command("dismiss")
def quarantine_dismiss(
    name: Name,
    because: Annotated[
        str | None, typer.Option("--because", help="Why it can be set aside. Required, and recorded.")
    ] = None,
    batch: Batch = None,
    file: File = None,
) -> None:
    """Close quarantine entries without running them again; they no longer count as open."""
    from featurestore.cli.quarantine import dismiss

    if because is None:
        raise typer.BadParameter("say why it can be set aside", param_hint="--because")
    _print(dismiss(settings.project(), name, because=because, batch=batch, file=file, now_us=current_us()))
