"""Which spec runs: the given one if it is valid, else the last good one; and what is wrong with the given one.

What an object says about itself was checked by the API server. Here is what needs others: columns of a dataset,
tables that are looked up, expressions. What is named and is not there yet is not a mistake in a cluster, where things
are applied in any order; ``reconcile`` says that it is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from featurestore.errors import SpecError
from featurestore.registry.registry import Accepted, Registry, resource_digest
from featurestore.resources import DataPipeline, FeatureView, Resource
from featurestore.resources.feature_check import same_name
from featurestore.resources.immediate_check import is_immediate
from featurestore.resources.kinds import kind_of
from featurestore.resources.node import path_text
from featurestore.resources.problem import all_of
from featurestore.resources.reference import KnownResources, check_references
from featurestore_operator.kube.parse import has_place, parse

R = TypeVar("R", bound=Resource)
Columns = Callable[[str], Mapping[str, str] | None]
"""Columns of a pipeline's dataset, with the names of their types; None before its first commit. Asked only if a spec is new."""


@dataclass(frozen=True, slots=True)
class SpecDecision(Generic[R]):
    """``accepted``: what runs; None if nothing good was ever given. ``problem``: what is wrong with what is given."""

    accepted: Accepted[R] | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """A resource as the cluster has it: its fields are named by their paths."""

    resource: Resource

    def where(self, *path: str | int) -> str:
        return path_text(path)


def decide(
    model: type[R],
    document: dict[str, Any],
    registry: Registry,
    columns: Columns,
    twin: dict[str, Any] | None = None,
) -> SpecDecision[R]:
    """Which spec of the object runs.

    ``twin``: the object of its name that is there as well and must not be: the older of both keeps the name.

    Raises:
        StorageError: storage did not answer.
    """
    try:
        given = parse(model, document)
        if twin is not None and _age(twin) < _age(document):
            raise all_of(list(same_name(Given(given), given)))
        return SpecDecision(_accepted(given, registry, columns))
    except SpecError as error:
        last = registry.current(model, document["metadata"]["name"])
        # A laptop with the same storage may have recorded what has a meaning only there.
        usable = last is not None and has_place(last.resource)
        return SpecDecision(last if usable else None, str(error))


def _age(document: dict[str, Any]) -> tuple[str, int]:
    """The lesser, the older. Of those of one second the view is."""
    return document["metadata"]["creationTimestamp"], 0 if document["kind"] == "FeatureView" else 1


def _accepted(given: R, registry: Registry, columns: Columns) -> Accepted[R]:
    """The resource, which is the accepted one from now on.

    Raises:
        SpecError: something that it says of others is wrong.
    """
    digest = resource_digest(given)
    if kind_of(given).cluster_only:
        # Its object is all that there is of it.
        return Accepted(digest, given)
    if not registry.is_accepted(type(given), given.metadata.name, digest):
        named = registry.named(given)
        if isinstance(given, FeatureView) and is_immediate(given.spec) and (store := registry.store()):
            named.append(store)
        _check(given, named, columns)
        registry.accept(given)
    return Accepted(digest, given)


def _check(
    given: Resource,
    named: Collection[Resource],
    columns: Columns,
) -> None:
    """Raise SpecError unless everything that it names is right.

    Raises:
        SpecError: something is wrong; all of it is said.
    """
    pipelines = {resource.metadata.name for resource in (given, *named) if isinstance(resource, DataPipeline)}
    had = {name: columns(name) for name in pipelines}
    schemas = {name: schema for name, schema in had.items() if schema is not None}
    problems = check_references([Given(given)], KnownResources(named, schemas, growing=True))
    if problems:
        raise all_of(problems)
