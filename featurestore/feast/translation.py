"""The resources that say what a Feast repository says, and remarks on what they do not say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from featurestore.feast.file_pipeline import FilePipeline, folder_of, outermost
from featurestore.feast.on_demand_import import OnDemandImport
from featurestore.feast.online_settings import online_store
from featurestore.feast.remark import LeftOut, Remark, Remarks
from featurestore.feast.repository import Described, Repository
from featurestore.feast.resource_draft import ResourceDraft, check, draft
from featurestore.feast.resource_names import ResourceNames
from featurestore.feast.service_import import import_service
from featurestore.feast.view_import import ImportedView, ViewImport
from featurestore.resources.metadata import resource_name

_ELSEWHERE = {
    "LabelView": "labels that people change are not features: give them as labels of the join, or land them as files",
    "Permission": "who may read what is said by Kubernetes' roles",
}


@dataclass(frozen=True)
class Translation:
    """``documents``: by kind, in the order in which they are applied. ``roots``: folders outside of the project
    that sources lie in. ``module``: the text of a module with functions that features call, "" if there are none.
    """

    documents: Mapping[str, list[ResourceDraft]]
    remarks: tuple[Remark, ...]
    roots: tuple[str, ...]
    module: str


def translate(repository: Repository, folder: Path) -> Translation:
    """Resources for what a repository defines, and remarks on the rest. ``folder``: where they are to be written.

    What no remark names means the same here. Each document is right by itself.
    """
    project = Path(os.path.abspath(folder))
    remarks = Remarks()
    importing = ViewImport(repository, remarks)
    views: dict[str, ImportedView] = {}

    def take(kind: str, name: str, make: Callable[[], ImportedView]) -> None:
        try:
            if name in views:
                raise LeftOut("another of this name is imported")
            views[name] = make()
        except LeftOut as why:
            remarks.leave_out(kind, name, str(why))

    for view in repository.views:
        take(view.kind, view.name, partial(importing.view, view))
    pipelines = {pipeline.name: pipeline for pipeline in importing.pipelines}
    documents: dict[str, list[ResourceDraft]] = {
        "FeatureStore": [_store(repository, remarks)],
        "DataPipeline": [],
    }
    roots = []
    for pipeline in pipelines.values():
        document = _pipeline(pipeline, views, project, remarks)
        if document is not None:
            documents["DataPipeline"].append(document)
            if os.path.isabs(document["spec"]["source"]["uri"]):
                roots.append(folder_of(pipeline.source))
    on_demand = OnDemandImport(views, importing.names, remarks)
    for computed in repository.on_demand:
        take("OnDemandFeatureView", computed.name, partial(on_demand.view, computed))
    documents["FeatureView"] = [view.document for view in views.values()]
    documents["FeatureService"] = list(_services(repository, views, remarks))
    _say_names(views.values(), remarks)
    _rest(repository, remarks)
    return Translation(documents, tuple(remarks.items), outermost(roots), on_demand.module)


def _store(repository: Repository, remarks: Remarks) -> ResourceDraft:
    online, why = online_store(repository.online)
    if why:
        remarks.say("online store", repository.online.get("type", ""), why)
    [project, *_] = repository.projects or (Described(name=""),)
    return draft(
        "FeatureStore",
        "default",
        {"offline": {"uri": "store"}, "online": online},
        project,
        "Project",
        remarks,
    )


def _pipeline(
    pipeline: FilePipeline, views: dict[str, ImportedView], project: Path, remarks: Remarks
) -> ResourceDraft | None:
    """Its document. None if no view is left that reads it, or if it is not right: then these views are left out as well."""
    source = pipeline.source
    reading = [
        name for name, view in views.items() if view.document["spec"]["source"]["pipeline"] == pipeline.name
    ]
    if not reading:
        return None
    document = pipeline.document(project, remarks)
    try:
        check(document)
    except LeftOut as why:
        remarks.leave_out(source.kind, source.name, str(why))
        for name in reading:
            remarks.leave_out(views.pop(name).kind, name, f"its source {source.name} is left out")
        return None
    if source.unreadable:
        remarks.say(
            source.kind,
            source.name,
            f"could not be read, so that types are those declared: {source.unreadable}",
        )
    if source.endpoint:
        remarks.say(
            source.kind, source.name, f"set AWS_ENDPOINT_URL={source.endpoint}, or name a Secret by secretRef"
        )
    return document


def _services(
    repository: Repository, views: Mapping[str, ImportedView], remarks: Remarks
) -> Iterator[ResourceDraft]:
    names = ResourceNames()
    for service in repository.services:
        try:
            yield import_service(service, views, names, remarks)
        except LeftOut as why:
            remarks.leave_out("FeatureService", service.name, str(why))


def _say_names(views: Iterable[ImportedView], remarks: Remarks) -> None:
    named = {view.name: view.view.name for view in views}
    for name, in_feast in named.items():
        meant = resource_name(in_feast)
        if meant != name:
            other = f", as {named[meant]} is {meant}" if meant in named else ""
            remarks.say("FeatureView", in_feast, f"is named {name}{other}: calls must say so")


def _rest(repository: Repository, remarks: Remarks) -> None:
    """Say what there is no place for."""
    for other in repository.others:
        remarks.leave_out(other.kind, other.name, _ELSEWHERE.get(other.kind, "there is nothing like it"))
    for entity in repository.entities:
        if entity.description or entity.tags or entity.owner:
            remarks.say("Entity", entity.name, "description, owner and tags of an entity have no place")
    read = {view.source for view in repository.views}
    for source in repository.sources:
        if source.batch is None and source.id not in read and source.kind != "RequestSource":
            remarks.leave_out(source.kind, source.name, "no feature view reads it")
