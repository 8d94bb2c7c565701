"""The views that can be read: which build serves, and what it serves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from featurestore.errors import NotFound, did_you_mean
from featurestore.registry.registry import Accepted, Registry
from featurestore.resources import FeatureService, FeatureView, OnDemandView, OnDemandViewSpec, View
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import Output, outputs
from featurestore.storage.objects import Storage
from featurestore.views.builds import ActiveBuild, read_active_build


@dataclass(frozen=True, slots=True)
class ServedView:
    """A view as it is read now: its build, and the resource that describes it, of the digest ``spec_digest``."""

    name: str
    spec: FeatureViewSpec
    digest: str
    outputs: tuple[Output, ...]
    spec_digest: str


@dataclass(frozen=True, slots=True)
class ServedOnDemand:
    """A view that is computed when it is asked for. ``digest``: of the resource."""

    name: str
    spec: OnDemandViewSpec
    digest: str
    outputs: tuple[Output, ...]


class ServedViews:
    """The served views below one storage root.

    Definitions never change under their digest and are kept; pointers to them are read again when they are
    older than the caller bears. ``clock`` gives seconds from any beginning.
    """

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._registry = Registry(storage)
        self._clock = clock
        self._described: dict[tuple[str, ActiveBuild], ServedView] = {}
        self._seen: dict[str, tuple[float, ServedView | ServedOnDemand]] = {}
        self._services: dict[str, tuple[float, FeatureService | None]] = {}

    def get(self, name: str, max_age_s: float = 0.0) -> ServedView | ServedOnDemand:
        """The view as it is served, or as it was at most ``max_age_s`` ago.

        Raises:
            NotFound: there is no such view, or no build of it is complete.
            StorageError: storage did not answer.
        """
        now = self._clock()
        known = self._seen.get(name)
        if known is not None and now - known[0] < max_age_s:
            return known[1]
        accepted = self.accepted(name)
        resource = accepted.resource
        view: ServedView | ServedOnDemand | None
        if isinstance(resource, OnDemandView):
            view = ServedOnDemand(name, resource.spec, accepted.digest, outputs(resource.spec))
        else:
            view = self.find(name)
        if view is None:
            raise NotFound(
                f"the view {name!r} has no complete build yet",
                hint="`featurestore run` makes it; wait_fresh() waits for it",
            )
        self._seen[name] = (now, view)
        return view

    def forget(self) -> None:
        """Read all pointers again, however fresh they are."""
        self._seen.clear()
        self._services.clear()

    def find(self, name: str) -> ServedView | None:
        """The view as it is served; None while no build of it is complete."""
        serving = read_active_build(self._storage, name)
        if serving is None:
            return None
        known = self._described.get((name, serving))
        if known is None:
            spec = self._registry.get(FeatureView, name, serving.spec_digest).spec
            known = ServedView(name, spec, serving.digest, outputs(spec), serving.spec_digest)
            self._described[name, serving] = known
        return known

    def service(self, name: str, max_age_s: float = 0.0) -> FeatureService | None:
        """The service as it is accepted, or was at most ``max_age_s`` ago; None if there is none.

        Raises:
            StorageError: storage did not answer.
        """
        now = self._clock()
        known = self._services.get(name)
        if known is None or now - known[0] >= max_age_s:
            accepted = self._registry.current(FeatureService, name)
            self._services[name] = known = (now, accepted.resource if accepted else None)
        return known[1]

    def exists(self, name: str) -> bool:
        """Whether a view of this name is accepted."""
        return self._registry.accepted_digest(FeatureView, name) is not None

    def accepted(self, name: str) -> Accepted[View]:
        """The view as it was last accepted.

        Raises:
            NotFound: there is no such view.
        """
        view = self._registry.current(View, name)
        if view is None:
            names = [*self._registry.names(FeatureView), *self._registry.names(FeatureService)]
            raise NotFound(f"there is no view {name!r}", hint=did_you_mean(name, names))
        return view
