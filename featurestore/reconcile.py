"""What to do next, as a function of what is wanted, what is there, and the time.

Level-based: it looks at what is, never at what happened, so a lost event, a restart or a second runner
changes nothing. When all that is wanted is there, the plan has no step.

For a pipeline, in this order: run the batches that have a manifest, one after the other; then close the open
batch. For a view: bring the build that serves and the build that is wanted up to the dataset, publish them,
swap to the wanted one when it is complete, and remove from the online store what nothing reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from featurestore.backoff import Attempt
from featurestore.batch import should_close
from featurestore.condition import Condition, false, true, unknown
from featurestore.definition import build_digest
from featurestore.observed import Desired, Observed, ObservedPipeline, ObservedView
from featurestore.plan import (
    BuildView,
    Checkpoint,
    CloseBatch,
    Plan,
    Publish,
    Retire,
    RunBatch,
    Step,
    Swap,
)
from featurestore.registry import Accepted
from featurestore.resources import DataPipeline, FeatureView
from featurestore.resources.pipeline import Suspend
from featurestore.resources.view import OnlineEnabled
from featurestore.wording import count, format_time, sentence


def reconcile(desired: Desired, observed: Observed, now_us: int) -> Plan:
    """The steps to take now, when to look again, and the conditions of every resource."""
    parts = {
        name: _pipeline(name, accepted, desired, observed, now_us)
        for name, accepted in desired.pipelines.items()
    }
    views = {name: _view(name, accepted, observed, now_us) for name, accepted in desired.views.items()}
    every = [*views.values(), *(parts[name] for name in _lookups_first(desired))]
    return Plan(
        steps=tuple(step for part in every for step in part.steps),
        wake_us=min((us for part in every for us in part.wakes), default=None),
        pipelines={name: part.conditions for name, part in parts.items()},
        views={name: part.conditions for name, part in views.items()},
        failing={
            f"{kind}/{name}": part.trouble
            for kind, named in (("pipelines", parts), ("views", views))
            for name, part in named.items()
            if part.trouble is not None
        },
    )


@dataclass
class _Part:
    """The plan of one resource while it is being made."""

    attempts: Mapping[str, Attempt]
    now_us: int
    steps: list[Step] = field(default_factory=list)
    wakes: list[int] = field(default_factory=list)
    failing: Attempt | None = None
    blind: Attempt | None = None
    conditions: tuple[Condition, ...] = ()

    def take(self, step: Step) -> bool:
        """Plan the step, unless it failed and its next attempt is not due; then False."""
        attempt = self.attempts.get(step.key)
        if attempt is not None:
            self.failing = attempt
            if attempt.next_us > self.now_us:
                self.wakes.append(attempt.next_us)
                return False
        self.steps.append(step)
        return True

    def cannot_see(self, attempt: Attempt) -> tuple[str, str]:
        """Note that a look failed; reason and message."""
        self.blind = attempt
        self.wakes.append(attempt.next_us)
        return _trouble(attempt)

    @property
    def trouble(self) -> Attempt | None:
        """The failure that stands, of a step or of a look."""
        return self.failing or self.blind

    def unready(self, reason: str, message: str) -> Condition:
        """``Ready`` is false: for this reason, or for the failure that stands."""
        if self.failing is None:
            return false("Ready", reason, message)
        return false("Ready", *_trouble(self.failing))


def _trouble(attempt: Attempt) -> tuple[str, str]:
    """Reason and message of a failure that stands."""
    again = f"Next attempt at {format_time(attempt.next_us)}"
    if attempt.failure.retryable:
        return "Retrying", f"{sentence(attempt.failure)}. Failed {attempt.count} ×. {again}."
    return "Failed", f"{sentence(attempt.failure)}. {again}, or as soon as the resource changes."


def _lookups_first(desired: Desired) -> list[str]:
    """Pipelines, those that others look up first: so a drain fills tables before it joins them."""
    looked_up = {
        step.lookup.pipeline
        for accepted in desired.pipelines.values()
        for step in accepted.resource.spec.transforms
        if step.lookup is not None
    }
    return sorted(desired.pipelines, key=lambda name: (name not in looked_up, name))


def _pipeline(
    name: str, accepted: Accepted[DataPipeline], desired: Desired, observed: Observed, now_us: int
) -> _Part:
    part = _Part(observed.attempts, now_us)
    there = observed.pipelines.get(name)
    if there is None or isinstance(there, Attempt):
        part.conditions = (_unobserved(there, part),)
        return part
    reachable = _source(there, part)
    if accepted.resource.spec.suspend is Suspend.SUSPENDED:
        suspended = false("Ready", "Suspended", "Suspended: nothing is taken or run. What is there is read.")
        part.conditions = (suspended, reachable)
        return part
    if there.checkpoint_is_due:
        part.take(Checkpoint(name))
    if there.head > there.done:
        part.take(RunBatch(name, there.done + 1, accepted.digest))
        message = f"Batch {there.done + 1} of {there.head} is to be run."
        part.conditions = (part.unready("BatchPending", message), reachable)
        return part
    part.conditions = (_close(name, accepted, there, desired, observed, part), reachable)
    return part


def _close(
    name: str,
    accepted: Accepted[DataPipeline],
    there: ObservedPipeline,
    desired: Desired,
    observed: Observed,
    part: _Part,
) -> Condition:
    """Close the open batch if it is time; the ``Ready`` condition of a pipeline that has no batch to run."""
    if there.open is None:
        if there.source is not None:
            return false("Ready", "SourceUnavailable", _trouble(there.source)[1])
        if there.done == 0:
            return true("Ready", "WaitingForFiles", "No file has arrived yet.")
        committed = "Batch 1 is" if there.done == 1 else f"All {there.done} batches are"
        return true("Ready", "UpToDate", f"{committed} committed.")
    waiting = count(len(there.open.entries), "file")
    lookups: list[tuple[str, int]] = []
    for step in accepted.resource.spec.transforms:
        if step.lookup is None:
            continue
        other = observed.pipelines.get(step.lookup.pipeline)
        version = other.dataset_version if isinstance(other, ObservedPipeline) else None
        if version is None:
            message = (
                f"{waiting} wait: pipeline {step.lookup.pipeline!r}, which is looked up, has no dataset yet."
            )
            return false("Ready", "WaitingForLookup", message)
        lookups.append((step.lookup.pipeline, version))
    trigger = accepted.resource.spec.trigger.arrivals
    number = there.head + 1
    if desired.draining or there.full or should_close(there.open, trigger, part.now_us):
        part.take(CloseBatch(name, number, accepted.digest, tuple(sorted(set(lookups)))))
    else:
        part.wakes.append(there.open.opened_us + trigger.max_wait // timedelta(microseconds=1))
    return part.unready("Collecting", f"{waiting} wait for batch {number} to close.")


def _source(there: ObservedPipeline, part: _Part) -> Condition:
    if there.source is None:
        return true("SourceReachable", "Listed", "The source was listed.")
    return false("SourceReachable", *part.cannot_see(there.source))


def _unobserved(attempt: Attempt | None, part: _Part) -> Condition:
    """A failed look is never read as "nothing there": nothing is done until a look succeeds."""
    if attempt is None:
        return unknown("Ready", "NotObserved", "Not looked at yet.")
    return unknown("Ready", "NotObserved", part.cannot_see(attempt)[1])


def _view(name: str, accepted: Accepted[FeatureView], observed: Observed, now_us: int) -> _Part:
    part = _Part(observed.attempts, now_us)
    there, spec = observed.views.get(name), accepted.resource.spec
    source = observed.pipelines.get(spec.source.pipeline)
    if there is None or isinstance(there, Attempt):
        part.conditions = (_unobserved(there, part),)
    elif isinstance(source, Attempt):
        part.conditions = (_unobserved(source, part),)
    elif source is None:
        message = f"There is no pipeline {spec.source.pipeline!r}."
        part.conditions = (false("Ready", "PipelineMissing", message),)
    else:
        part.conditions = _ViewPlan(name, accepted, there, source, part).make()
    return part


@dataclass
class _ViewPlan:
    name: str
    accepted: Accepted[FeatureView]
    there: ObservedView
    source: ObservedPipeline
    part: _Part

    def __post_init__(self) -> None:
        spec = self.accepted.resource.spec
        self.wanted = build_digest(spec, self.source.uid)
        self.online = spec.online.enabled is OnlineEnabled.ALWAYS
        self.serving = self.there.serving.digest if self.there.serving else None
        self.to_version = self.source.dataset_version

    def make(self) -> tuple[Condition, ...]:
        """Plan the steps; the view's conditions."""
        part, there = self.part, self.there
        suspended = self.accepted.resource.spec.suspend is Suspend.SUSPENDED
        if there.online is not None and self.online and not suspended:
            part.cannot_see(there.online)
        if self._swappable():
            part.take(Swap(self.name, self.wanted, self.accepted.digest))
        self._retire()
        if not suspended and self.to_version is not None:
            old = there.serving_spec
            if self.serving is not None and self.serving != self.wanted and old is not None:
                self._advance(self.serving, old.online.enabled is OnlineEnabled.ALWAYS)
            self._advance(self.wanted, self.online)
        built, published = self._built(), self._published()
        ready = self._ready(built, published, suspended)
        return (ready, built, published)

    def _advance(self, digest: str, online: bool) -> None:
        """One step nearer to a build that holds all of the dataset, and is online."""
        assert self.to_version is not None
        build = self.there.builds.get(digest)
        behind = build is None or build.source_version < self.to_version
        if behind:
            self.part.take(BuildView(self.name, digest, self.to_version, self.accepted.digest))
        if build is None or not online or self.there.online is not None:
            return
        held = self.there.published.get(digest)
        unpublished = held is None or held < build.version
        # While the dataset keeps growing, what is built already is published in the same round.
        if unpublished:
            self.part.take(Publish(self.name, digest, build.version))

    def _swappable(self) -> bool:
        """Whether readers lose nothing by the swap, and there is something to swap."""
        now = self.there.serving
        if now is not None and (now.digest, now.spec_digest) == (self.wanted, self.accepted.digest):
            return False
        build = self.there.builds.get(self.wanted)
        if build is None:
            return False
        before = self.there.builds.get(now.digest) if now is not None else None
        if before is not None and build.source_version < before.source_version:
            return False
        return not self.online or self._holds(self.wanted, build.version)

    def _holds(self, digest: str, version: int) -> bool:
        return self.there.online is None and self.there.published.get(digest, -1) >= version

    def _retire(self) -> None:
        if self.there.online is not None:
            return
        served = self.there.serving
        for digest in sorted(self.there.published):
            settled = served is not None and served.spec_digest == self.accepted.digest
            unread = digest == self.wanted and settled and not self.online
            if unread or digest not in (self.wanted, self.serving):
                self.part.take(Retire(self.name, digest))

    def _built(self) -> Condition:
        build = self.there.builds.get(self.wanted)
        if self.to_version is None:
            pipeline = self.accepted.resource.spec.source.pipeline
            return false("Built", "WaitingForData", f"Pipeline {pipeline!r} has no commit yet.")
        if build is not None and build.source_version >= self.to_version:
            return true("Built", "UpToDate", f"Holds commit {build.source_version} of its dataset.")
        at = "nothing yet" if build is None else f"commit {build.source_version}"
        message = f"Holds {at} of its dataset, which is at commit {self.to_version}."
        attempt = self.part.attempts.get(
            BuildView(self.name, self.wanted, self.to_version, self.accepted.digest).key
        )
        if attempt is not None:
            reason, trouble = _trouble(attempt)
            return false("Built", reason, trouble)
        return false("Built", "Building", message)

    def _published(self) -> Condition:
        if not self.online:
            return true("Published", "NotWanted", "spec.online.enabled is Never.")
        if self.there.online is not None:
            return unknown("Published", "OnlineUnavailable", _trouble(self.there.online)[1])
        build = self.there.builds.get(self.wanted)
        if build is None:
            return false("Published", "NotBuilt", "There is nothing to publish yet.")
        if self._holds(self.wanted, build.version):
            return true("Published", "UpToDate", f"The online store holds commit {build.version}.")
        attempt = self.part.attempts.get(Publish(self.name, self.wanted, build.version).key)
        if attempt is not None:
            return false("Published", *_trouble(attempt))
        return false("Published", "Publishing", f"Commit {build.version} is to be published.")

    def _ready(self, built: Condition, published: Condition, suspended: bool) -> Condition:
        """True only when offline and online hold the same commit, of the accepted definition."""
        if suspended:
            message = "Suspended: nothing is computed or published. What is there is read."
            return false("Ready", "Suspended", message)
        for condition in (built, published):
            if condition.status != "True":
                keeps = self.serving is not None and self.serving != self.wanted
                more = " Readers use the previous definition meanwhile." if keeps else ""
                return condition.model_copy(update={"type": "Ready", "message": condition.message + more})
        if self._swappable():
            return self.part.unready("Swapping", "Readers are about to read the new definition.")
        build = self.there.builds[self.wanted]
        where = "Offline and online hold" if self.online else "Offline holds"
        return true("Ready", "UpToDate", f"{where} commit {build.version}.")
