"""What is wanted and what is there, as values. Observing fills these in; ``reconcile`` compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from featurestore.arrivals.isolation import Isolation
from featurestore.arrivals.manifest import OpenBatch, Waiting
from featurestore.arrivals.rebuild import RebuildProgress
from featurestore.online.consistency import Consistency
from featurestore.quarantine.tally import OpenQuarantine
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline, FeatureView, FeatureViewSpec
from featurestore.resources.outputs import build_digest
from featurestore.retry import FailureStreak
from featurestore.training.view_drift import ViewDrift
from featurestore.views.build_trials import BuildIsolation
from featurestore.views.builds import ActiveBuild, BuildResult
from featurestore.views.commit_teller import EventDelivery
from featurestore.views.rebuilds import ViewRebuild


@dataclass(frozen=True, slots=True)
class Desired:
    """The accepted resources by folder of their kind and name. ``draining``: an open batch is closed at once.

    ``unreadable``: ``<folder>/<name>`` to why what was accepted cannot be read.
    """

    resources: Mapping[str, Mapping[str, Accepted[Any]]]
    draining: bool = False
    unreadable: Mapping[str, FailureStreak] = field(default_factory=dict)

    @property
    def pipelines(self) -> Mapping[str, Accepted[DataPipeline]]:
        return self.resources.get("pipelines", {})

    @property
    def views(self) -> Mapping[str, Accepted[FeatureView]]:
        return self.resources.get("views", {})


@dataclass(frozen=True, slots=True)
class ObservedPipeline:
    """What there is of one pipeline.

    ``uid``: of its dataset, which is another one after each rebuild.
    ``head``: greatest manifest; ``done``: greatest batch with a result;
    ``dataset_version``: what that batch committed, None before the first. ``checkpoint_is_due``: of the
    ledger. ``open``: what the next batch would take; ``full``: nothing more fits into it. ``waiting``: all that waits.
    ``source``: why the source cannot be listed. ``files_refused``, ``rows_refused``: what batch ``done`` refused,
    rule to number. ``took_nothing``: whether that batch took no row, and refused some. ``quarantine``: what is open.
    ``done_us``: when it was committed. ``pending_us``: since when batch ``done + 1`` is to be run; None if none is.
    ``isolation``: which attempt at batch ``done + 1`` is due. ``rebuild``: the one that is under way.
    """

    uid: str
    head: int
    done: int
    dataset_version: int | None
    checkpoint_is_due: bool = False
    open: OpenBatch | None = None
    full: bool = False
    waiting: Waiting | None = None
    source: FailureStreak | None = None
    files_refused: Mapping[str, int] = field(default_factory=dict)
    took_nothing: bool = False
    quarantine: OpenQuarantine = field(default_factory=OpenQuarantine)
    rows_refused: Mapping[str, int] = field(default_factory=dict)
    isolation: Isolation = field(default_factory=Isolation)
    rebuild: RebuildProgress | None = None
    done_us: int | None = None
    pending_us: int | None = None


@dataclass(frozen=True, slots=True)
class ObservedView:
    """What there is of one view.

    ``serving_spec``: the resource that readers use now. ``builds``: digest to how far it has come, of those
    that serve or are wanted. ``published``: digest to the version that the online store holds.
    ``entities``: digest to how many it holds of it. ``online``: why the online store cannot be asked;
    ``published`` then says nothing. ``quarantine``: what is open of the build that serves, else of the wanted one.
    ``rebuild``: the last request to rebuild it. ``isolations``: digest of a build that crashed to what is attempted next.
    ``drifts``: digest to what was last measured of it. ``reference``: newest version of the training set that it is
    compared with. Both only if the spec asks for it. ``consistencies``: digest to what was found when it was last published.
    ``delivery``: how telling of its commits fares; None if nobody is told.
    """

    serving: ActiveBuild | None = None
    serving_spec: FeatureViewSpec | None = None
    builds: Mapping[str, BuildResult] = field(default_factory=dict)
    published: Mapping[str, int] = field(default_factory=dict)
    entities: Mapping[str, int] = field(default_factory=dict)
    online: FailureStreak | None = None
    quarantine: OpenQuarantine = field(default_factory=OpenQuarantine)
    rebuild: ViewRebuild | None = None
    isolations: Mapping[str, BuildIsolation] = field(default_factory=dict)
    drifts: Mapping[str, ViewDrift] = field(default_factory=dict)
    reference: int | None = None
    consistencies: Mapping[str, Consistency] = field(default_factory=dict)
    delivery: EventDelivery | None = None

    def wanted(self, spec: FeatureViewSpec, uid: str) -> str:
        """Digest of the build that the view is to be read from. ``uid``: of its pipeline's ledger."""
        return build_digest(spec, uid, self.rebuild.number if self.rebuild else 0)


class ObservedResource(Protocol):
    """What there is of a resource of which storage tells all. ``facts``: fields of its status."""

    @property
    def facts(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Observed:
    """What there is, by folder of its kind and name: for a view an :class:`ObservedView`, and so on.

    A resource that could not be observed stands there with the failure, never as absent.

    ``attempts``: key of a step to its failures in a row. ``running`` and ``waiting``: key of a step that somebody
    does already, or is about to but cannot yet, to a sentence about it; such a step is not planned again. Instead of
    a step's key it may be ``pipeline/<name>`` or ``view/<name>``: all steps of that resource. ``queued``: key of a step
    that would be begun if it were its turn, to what says so; it is not planned again either. ``stuck``: those of ``waiting``
    that wait for longer than is usual, or will until somebody mends something.
    """

    resources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    attempts: Mapping[str, FailureStreak] = field(default_factory=dict)
    running: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)
    queued: Mapping[str, str] = field(default_factory=dict)
    stuck: Mapping[str, str] = field(default_factory=dict)

    @property
    def pipelines(self) -> Mapping[str, ObservedPipeline | FailureStreak]:
        return self.resources.get("pipelines", {})

    @property
    def views(self) -> Mapping[str, ObservedView | FailureStreak]:
        return self.resources.get("views", {})
