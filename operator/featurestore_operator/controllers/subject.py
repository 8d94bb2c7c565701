"""What a look is at, and what it comes to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from featurestore.reconcile.conditions import Condition
from featurestore.registry.registry import Accepted
from featurestore.resources import Resource
from featurestore.retry import FailureStreak
from featurestore_operator.controllers.rebuild_request import requested
from featurestore_operator.jobs.job_manifest import RETRY, Owner
from featurestore_operator.namespaces.open_store import OpenStore

R_co = TypeVar("R_co", bound=Resource, covariant=True)


@dataclass(frozen=True, slots=True)
class Subject(Generic[R_co]):
    """One object, the spec that runs of it, its store, and the Jobs that matter to it."""

    obj: dict[str, Any]
    accepted: Accepted[R_co]
    store: OpenStore
    jobs: Collection[dict[str, Any]]

    @property
    def namespace(self) -> str:
        return str(self.obj["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.obj["metadata"]["name"])

    @property
    def owner(self) -> Owner:
        """It, as the owner of its Jobs."""
        return Owner(self.accepted.resource.kind, self.name, str(self.obj["metadata"]["uid"]))

    @property
    def retry(self) -> str:
        """What asks to try again now what failed; "" if nothing does."""
        return requested(self.obj, RETRY)


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """What a look came to: conditions, other facts of the status, the failure that stands, when to look again (µs)."""

    conditions: tuple[Condition, ...]
    facts: dict[str, Any]
    failing: FailureStreak | None
    next_us: int | None
    online_version: int | None = None
    """Version of a view's table that the online store holds."""
    rests: bool = False
    """There is nothing to do or to wait for but new files: until then, another look would change nothing."""
