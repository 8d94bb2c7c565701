"""Versions of training sets on the screen: those that there are, and what changed between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from featurestore.cli.output import OutputFormat

if TYPE_CHECKING:
    from featurestore.storage.objects import Storage
    from featurestore.training.training_manifest import TrainingManifest

_SHOWN = 60


def diff(
    name: Annotated[str, typer.Argument(help="Name of the training set.")],
    versions: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Two versions, by number or digest; else the newest and the one before."),
    ] = None,
    output: Annotated[
        Optional[OutputFormat],  # noqa: UP045
        typer.Option("--output", "-o", help="json or yaml, for machines."),
    ] = None,
) -> None:
    """Show what changed between two versions of a training set: features, rows, statistics."""
    from featurestore.cli.app import settings
    from featurestore.cli.output import columns, dump, screen_width
    from featurestore.printable import printable
    from featurestore.training.version_diff import version_changes

    one, other = _two(settings.project().storage, name, versions or [])
    changes = list(version_changes(one, other))
    if output in (OutputFormat.JSON, OutputFormat.YAML):
        typer.echo(dump([change.to_dict() for change in changes], output))
    elif not changes:
        typer.echo("The two versions are the same.")
    else:
        rows = [
            [change.about, change.what, _shown(change.old_text), _shown(change.new_text)]
            for change in changes
        ]
        typer.echo(printable(columns(["ABOUT", "WHAT", one.digest, other.digest], rows, screen_width())))


def _two(storage: Storage, name: str, asked: list[str]) -> tuple[TrainingManifest, TrainingManifest]:
    from featurestore.errors import RequestError
    from featurestore.training.training_versions import complete_numbers, find_manifest

    if not asked:
        asked = [str(number) for number in complete_numbers(storage, name)[-2:]]
    if len(asked) != 2:
        raise RequestError("a difference is of two versions", got=", ".join(asked) or "none")
    one, other = asked
    return find_manifest(storage, name, one)[1], find_manifest(storage, name, other)[1]


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def version_sections(storage: Storage, name: str) -> list[tuple[str, str]]:
    """Sections of the page of a training set: what stands in its newest version, and which others there are.

    Raises:
        StorageError: storage did not answer.
    """
    from featurestore.cli.output import columns
    from featurestore.humanize import format_time, size
    from featurestore.training.trained_models import noted_models
    from featurestore.training.training_versions import complete_numbers, read_manifest, read_result

    results = [read_result(storage, name, number) for number in reversed(complete_numbers(storage, name))]
    known = [result for result in results if result is not None]
    if not known:
        return []
    rows = [
        [
            result.number,
            result.digest,
            format_time(result.finished_us),
            f"{result.rows:,}",
            size(result.size_bytes),
            "erased from" if result.is_erased_from else "",
        ]
        for result in known
    ]
    sections = [("Versions", columns(["VERSION", "DIGEST", "MADE", "ROWS", "SIZE", "NOTE"], rows))]
    noted = noted_models(storage, name)
    models = [
        [model.name, model.model_version or "-", model.version, format_time(model.logged_us), model.uri]
        for model in noted.models
    ]
    models += [["cannot be read", "-", "-", "-", path] for path in noted.damaged]
    if models:
        sections.append(("Models", columns(["MODEL", "VERSION", "TRAINED ON", "LOGGED", "URI"], models)))
    manifest = read_manifest(storage, name, known[0].digest)
    if manifest is None:
        return sections
    parts = [
        [
            part.name,
            f"{part.rows:,}",
            len(part.shards),
            size(part.size_bytes),
            f"{part.rows_without_features:,}",
        ]
        for part in manifest.parts
    ]
    sections.append(("Parts", columns(["PART", "ROWS", "SHARDS", "SIZE", "WITHOUT FEATURES"], parts)))
    classes = [[part, label, value, f"{rows:,}"] for part, label, value, rows in manifest.classes()]
    if classes:
        sections.append(("Classes", columns(["PART", "LABEL", "VALUE", "ROWS"], classes)))
    if manifest.leaks:
        leaks = [[leak.feature, leak.label, f"{leak.rows:,}"] for leak in manifest.leaks]
        sections.append(("Equal to a label", columns(["FEATURE", "LABEL", "ROWS"], leaks)))
    return sections
