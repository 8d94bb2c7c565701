"""``featurestore plan`` and ``featurestore apply``: what resources change, shown and done by the same code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from featurestore.arrivals.ledger import Ledger
from featurestore.cli.output import OutputFormat, dump
from featurestore.errors import FeatureStoreError, SpecError
from featurestore.printable import printable
from featurestore.registry import changeset
from featurestore.registry.changeset import Before, ChangeAction, Changeset, Dataset, left_out
from featurestore.registry.project import Project, open_project
from featurestore.resources import DataPipeline, FeatureStore, Resource
from featurestore.resources.document import STDIN, Loaded, load
from featurestore.resources.kinds import kind_of
from featurestore.resources.location import check_source_folder
from featurestore.resources.reference import KnownResources, check_references
from featurestore.storage import paths

_MARKS = {
    ChangeAction.CREATE: ("+", "green"),
    ChangeAction.UPDATE: ("~", "yellow"),
    ChangeAction.UNCHANGED: ("=", "dim"),
    ChangeAction.DELETE: ("-", "red"),
}


def change(
    files: Sequence[Path],
    find: Callable[[], Project],
    form: OutputFormat | None,
    *,
    prune: bool,
    record: bool,
) -> None:
    """Print what applying the files changes, and with ``record`` do it.

    ``find`` gives the project if no FeatureStore stands in the files. ``prune``: what was accepted and is not in
    the files is deleted, but its data stays.

    Raises:
        SpecError: something is wrong, and nothing is recorded.
    """
    loaded = load(files)
    try:
        project = _project(loaded, find)
        before = _before(project)
    except FeatureStoreError:
        # Without the store nothing more can be checked; what is wrong in the files may be why.
        loaded.check()
        raise
    deleted = left_out(loaded.resources, before) if prune else []
    known = KnownResources(
        resources=[it for it in before.resources if it not in deleted],
        schemas={name: dataset.columns for name, dataset in before.datasets.items()},
        folders=[project.folder],
        broken=loaded.broken,
    )
    loaded.check([*check_references(loaded.declared, known), *_outside(loaded, project)])
    found = changeset.plan((*_unrecorded_store(loaded, project), *loaded.resources), before, prune=prune)
    if record:
        changeset.apply(found, project.registry)
        for one in found.changes:
            if one.action is ChangeAction.DELETE:
                folder = kind_of(one.resource).folder
                project.storage.delete(paths.status(folder, one.resource.metadata.name))
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        print(dump(found.to_dict(), form))
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in lines(found):
        console.print(line)
    console.print(_conclusion(found, record=record))


def _project(loaded: Loaded, find: Callable[[], Project]) -> Project:
    for one in loaded.declared:
        if isinstance(one.resource, FeatureStore) and one.file != STDIN:
            return open_project(one.file.parent.resolve(), {}, Path.cwd())
    return find()


def _unrecorded_store(loaded: Loaded, project: Project) -> Iterator[Resource]:
    """The project's own store, if it was never applied: without it, nobody finds what is applied."""
    named = any(isinstance(resource, FeatureStore) for resource in loaded.resources)
    if not named and project.registry.store() is None:
        yield project.store


def _outside(loaded: Loaded, project: Project) -> Iterator[SpecError]:
    """Sources that are on this machine, but neither in the project nor in a folder that was named."""
    for one in loaded.declared:
        if isinstance(one.resource, DataPipeline):
            uri, where = one.resource.spec.source.uri, one.where("spec", "source", "uri")
            try:
                check_source_folder(uri, project.folder, os.environ, where)
            except SpecError as problem:
                yield problem


def _before(project: Project) -> Before:
    datasets: dict[str, Dataset] = {}
    for name in project.storage.names("ledger"):
        result = Ledger(project.storage, name).last_result()
        if result is not None:
            datasets[name] = Dataset.after(result)
    return Before.of(project.registry, datasets)


def lines(found: Changeset) -> Iterator[Text]:
    """The changes as they are printed: ``+`` is new, ``~`` changes, ``-`` is removed, ``=`` stays."""
    for one in found.changes:
        mark, style = _MARKS[one.action]
        yield Text(f"{mark} {one.resource.kind} {one.resource.metadata.name!r}", style=style)
        for difference in one.differences:
            yield Text(printable(f"    {difference}"))
        for name in one.gone:
            yield Text(f"  - {name} is removed", style="red")
        if one.reads:
            yield Text(f"    {one.reads}")
        for note in one.notes:
            yield Text(f"    {note}.", style="dim")


def _conclusion(found: Changeset, *, record: bool) -> str:
    numbers = (
        f"{found.count(ChangeAction.CREATE)} new, {found.count(ChangeAction.UPDATE)} changed, "
        f"{found.count(ChangeAction.UNCHANGED)} unchanged"
    )
    if deleted := found.count(ChangeAction.DELETE):
        numbers += f", {deleted} deleted"
    if not record:
        done = (
            "Nothing is recorded yet: `featurestore apply` does it" if not found.is_empty else "Nothing to do"
        )
    else:
        done = (
            "All is recorded, and `featurestore run` does the rest" if not found.is_empty else "Nothing to do"
        )
    return f"{numbers}. {done}."
