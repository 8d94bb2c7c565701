"""The plan of one training set: make a version when its definition, its data or the time asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from featurestore.arrivals.ledger import Ledger
from featurestore.digest import digest
from featurestore.humanize import count, format_time
from featurestore.protocol import Request, TrainingSetRequest
from featurestore.reconcile.conditions import Condition, ConditionType, false, true
from featurestore.reconcile.draft import PlanDraft
from featurestore.reconcile.job_pipeline import job_pipeline
from featurestore.reconcile.reasons import Reason
from featurestore.reconcile.state import ObservedPipeline
from featurestore.reconcile.steps import EngineStep
from featurestore.registry.registry import Accepted, Registry
from featurestore.resources import DataPipeline, FeatureService, FeatureView, OnDemandView, TrainingSet, View
from featurestore.resources.data_pipeline import Suspend
from featurestore.resources.feature_selection import FeatureSelection
from featurestore.resources.training_set import RefreshOn
from featurestore.retry import FailureStreak
from featurestore.storage.objects import Storage
from featurestore.timestamps import SECOND_US, duration_us
from featurestore.training.training_manifest import PinnedView
from featurestore.training.training_versions import (
    TrainingSetResult,
    complete_numbers,
    definition_of,
    last_checked_us,
    read_result,
    read_version,
    version_numbers,
)
from featurestore.views.builds import read_active_build, read_build

CONDITIONS: tuple[ConditionType, ...] = ("Ready", "Progressing", "Materialized", "Degraded")


@dataclass(frozen=True, slots=True)
class MakeVersion(EngineStep):
    """Make version ``number`` of a training set, of this definition.

    ``keep``: if set, that version is made, and only older ones than the newest so many are to be deleted.
    """

    yields_us: ClassVar[int] = 120 * SECOND_US
    uri_field: ClassVar[str] = "spec.labels.uri"
    training_set: str
    number: int
    definition: str
    keep: int = 0

    @property
    def subject(self) -> tuple[str, str]:
        return "trainingset", self.training_set

    @property
    def key(self) -> str:
        kept = f"/keep/{self.keep}" if self.keep else ""
        return f"version/{self.training_set}/{self.number}/{self.definition}{kept}"

    @property
    def description(self) -> str:
        if self.keep:
            return f"delete old versions of {self.training_set}"
        return f"make version {self.number} of {self.training_set}"

    def request(self, root: str, base: str = "/") -> Request:
        return TrainingSetRequest(root=root, base=base, name=self.training_set, number=self.number)


@dataclass(frozen=True, slots=True)
class ObservedTrainingSet:
    """What there is of one training set.

    ``definition``: digest of what is wanted; "" while what it names is not there. ``number``: of the version that would
    be made, or is being made. ``begun``: whether it is. ``newest``: what the newest complete one became, ``versions``
    how many are complete. ``is_stale``: whether views or labels have other commits than that is made of.
    ``checked_us``: when that was last found to be all there is. ``waits``: why no version can be made yet.
    """

    definition: str
    number: int
    begun: bool
    newest: TrainingSetResult | None
    versions: int
    is_stale: bool
    checked_us: int | None
    waits: str
    pipelines: tuple[str, ...]

    @property
    def facts(self) -> dict[str, Any]:
        """Fields of its status."""
        if self.newest is None:
            return {"versions": self.versions}
        return {
            "version": self.newest.number,
            "digest": self.newest.digest,
            "versionTime": format_time(self.newest.finished_us),
            "rows": self.newest.rows,
            "bytes": self.newest.size_bytes,
            "versions": self.versions,
        }


def observe_training_set(storage: Storage, accepted: Accepted[TrainingSet]) -> ObservedTrainingSet:
    """What there is of the training set, looked at without a data engine.

    Raises:
        StorageError: storage did not answer.
    """
    registry, resource = Registry(storage), accepted.resource
    name, spec = resource.metadata.name, resource.spec
    complete, numbers = complete_numbers(storage, name), version_numbers(storage, name)
    newest = read_result(storage, name, complete[-1]) if complete else None
    last = numbers[-1] if numbers else 0
    begun = last > 0 and last not in complete
    service = registry.current(FeatureService, spec.features.service) if spec.features.service else None
    if spec.features.service and service is None:
        waits = f"there is no service {spec.features.service!r}"
        return ObservedTrainingSet("", last + 1, begun, newest, len(complete), False, None, waits, ())
    needs = _Needs(storage, registry)
    needs.add(service.resource.spec.features if service else spec.features.names or ())
    if spec.labels.pipeline is not None:
        needs.add_pipeline(spec.labels.pipeline)
    return ObservedTrainingSet(
        definition=digest(definition_of(spec, service.resource.spec if service else None)),
        number=last if begun else last + 1,
        begun=begun,
        newest=newest,
        versions=len(complete),
        is_stale=newest is not None and needs.are_newer(name, newest, spec.labels.pipeline),
        checked_us=last_checked_us(storage, name),
        waits=next(iter(needs.waits), ""),
        pipelines=tuple(needs.commits),
    )


class _Needs:
    """The views and pipelines that a version is made of, as they are now. ``commits``: pipeline to that of its dataset."""

    def __init__(self, storage: Storage, registry: Registry) -> None:
        self._storage, self._registry = storage, registry
        self.views: dict[str, PinnedView | None] = {}
        self.on_demand: dict[str, str] = {}
        self.commits: dict[str, int | None] = {}
        self.waits: list[str] = []

    def add(self, selections: tuple[FeatureSelection, ...]) -> None:
        for name in dict.fromkeys(selection.view for selection in selections):
            if name in self.views or name in self.on_demand:
                continue
            view = self._registry.current(View, name)
            if view is None:
                self.waits.append(f"there is no view {name!r}")
            elif isinstance(view.resource, OnDemandView):
                self.on_demand[name] = view.digest
                self.add(view.resource.spec.on_demand.inputs)
            elif isinstance(view.resource, FeatureView):
                self._add_view(name, Accepted(view.digest, view.resource))

    def _add_view(self, name: str, view: Accepted[FeatureView]) -> None:
        self.views[name] = None
        commit = self.add_pipeline(view.resource.spec.source.pipeline)
        serving = read_active_build(self._storage, name)
        build = read_build(self._storage, name, serving.digest) if serving else None
        if serving is None or build is None or serving.spec_digest != view.digest:
            self.waits.append(f"the view {name!r} has no complete build of its definition yet")
            return
        if (
            view.resource.spec.suspend is Suspend.ACTIVE
            and commit is not None
            and build.source_version < commit
        ):
            self.waits.append(f"the view {name!r} is behind its dataset")
        self.views[name] = PinnedView(
            name=name,
            digest=serving.digest,
            version=build.version,
            commit=build.source_version,
            spec=serving.spec_digest,
        )

    def add_pipeline(self, name: str) -> int | None:
        """The commit of its dataset; None before the first."""
        if name not in self.commits:
            ledger = Ledger(self._storage, name)
            result = ledger.last_result()
            self.commits[name] = result.dataset_version if result else None
            if result is None or not result.dataset_rows:
                # One without rows may not have its columns yet either.
                self.waits.append(f"the pipeline {name!r} has no row yet")
            elif ledger.last_batch() > result.number:
                self.waits.append(f"the pipeline {name!r} has a batch to run")
        return self.commits[name]

    def are_newer(self, name: str, newest: TrainingSetResult, labels: str | None) -> bool:
        """Whether a version is made of other commits than these."""
        version = read_version(self._storage, name, newest.number)
        if version is None:
            return False
        pins = version.pins
        if {view.name: view for view in pins.views} != self.views:
            return True
        if {view.name: view.spec for view in pins.on_demand} != self.on_demand:
            return True
        return labels is not None and pins.labels.version != self.commits.get(labels)


def job_of_training_set(accepted: Accepted[TrainingSet]) -> Accepted[DataPipeline]:
    """What its Jobs are made for: the pipeline with its labels; credentials are those of labels at a URI."""
    labels = accepted.resource.spec.labels
    return job_pipeline(accepted, labels.pipeline or "", labels.uri or "", labels.secret_ref)


def plan_training_set(name: str, accepted: Accepted[TrainingSet], draft: PlanDraft) -> None:
    """Fill the draft."""
    observed = draft.observed.resources.get("trainingsets", {}).get(name)
    if observed is None or isinstance(observed, FailureStreak):
        draft.conditions = draft.unobserved(observed, CONDITIONS)
        return
    spec = accepted.resource.spec
    suspended = spec.suspend is Suspend.SUSPENDED
    is_due, due_us = _due(accepted, observed, draft.now_us)
    waits = observed.waits or next(iter(_unfinished(observed, draft)), "")
    if suspended:
        message = "Suspended: no version is made. Those that are there are read."
        draft.blocked = false("Progressing", Reason.SUSPENDED, message)
    elif is_due and waits:
        draft.blocked = false("Progressing", Reason.WAITING_FOR_DATA, _waiting(waits))
    elif is_due:
        draft.add_step(MakeVersion(name, observed.number, observed.definition))
    else:
        if due_us is not None:
            draft.wakes.append(due_us)
        keep, newest = spec.retention.versions, observed.newest
        if newest is not None and observed.versions > keep:
            # Fewer are to be kept than before, or a run ended before it deleted them.
            draft.add_step(MakeVersion(name, newest.number, newest.definition, keep))
    materialized = _materialized(observed, waits if is_due else "", draft)
    ready = _ready(observed, materialized, draft, suspended=suspended)
    draft.conditions = (ready, draft.progressing(), materialized, draft.degraded())


def _due(
    accepted: Accepted[TrainingSet], observed: ObservedTrainingSet, now_us: int
) -> tuple[bool, int | None]:
    """Whether a version is to be made, and when to look again if not."""
    newest, refresh = observed.newest, accepted.resource.spec.refresh
    if newest is None or newest.definition != observed.definition:
        return True, None
    if observed.begun:
        return True, None
    if refresh.on is RefreshOn.ON_NEW_DATA:
        return observed.is_stale, None
    if refresh.every is None:
        return False, None
    last_us = max(newest.finished_us, observed.checked_us or 0)
    due_us = last_us + duration_us(refresh.every)
    # Of files and Delta tables, only the data engine knows whether they are other ones.
    may_be_new = observed.is_stale or accepted.resource.spec.labels.uri is not None
    return (may_be_new and now_us >= due_us), (due_us if now_us < due_us else None)


def _unfinished(observed: ObservedTrainingSet, draft: PlanDraft) -> Iterator[str]:
    """Pipelines that it is made of and that a drain is still about to take files for."""
    for name in observed.pipelines if draft.draining else ():
        pipeline = draft.observed.pipelines.get(name)
        if isinstance(pipeline, ObservedPipeline) and pipeline.open is not None:
            yield f"the pipeline {name!r} takes more files"


def _waiting(waits: str) -> str:
    return f"A version is made later: {waits}."


def _materialized(observed: ObservedTrainingSet, waits: str, draft: PlanDraft) -> Condition:
    newest = observed.newest
    if newest is not None and newest.definition == observed.definition:
        message = f"Version {newest.number} has {count(newest.rows, 'row')}, made at {format_time(newest.finished_us)}."
        return true("Materialized", Reason.UP_TO_DATE, message)
    key = f"version/{draft.subject.partition('/')[2]}/{observed.number}/{observed.definition}"
    attempt = draft.observed.attempts.get(key)
    if attempt is not None:
        return false("Materialized", *draft.explain(attempt, key))
    if waits:
        return false("Materialized", Reason.WAITING_FOR_DATA, _waiting(waits))
    return false("Materialized", Reason.BUILDING, f"Version {observed.number} is to be made.")


def _ready(
    observed: ObservedTrainingSet, materialized: Condition, draft: PlanDraft, *, suspended: bool
) -> Condition:
    """True while a version of the accepted definition is there; another one that is being made is told, too."""
    if (unstarted := draft.unstarted()) is not None:
        return unstarted
    if materialized.status == "True":
        newest = observed.newest
        if draft.failing is not None:
            return draft.unready(Reason.FAILED, materialized.message)
        message = materialized.message
        if newest is not None and newest.leaks:
            message += f" Equal to a label: {', '.join(newest.leaks)}."
        return true("Ready", Reason.UP_TO_DATE, message)
    if suspended:
        return false("Ready", Reason.SUSPENDED, "Suspended: no version is made. What is there is read.")
    more = " The version before is read meanwhile." if observed.newest is not None else ""
    return false("Ready", Reason(materialized.reason), materialized.message + more)
