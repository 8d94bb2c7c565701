"""What there is to say about a resource: its definition, what a runner last saw of it, and facts from records."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

from featurestore.arrivals.lag import stream_lag
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.rebuild import RebuildProgress
from featurestore.arrivals.result import BatchResult
from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import FeatureStoreError, NotFound, RequestError, did_you_mean
from featurestore.humanize import count, format_time
from featurestore.quarantine.tally import OpenQuarantine, open_of_pipeline, open_of_view
from featurestore.reconcile.conditions import Condition, ResourceStatus, read_status, unknown
from featurestore.reconcile.listed import ListState, MemberState, list_state
from featurestore.reconcile.reasons import Reason
from featurestore.reconcile.reconcile import PLANNED
from featurestore.registry.project import Project
from featurestore.registry.registry import Accepted, document
from featurestore.resources import DataPipeline, FeatureView, OnDemandView, Resource, View
from featurestore.resources.kinds import ResourceKind, kind_of
from featurestore.resources.outputs import build_digest
from featurestore.storage.credentials import source_environ
from featurestore.timestamps import SECOND_US
from featurestore.views.builds import ActiveBuild, BuildResult, read_active_build, read_build
from featurestore.views.rebuilds import ViewRebuild, last_rebuild

R = TypeVar("R", bound=Resource)

NEVER_SEEN = unknown(
    "Ready",
    Reason.NOT_OBSERVED,
    "Nobody has looked at it yet: `featurestore run` does, or the operator of a cluster.",
)


@dataclass(frozen=True)
class PipelineSummary:
    """``head``: batches begun; ``done``: batches committed; ``last``: the result of the last of these.

    ``quarantine``: what is open. ``rebuild``: how far the one has come that is under way. ``lag``: offsets of a stream that no
    committed batch holds; None of files, or if the brokers do not answer.
    """

    name: str
    accepted: Accepted[DataPipeline]
    status: ResourceStatus | None
    head: int
    done: int
    last: BatchResult | None
    quarantine: OpenQuarantine
    rebuild: RebuildProgress | None = None
    lag: int | None = None

    @property
    def ready(self) -> Condition:
        return _ready(self.status, self.accepted.digest)

    @property
    def behind_since_us(self) -> int | None:
        """Since when more has waited than one batch takes; None if it does not, as far as a runner saw."""
        backlogged = self.status.condition("Backlogged") if self.status else None
        return backlogged.since_us if backlogged is not None else None

    @property
    def errors(self) -> str:
        """What fails now, and whether the last batch refused anything for its schema."""
        return ", ".join(_wrong(self.status)) or "none"

    def to_dict(self) -> dict[str, Any]:
        """As kubectl shows an object."""
        facts: dict[str, Any] = {
            "batches": self.done,
            "batchesPending": self.head - self.done,
            "quarantinedFiles": self.quarantine.files,
            "quarantinedRows": self.quarantine.rows,
        }
        if self.rebuild is not None:
            facts["rebuild"] = self.rebuild.facts()
        if self.lag is not None:
            facts["lag"] = self.lag
        if self.last is not None:
            facts |= {
                "commit": self.last.dataset_version,
                "lastBatch": self.last.model_dump(mode="json", by_alias=True, exclude={"kind", "pipeline"}),
            }
        return {
            **document(self.accepted.resource),
            "status": {**facts, **_conditions(self.status, self.ready)},
        }


@dataclass(frozen=True)
class ViewSummary:
    """``build``: how far the build that serves has come. ``quarantine``: what is open of it.

    ``rebuild``: the last request to rebuild it, which makes the build ``rebuilding`` of the digest ``rebuilt``.
    """

    name: str
    accepted: Accepted[FeatureView]
    status: ResourceStatus | None
    serving: ActiveBuild | None
    build: BuildResult | None
    quarantine: OpenQuarantine
    rebuild: ViewRebuild | None = None
    rebuilt: str = ""
    rebuilding: BuildResult | None = None

    @property
    def ready(self) -> Condition:
        return _ready(self.status, self.accepted.digest)

    @property
    def is_rebuilt(self) -> bool:
        """Whether readers find what the last rebuild made, if there is one."""
        return self.rebuild is None or self.rebuild.is_read(self.serving.digest if self.serving else None)

    @property
    def rebuild_progress(self) -> str:
        """How far the last rebuild has come; "" if there is none."""
        if self.rebuild is None or self.is_rebuilt:
            return "" if self.rebuild is None else "done"
        made = self.rebuilding
        return (
            f"holds commit {made.source_version}, {count(made.rows, 'row')}" if made else "holds nothing yet"
        )

    @property
    def watermark_us(self) -> int | None:
        """The greatest event time that it holds."""
        return self.build.watermark_us if self.build else None

    def freshness_s(self, now_us: int) -> float | None:
        """How far behind now the newest event is, in seconds."""
        return None if self.watermark_us is None else (now_us - self.watermark_us) / SECOND_US

    @property
    def online_commit(self) -> int | None:
        """The commit of the dataset that the online store holds, as it was last seen; None if it is behind."""
        version = self.status.online_version if self.status else None
        return self.build.source_version if self.build and self.build.version == version else None

    @property
    def online(self) -> str:
        """The commit of the dataset that the online store holds, as it was last seen."""
        if self.accepted.resource.spec.online.enabled == "Never":
            return "Never"
        if self.status is None or self.status.online_version is None or self.build is None:
            return "-"
        return f"{self.online_commit:,}" if self.online_commit is not None else "behind"

    @property
    def errors(self) -> str:
        """What fails now."""
        return ", ".join(_wrong(self.status)) or "none"

    def to_dict(self) -> dict[str, Any]:
        """As kubectl shows an object."""
        facts: dict[str, Any] = {}
        if self.serving is not None:
            facts |= {"serving": {"build": self.serving.digest, "spec": self.serving.spec_digest}}
        if self.build is not None:
            watermark_us = self.build.watermark_us
            facts |= {
                "commit": self.build.source_version,
                "version": self.build.version,
                "rows": self.build.rows,
                "quarantinedRows": self.quarantine.rows,
                "watermark": None if watermark_us is None else format_time(watermark_us),
                "onlineCommit": self.online_commit,
            }
        if self.rebuild is not None:
            serving, made = self.serving.digest if self.serving else None, self.rebuilding
            commit, rows = (made.source_version, made.rows) if made else (None, None)
            facts["rebuild"] = self.rebuild.facts(self.rebuilt, serving, commit, rows)
        return {
            **document(self.accepted.resource),
            "status": {**facts, **_conditions(self.status, self.ready)},
        }


@dataclass(frozen=True)
class ListSummary:
    """A resource of a kind that has no page of its own. Of a mere list nothing is made: what it names says how it stands.

    ``status``: what a runner last saw, of a kind of which something is made.
    """

    name: str
    accepted: Accepted[Resource]
    state: ListState
    status: ResourceStatus | None = None

    @property
    def ready(self) -> Condition:
        return self.state.ready

    @property
    def watermark_us(self) -> int | None:
        """Of the stalest that it names."""
        return self.state.watermark_us

    def to_dict(self) -> dict[str, Any]:
        """As kubectl shows an object."""
        shown = document(self.accepted.resource)
        facts: dict[str, Any] = {"acceptedDigest": self.accepted.digest, **self.state.facts}
        if self.state.watermark_us is not None:
            facts["watermark"] = format_time(self.state.watermark_us)
        return {**shown, "status": {**facts, **_conditions(self.status, self.ready)}}


Summary = PipelineSummary | ViewSummary | ListSummary


def summary(project: Project, kind: ResourceKind, name: str) -> Summary:
    """What there is to say about one resource.

    Raises:
        NotFound: there is no such resource.
    """
    if kind.model is DataPipeline:
        return pipeline_summary(project, name)
    if kind.model is View:
        accepted = accepted_resource(project, kind, name)
        if not isinstance(accepted.resource, OnDemandView):
            return view_summary(project, name)
    return list_summary(project, kind, name)


def pipeline_summary(project: Project, name: str) -> PipelineSummary:
    """What there is to say about one pipeline.

    Raises:
        NotFound: there is no such pipeline.
    """
    accepted = _accepted(project, DataPipeline, name)
    ledger = Ledger(project.storage, name)
    last = ledger.last_result()
    done = last.number if last else 0
    return PipelineSummary(
        name,
        accepted,
        read_status(project.storage, "pipelines", name),
        ledger.last_batch(),
        done,
        last,
        open_of_pipeline(ledger, last),
        ledger.rebuild_progress(),
        _lag(accepted.resource, ledger, done),
    )


def _lag(pipeline: DataPipeline, ledger: Ledger, done: int) -> int | None:
    if not pipeline.spec.source.is_stream:
        return None
    with suppress(FeatureStoreError):  # What is wrong with the source, its condition says.
        return stream_lag(ledger, open_source(pipeline.spec.source, None, source_environ()), done)
    return None


def view_summary(project: Project, name: str) -> ViewSummary:
    """What there is to say about one view.

    Raises:
        NotFound: there is no such view.
        RequestError: it is computed on demand.
    """
    accepted = _accepted(project, FeatureView, name)
    serving = read_active_build(project.storage, name)
    build = read_build(project.storage, name, serving.digest) if serving else None
    status = read_status(project.storage, "views", name)
    summarized = ViewSummary(name, accepted, status, serving, build, open_of_view(project.storage, build))
    rebuild = last_rebuild(project.storage, name)
    if rebuild is None:
        return summarized
    if serving is not None and rebuild.is_read(serving.digest):
        return replace(summarized, rebuild=rebuild, rebuilt=serving.digest, rebuilding=build)
    uid = Ledger(project.storage, accepted.resource.spec.source.pipeline).dataset_id()
    rebuilt = build_digest(accepted.resource.spec, uid, rebuild.number)
    return replace(
        summarized, rebuild=rebuild, rebuilt=rebuilt, rebuilding=read_build(project.storage, name, rebuilt)
    )


def list_summary(project: Project, kind: ResourceKind, name: str) -> ListSummary:
    """What there is to say about one resource of a kind that is a mere list.

    Raises:
        NotFound: there is no such resource.
    """
    accepted = accepted_resource(project, kind, name)
    on_demand = isinstance(accepted.resource, OnDemandView)
    status = None if on_demand else read_status(project.storage, kind.folder, name)
    planned = None if on_demand else PLANNED.get(kind.folder)
    if status is not None or planned is not None:
        see = planned.observe if planned is not None else None
        facts = dict(see(project.storage, accepted).facts) if see is not None else {}
        return ListSummary(name, accepted, ListState(_ready(status, accepted.digest), facts), status)
    return ListSummary(
        name, accepted, list_state(accepted, project.registry, partial(_member_state, project))
    )


def _member_state(project: Project, kind: ResourceKind, name: str) -> MemberState | None:
    """How a resource stands that a list names."""
    member = summary(project, kind, name)
    return MemberState(member.ready, None if isinstance(member, PipelineSummary) else member.watermark_us)


def accepted_resource(project: Project, kind: ResourceKind, name: str) -> Accepted[Resource]:
    """The accepted resource of a kind.

    Raises:
        NotFound: there is no such resource.
    """
    accepted = project.registry.current(kind.model, name)
    if accepted is None:
        raise NotFound(
            f"there is no {kind.noun} {name!r}",
            where=project.storage.root,
            hint=did_you_mean(name, project.registry.names(kind.model)),
        )
    return accepted


def _accepted(project: Project, model: type[R], name: str) -> Accepted[R]:
    accepted = accepted_resource(project, kind_of(model), name)
    if not isinstance(accepted.resource, model):
        raise RequestError(
            f"the view {name!r} is computed on demand: nothing of it is stored",
            wanted="a view of a dataset",
            hint=f"`featurestore describe view {name}` says what it is computed from",
        )
    return cast("Accepted[R]", accepted)


def _ready(status: ResourceStatus | None, digest: str) -> Condition:
    if status is None:
        return NEVER_SEEN
    if status.observed_digest != digest:
        message = "It was applied since a runner last looked: `featurestore run` does."
        return unknown("Ready", Reason.NOT_OBSERVED, message)
    return status.condition("Ready") or NEVER_SEEN


def _wrong(status: ResourceStatus | None) -> list[str]:
    """Reasons of the conditions that are wrong in themselves, and not only not yet right."""
    if status is None:
        return []
    return [problem.reason for problem in status.problems]


def _conditions(status: ResourceStatus | None, ready: Condition) -> dict[str, Any]:
    others = [c for c in status.conditions if c.type != "Ready"] if status else []
    shown: dict[str, Any] = {
        "conditions": [
            {
                "type": c.type,
                "status": c.status.value,
                "reason": c.reason,
                "message": c.message,
                **({"lastTransitionTime": format_time(c.since_us)} if c.since_us else {}),
            }
            for c in (ready, *others)
        ]
    }
    if status is not None and status.failure is not None:
        shown["lastError"] = status.failure.model_dump(mode="json", exclude_defaults=True)
    if status is not None and status.next_attempt_us is not None:
        shown["nextAttempt"] = format_time(status.next_attempt_us)
    return shown
