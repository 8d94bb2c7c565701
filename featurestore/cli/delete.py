"""``featurestore delete``: resources, and on request their data."""

from __future__ import annotations

from contextlib import suppress

from featurestore.cli.kind import find_kind
from featurestore.errors import Damaged, RequestError, SpecError
from featurestore.online.index import open_index
from featurestore.overview.summary import accepted_resource
from featurestore.registry.project import Project
from featurestore.resources import OnDemandView, View
from featurestore.resources.kinds import KINDS, ResourceKind, references
from featurestore.storage import paths


def check_delete(project: Project, word: str, name: str) -> None:
    """Raises an error unless the resource can be deleted.

    Raises:
        NotFound: there is no such resource.
        RequestError: others read it.
    """
    kind = find_kind(word)
    # One that cannot be read can be deleted.
    with suppress(Damaged, SpecError):
        accepted_resource(project, kind, name)
    readers = _readers(project, kind, name)
    if readers:
        raise RequestError(
            f"the {kind.noun} {name!r} is read by others",
            wanted=f"a {kind.noun} that nothing reads",
            got=", ".join(readers),
            hint="Delete these first, or let them read something else",
        )


def delete(project: Project, word: str, name: str, *, data: bool) -> str:
    """Remove the resource, and all data made from it if ``data`` says so. Returns what to print.

    Source files are never touched.

    Raises:
        NotFound: there is no such resource.
        RequestError: others read it.
    """
    check_delete(project, word, name)
    kind, storage = find_kind(word), project.storage
    on_demand = _is_on_demand(project, kind, name)
    # The resource goes first: a runner that looks now leaves its data alone.
    project.registry.remove(kind.model, name)
    storage.delete(paths.status(kind.folder, name))
    if not kind.has_data or on_demand:
        return f"{kind.noun} {name!r} deleted"
    if not data:
        return f"{kind.noun} {name!r} deleted. Its data stays in {storage.root}"
    if kind.model is View:
        _drop_online(project, name)
    project.registry.delete_data(kind.model, name)
    return f"{kind.noun} {name!r} deleted, with all its data"


def _is_on_demand(project: Project, kind: ResourceKind, name: str) -> bool:
    """Whether it is a view that nothing is stored of."""
    if kind.model is not View:
        return False
    with suppress(Damaged, SpecError):
        return project.registry.current(OnDemandView, name) is not None
    return False


def _readers(project: Project, kind: ResourceKind, name: str) -> list[str]:
    """What refers to the resource: views first, since they are deleted first."""
    return [
        f"{other.noun} {reader!r}"
        for other in reversed(KINDS.values())
        if any(reference.kind == kind.name for reference in other.references)
        for reader, accepted in project.registry.all(other.model).items()
        if (other, reader) != (kind, name)
        and any(named == (kind.name, name) for named in ((k, n) for k, _, n in references(accepted.resource)))
    ]


def _drop_online(project: Project, view: str) -> None:
    store = (project.registry.store() or project.store).spec
    index = open_index(project.storage, store)
    for name in project.storage.names(paths.builds(view)):
        index.delete(view, name.removesuffix(".json"))
