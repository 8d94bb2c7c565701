"""``featurestore delete``: resources, and on request their data."""

from __future__ import annotations

from featurestore.cli.kind import kind_of
from featurestore.cli.summary import pipeline_summary, view_summary
from featurestore.errors import RequestError
from featurestore.online.index import open_index
from featurestore.registry.project import Project
from featurestore.storage import paths


def check_delete(project: Project, word: str, name: str) -> None:
    """Nothing, if the resource can be deleted.

    Raises:
        NotFound: there is no such resource.
        RequestError: others read it.
    """
    if kind_of(word) == "views":
        view_summary(project, name)
        return
    pipeline_summary(project, name)
    views = [
        view
        for view, accepted in project.registry.views().items()
        if accepted.resource.spec.source.pipeline == name
    ]
    lookups = [
        other
        for other, accepted in project.registry.pipelines().items()
        if other != name and name in accepted.resource.spec.looked_up
    ]
    readers = [f"view {view!r}" for view in views] + [f"pipeline {other!r}" for other in lookups]
    if readers:
        raise RequestError(
            f"the pipeline {name!r} is read by others",
            wanted="a pipeline that nothing reads",
            got=", ".join(readers),
            hint="Delete these first, or let them read something else",
        )


def delete(project: Project, word: str, name: str, *, data: bool) -> str:
    """Remove the resource, and all data made from it if ``data`` says so; what to print.

    Source files are never touched.

    Raises:
        NotFound: there is no such resource.
        RequestError: others read it.
    """
    check_delete(project, word, name)
    kind, storage = kind_of(word), project.storage
    # The resource goes first: a runner that looks now leaves its data alone.
    project.registry.remove(kind, name)
    storage.delete(paths.status(kind, name))
    noun = "view" if kind == "views" else "pipeline"
    if not data:
        return f"{noun} {name!r} deleted. Its data stays in {storage.root}"
    if kind == "views":
        _drop_online(project, name)
    for folder in paths.data(kind, name):
        storage.delete(folder)
    return f"{noun} {name!r} deleted, with all its data"


def _drop_online(project: Project, view: str) -> None:
    store = (project.registry.store() or project.store).spec
    index = open_index(project.storage, store)
    for name in project.storage.names(paths.builds(view)):
        index.delete(view, name.removesuffix(".json"))
