"""What the webhook answers: whether an object may be written, and what happens if it is.

A function of the request and of what is known. It refuses only what is wrong for a reason that several objects give
and that waiting cannot heal; the CRDs refuse what one object gives. What follows (what is built again, who reads it)
is a warning: ``kubectl apply --dry-run=server`` shows it before it is done.
https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from featurestore.errors import SpecError, did_you_mean
from featurestore.humanize import count
from featurestore.registry.changeset import Before, ChangeAction, plan
from featurestore.resources import FeatureStore, FeatureView, Resource
from featurestore.resources.kinds import KINDS, kind_of
from featurestore.resources.problem import all_of
from featurestore.resources.reference import KnownResources, check_each, check_references
from featurestore.resources.serving import ServingAuth
from featurestore_operator.kube.parse import parse
from featurestore_operator.namespaces.acceptance import Given

NAMED = 5
"""How many names a warning lists; the API server cuts long warnings."""


@dataclass(frozen=True, slots=True)
class Review:
    """The answer. ``message``: why not; ``warnings``: what follows, as sentences."""

    allowed: bool
    message: str = ""
    warnings: tuple[str, ...] = ()

    def to_dict(self, uid: str) -> dict[str, Any]:
        """The AdmissionReview that the API server expects, for the request of this uid."""
        response: dict[str, Any] = {"uid": uid, "allowed": self.allowed}
        if self.message:
            response["status"] = {"code": 422, "reason": "Invalid", "message": self.message}
        if self.warnings:
            response["warnings"] = list(self.warnings)
        return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


Names = Callable[[str], Collection[str]]
"""Names of all objects of a kind in the namespace."""


def _no_names(kind: str) -> Collection[str]:
    return ()


def review(request: Mapping[str, Any], known: Before | None, names: Names = _no_names) -> Review:
    """The answer to the ``request`` of an AdmissionReview. Changes nothing, so a dry run gets the same answer.

    ``known``: of the request's namespace; None if it cannot be told now (no store yet, or storage does not answer),
    and then nothing is refused. ``names``: asked for where something is named that is not there.
    """
    document = request.get("object") or {}
    before = request.get("oldObject") or {}
    if known is None or request["operation"] not in ("CREATE", "UPDATE", "DELETE"):
        return Review(True)
    if request["operation"] == "DELETE":
        return Review(True, warnings=tuple(_without(before, known)))
    # Whoever takes a label or a finalizer from an object that was wrong before must not be kept from it.
    if "deletionTimestamp" in document["metadata"] or document.get("spec") == before.get("spec"):
        return Review(True)
    try:
        resource = parse(KINDS[document["kind"]].model, document)
    except SpecError as error:
        return Review(False, str(error))
    if not kind_of(resource).only_one:
        problems = check_references([Given(resource)], _references(known))
        if problems:
            return Review(False, str(all_of(problems)))
    return Review(True, warnings=tuple(_follows(resource, known, names)))


def _references(known: Before) -> KnownResources:
    return KnownResources(
        resources=known.resources,
        schemas={name: dataset.columns for name, dataset in known.datasets.items() if dataset.columns},
        growing=True,
    )


def _follows(resource: Resource, known: Before, names: Names) -> Iterator[str]:
    """What happens if the resource is written."""
    name = f"{resource.kind} {resource.metadata.name!r}"
    for kind, other in known.missing(resource):
        yield f"{name} waits: there is no {kind} {other!r} yet{_hint(other, names(kind))}"
    if isinstance(resource, FeatureView) and (monitoring := resource.spec.monitoring) is not None:
        other = monitoring.reference.training_set
        if other not in (known_names := names("TrainingSet")):
            yield f"{name} is compared with nothing: there is no TrainingSet {other!r} yet{_hint(other, known_names)}"
    serving = resource.spec.serving if isinstance(resource, FeatureStore) else None
    if serving is not None and serving.auth is ServingAuth.NONE:
        yield f"{name} serves whoever reaches it every feature: spec.serving.auth is None"
    (change,) = plan([resource], known).changes
    if change.action is not ChangeAction.UPDATE:
        return
    if change.gone:
        yield f"{name} loses {_list(change.gone)}: its readers will not find it"
    if change.reads:
        yield f"{name} {change.reads}"
    for note in change.notes:
        yield f"{name}: {note}"
    if readers := known.readers(resource.kind, resource.metadata.name):
        yield f"{name} is read by {_list(_shown(readers))}"
    given = [Given(changed) for changed in (resource, *readers)]
    for reader, problems in check_each(given, _references(known)):
        for problem in problems if reader.resource is not resource else ():
            reading = reader.resource
            yield f"{reading.kind} {reading.metadata.name!r} becomes invalid: {problem}"


def _hint(name: str, names: Collection[str]) -> str:
    """The nearest of the names, as the end of a sentence; "" if none is near."""
    near = did_you_mean(name, names)
    return f". {near}" if near.startswith("Did") else ""


def _without(document: Mapping[str, Any], known: Before) -> Iterator[str]:
    """What happens if the object is deleted."""
    kind, name = document["kind"], document["metadata"]["name"]
    stuck = [
        count(len(resources), row.name)
        for row in KINDS.values()
        if row.has_data and (resources := known.all(row.model))
    ]
    if KINDS[kind].only_one and stuck:
        yield f"{' and '.join(stuck)} stop without a {kind}; the data in storage stays"
    if readers := known.readers(kind, name):
        then = "without it, it gets no new rows" if kind == "DataPipeline" else "they will not find it"
        yield f"{kind} {name!r} is read by {_list(_shown(readers))}: {then}"
    if (document.get("spec") or {}).get("deletionPolicy") == "Delete":
        yield f"The data of {kind} {name!r} is deleted with it (spec.deletionPolicy: Delete)"


def _shown(resources: Iterable[Resource]) -> list[str]:
    """Views first: most ask for those."""
    named = sorted(
        resources, key=lambda resource: (-list(KINDS).index(resource.kind), resource.metadata.name)
    )
    return [f"{resource.kind} {resource.metadata.name!r}" for resource in named]


def _list(names: Collection[str]) -> str:
    """The names, or the first of them if there are many.

    >>> _list(["a", "b"]), _list(["a", "b", "c", "d", "e", "f", "g"])
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    shown = ", ".join(list(names)[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
