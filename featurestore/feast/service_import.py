"""Feature services of Feast as ours."""

from __future__ import annotations

from collections.abc import Mapping

from featurestore.feast.remark import LeftOut, Remarks
from featurestore.feast.repository import FeastService, Projection
from featurestore.feast.resource_draft import ResourceDraft, check, draft
from featurestore.feast.resource_names import ResourceNames
from featurestore.feast.view_import import ImportedView
from featurestore.resources.metadata import resource_name


def import_service(
    service: FeastService, views: Mapping[str, ImportedView], names: ResourceNames, remarks: Remarks
) -> ResourceDraft:
    """The service with those of its features that are here. ``views``: by their names in Feast.

    Raises:
        LeftOut: nothing of it is left.
    """
    features: list[str | ResourceDraft] = []
    for part in service.features:
        view = views.get(part.view)
        if view is None:
            remarks.say("FeatureService", service.name, f"is without {part.view}, which is left out")
            continue
        if part.version:
            remark = f"reads {part.view} as the files define it, and not version {part.version}"
            remarks.say("FeatureService", service.name, remark)
        wanted = part.features or tuple(view.features)
        if missing := [name for name in wanted if name not in view.features]:
            remark = f"is without {part.view}:{', '.join(missing)}, which is left out"
            remarks.say("FeatureService", service.name, remark)
        features += _selections(
            part, view, [view.features[name]["name"] for name in wanted if name in view.features]
        )
    if not features:
        raise LeftOut("no feature of it is left")
    document = draft(
        "FeatureService", names.new(service.name), {"features": features}, service, "FeatureService", remarks
    )
    check(document)
    name = document["metadata"]["name"]
    if resource_name(service.name) != name:
        remarks.say("FeatureService", service.name, f"is named {name}: calls must say so")
    if service.logged:
        remarks.say("FeatureService", service.name, "does not log what is read")
    return document


def _selections(part: Projection, view: ImportedView, names: list[str]) -> list[str | ResourceDraft]:
    """Items of ``features`` for these of a view."""
    if not names:
        return []
    if not part.alias and not part.keys:
        every = len(names) == len(view.features)
        return [f"{view.name}:*"] if every else [f"{view.name}:{name}" for name in names]
    selection: ResourceDraft = {"view": view.name}
    if part.alias:
        selection["as"] = part.alias
    if part.keys:
        selection["joinKeyMap"] = dict(part.keys)
    return [{**selection, "features": names}]
