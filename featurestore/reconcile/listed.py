"""How a resource stands that is a mere list: nothing is made of it, so it is ready when what it names is there.

A list that sums up (see the table of kinds) is ready when all of that is ready, and as fresh as the stalest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from featurestore.errors import SpecError
from featurestore.reconcile.conditions import Condition, false, true, unknown
from featurestore.reconcile.reasons import Reason
from featurestore.registry.registry import Accepted, Registry
from featurestore.resources import FeatureService, OnDemandView, Resource, View
from featurestore.resources.feature_check import count_features
from featurestore.resources.kinds import KINDS, ResourceKind, kind_of, references
from featurestore.resources.node import path_text
from featurestore.resources.problem import all_of
from featurestore.resources.reference import KnownResources, check_references
from featurestore.resources.status import ConditionStatus


@dataclass(frozen=True, slots=True)
class MemberState:
    """How a resource that a list names is doing. ``watermark_us``: greatest event time; None while it has no row."""

    ready: Condition
    watermark_us: int | None = None


Ask = Callable[[ResourceKind, str], MemberState | None]
"""How a resource of a kind and name stands; None if nobody has seen it yet."""


@dataclass(frozen=True, slots=True)
class ListState:
    """``facts``: fields of its status. ``watermark_us``: of the stalest that it names, if it sums that up."""

    ready: Condition
    facts: dict[str, Any] = field(default_factory=dict)
    watermark_us: int | None = None


@dataclass(frozen=True, slots=True)
class _Accepted:
    """An accepted resource: its fields are named by their paths."""

    resource: Resource

    def where(self, *path: str | int) -> str:
        return path_text(path)


def list_state(accepted: Accepted[Resource], registry: Registry, ask: Ask) -> ListState:
    """How the list stands.

    Raises:
        StorageError: storage did not answer.
    """
    resource = accepted.resource
    named = dict.fromkeys((KINDS[kind], name) for kind, _, name in references(resource))
    accepted_ones = registry.named(resource)
    known = {(resource.kind, resource.metadata.name) for resource in accepted_ones}
    missing = [(kind, name) for kind, name in named if (kind.name, name) not in known]
    facts: dict[str, Any] = {}
    if isinstance(resource, FeatureService):
        views = {resource.metadata.name: resource for resource in accepted_ones if isinstance(resource, View)}
        facts["features"] = count_features(resource.spec.features, views.get)
    if missing:
        return ListState(_missing(missing), facts)
    if not (kind_of(resource).sums_up or isinstance(resource, OnDemandView)):
        return ListState(true("Ready", Reason.UP_TO_DATE, "All that it refers to exists."), facts)
    if problems := check_references([_Accepted(resource)], KnownResources(accepted_ones, growing=True)):
        # What it names has changed since it was accepted.
        return ListState(_broken(problems), facts)
    members = {key: ask(*key) for key in named}
    watermarks = [member.watermark_us if member else None for member in members.values()]
    return ListState(_summed_up(members), facts, _oldest(watermarks))


def _missing(missing: Sequence[tuple[ResourceKind, str]]) -> Condition:
    names = ", ".join(sorted({f"{kind.noun} {name!r}" for kind, name in missing}))
    return false("Ready", Reason.RESOURCE_MISSING, f"It refers to resources that do not exist: {names}.")


def _broken(problems: Sequence[SpecError]) -> Condition:
    return false("Ready", Reason.SPEC_INVALID, f"What it refers to has changed: {all_of(problems)}.")


def _summed_up(members: dict[tuple[ResourceKind, str], MemberState | None]) -> Condition:
    waits = [
        f"{kind.noun} {name!r} ({member.ready.reason if member else Reason.NOT_OBSERVED})"
        for (kind, name), member in members.items()
        if member is None or member.ready.status is not ConditionStatus.TRUE
    ]
    if not waits:
        return true("Ready", Reason.UP_TO_DATE, "All that it refers to is ready.")
    message = f"Not ready: {', '.join(waits)}."
    known = [member.ready.status for member in members.values() if member]
    if len(known) < len(members) or ConditionStatus.FALSE not in known:
        return unknown("Ready", Reason.WAITING, message)
    return false("Ready", Reason.WAITING, message)


def _oldest(watermarks: Sequence[int | None]) -> int | None:
    """The oldest; None while there is nothing of one of them."""
    known = [watermark for watermark in watermarks if watermark is not None]
    return min(known) if known and len(known) == len(watermarks) else None
