"""``featurestore plan`` and ``featurestore apply``: what resources change, shown and done by the same code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from featurestore.arrivals.ledger import Ledger
from featurestore.cli.output import OutputFormat, dump
from featurestore.cli.try_out import (
    TriedPipeline,
    other_views,
    pipeline_lines,
    problems_of,
    try_out,
    view_line,
    with_trials,
)
from featurestore.errors import FeatureStoreError, SpecError
from featurestore.printable import printable
from featurestore.registry import changeset
from featurestore.registry.changeset import Before, ChangeAction, Changeset, Dataset, left_out
from featurestore.registry.project import Project, open_project
from featurestore.resources import DataPipeline, FeatureStore, FeatureView, Resource, TrainingSet
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
    trying: bool = True,
) -> None:
    """Print what applying the files changes, and with ``record`` do it.

    ``find`` gives the project if no FeatureStore stands in the files. ``prune``: what was accepted and is not in
    the files is deleted, but its data stays. ``trying``: what changes is tried on files that are there.

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
        resources=[project.store, *(resource for resource in before.resources if resource not in deleted)],
        schemas={name: dataset.columns for name, dataset in before.datasets.items()},
        folders=[project.folder],
        broken=loaded.broken,
    )
    loaded.check(
        [*check_references(loaded.declared, known), *_outside(loaded, project), *_of_clusters(loaded)]
    )
    planned = changeset.plan((*_unrecorded_store(loaded, project), *loaded.resources), before, prune=prune)
    trials = try_out(project, planned, before) if trying else {}
    loaded.check(problems_of(loaded, trials, check_references(loaded.declared, with_trials(known, trials))))
    if record:
        changeset.apply(planned, project.registry)
        for one in planned.changes:
            if one.action is ChangeAction.DELETE:
                folder = kind_of(one.resource).folder
                project.storage.delete(paths.status(folder, one.resource.metadata.name))
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        tried = [trial.to_dict(name) for name, trial in trials.items()]
        print(dump({**planned.to_dict(), "tried": tried}, form))
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in lines(planned, trials):
        console.print(line)
    console.print(_conclusion(planned, record=record))
    if any(trial.takes_nothing for trial in trials.values()):
        console.print("Nothing would be taken as it stands: see what is marked with !.", style="yellow")


def _of_clusters(loaded: Loaded) -> Iterator[SpecError]:
    """What nobody would do here."""
    for one in loaded.declared:
        if kind_of(one.resource).cluster_only:
            yield SpecError(
                f"an {one.resource.kind} is for a cluster",
                where=one.where("kind"),
                hint="Here it is a command: `featurestore erase --help`",
            )


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
        uri: str | None = None
        if isinstance(one.resource, DataPipeline):
            source = one.resource.spec.source
            uri, where = source.place, one.where("spec", "source", source.kind)
        if isinstance(one.resource, TrainingSet):
            uri, where = one.resource.spec.labels.uri, one.where("spec", "labels", "uri")
        if uri is not None:
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


def lines(planned: Changeset, trials: Mapping[str, TriedPipeline]) -> Iterator[Text]:
    """The changes as they are printed: ``+`` is new, ``~`` changes, ``-`` is removed, ``=`` stays, ``!`` takes nothing."""
    shown = {
        change.resource.metadata.name
        for change in planned.changes
        if isinstance(change.resource, FeatureView)
    }
    for one in planned.changes:
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
        yield from _tried(one.resource, trials, shown)


def _tried(resource: Resource, trials: Mapping[str, TriedPipeline], shown: set[str]) -> Iterator[Text]:
    match resource:
        case DataPipeline() if resource.metadata.name in trials:
            yield from pipeline_lines(trials[resource.metadata.name])
            yield from other_views(trials[resource.metadata.name], shown)
        case FeatureView() if resource.spec.source.pipeline in trials:
            line = view_line(resource.metadata.name, trials[resource.spec.source.pipeline])
            if line is not None:
                yield line


def _conclusion(planned: Changeset, *, record: bool) -> str:
    numbers = (
        f"{planned.count(ChangeAction.CREATE)} new, {planned.count(ChangeAction.UPDATE)} changed, "
        f"{planned.count(ChangeAction.UNCHANGED)} unchanged"
    )
    if deleted := planned.count(ChangeAction.DELETE):
        numbers += f", {deleted} deleted"
    if not record:
        done = (
            "Nothing is recorded yet: `featurestore apply` does it"
            if not planned.is_empty
            else "Nothing to do"
        )
    else:
        done = (
            "All is recorded, and `featurestore run` does the rest"
            if not planned.is_empty
            else "Nothing to do"
        )
    return f"{numbers}. {done}."
