"""A world of values that obeys the plan's steps, so that plans can be tried to their end without any I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from build_result import build_result

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.manifest import Entry, OpenBatch
from featurestore.failure import Failure
from featurestore.reconcile.reconcile import reconcile
from featurestore.reconcile.state import Desired, Observed, ObservedPipeline, ObservedView
from featurestore.reconcile.steps import (
    BuildView,
    CloseBatch,
    Plan,
    Promote,
    Publish,
    Retire,
    RunBatch,
    Step,
    WriteCheckpoint,
)
from featurestore.registry.registry import Accepted, resource_digest
from featurestore.resources import DataPipeline, FeatureView
from featurestore.retry import FailureStreak
from featurestore.views.builds import ActiveBuild

SECOND_US = 1_000_000
BROKEN = Failure(type="StorageError", problem="storage cannot be read", where="s3://b", retryable=True)
WRONG = Failure(type="SpecError", problem="there is no column 'x'", where="view v", retryable=False)


def pipeline(name: str = "flights", **spec: Any) -> DataPipeline:
    source = {"uri": f"raw/{name}/*.parquet", "format": "Parquet"}
    return DataPipeline.model_validate({"metadata": {"name": name}, "spec": {"source": source, **spec}})


def view(name: str = "delays", *, source: str = "flights", **spec: Any) -> FeatureView:
    wanted: dict[str, Any] = {
        "entity": {"name": "aircraft", "joinKeys": [{"name": "tailnum", "type": "string"}]},
        "source": {"pipeline": source},
        "timestampField": "arrived_at",
        "features": [{"name": "delay", "type": "float64", "column": "arr_delay"}],
        **spec,
    }
    return FeatureView.model_validate({"metadata": {"name": name}, "spec": wanted})


def open_batch(files: int, opened_us: int) -> OpenBatch:
    return OpenBatch(tuple(Entry(Arrival(f"/raw/{i}", "1", 10, i)) for i in range(files)), opened_us)


@dataclass
class World:
    """Storage and online store as values. ``apply`` does what a runner would do for one step."""

    now_us: int = 1_000 * SECOND_US
    pipelines: dict[str, Accepted[DataPipeline]] = field(default_factory=dict)
    views: dict[str, Accepted[FeatureView]] = field(default_factory=dict)
    ledgers: dict[str, ObservedPipeline] = field(default_factory=dict)
    shown: dict[str, ObservedView] = field(default_factory=dict)
    attempts: dict[str, FailureStreak] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    queued: dict[str, str] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)
    known: dict[str, FeatureView] = field(default_factory=dict)
    done: list[Step] = field(default_factory=list)

    def accept(self, *resources: DataPipeline | FeatureView) -> World:
        for resource in resources:
            name, digest = resource.metadata.name, resource_digest(resource)
            if isinstance(resource, DataPipeline):
                self.pipelines[name] = Accepted(digest, resource)
                self.ledgers.setdefault(name, ObservedPipeline(f"uid-{name}", 0, 0, None))
            else:
                self.views[name] = Accepted(digest, resource)
                self.known[digest] = resource
                self.shown.setdefault(name, ObservedView())
        return self

    def arrive(self, name: str, files: int = 1) -> World:
        there = self.ledgers[name]
        before = there.open
        opened_us = before.opened_us if before else self.now_us
        files += len(before.entries) if before else 0
        self.ledgers[name] = replace(there, open=open_batch(files, opened_us))
        return self

    def plan(self, *, draining: bool = False) -> Plan:
        return reconcile(
            Desired({"pipelines": self.pipelines, "views": self.views}, draining), self.observed, self.now_us
        )

    @property
    def observed(self) -> Observed:
        return Observed(
            {"pipelines": self.ledgers, "views": self.shown},
            self.attempts,
            self.running,
            self.waiting,
            self.queued,
            self.stuck,
        )

    def wanted(self, name: str) -> str:
        spec = self.views[name].resource.spec
        return self.shown[name].wanted(spec, self.ledgers[spec.source.pipeline].uid)

    def fail(self, step: Step, failure: Failure = BROKEN) -> None:
        before = self.attempts.get(step.key)
        self.attempts[step.key] = FailureStreak(before.count + 1 if before else 1, self.now_us, failure)

    def apply(self, step: Step) -> None:
        self.done.append(step)
        self.attempts.pop(step.key, None)
        match step:
            case CloseBatch(name, number):
                there = self.ledgers[name]
                assert number == there.head + 1
                assert there.open is not None
                self.ledgers[name] = replace(there, head=number, open=None)
            case RunBatch(name, number):
                there = self.ledgers[name]
                assert number == there.done + 1 <= there.head
                version = (there.dataset_version or 0) + 1
                self.ledgers[name] = replace(there, done=number, dataset_version=version)
            case WriteCheckpoint(name):
                self.ledgers[name] = replace(self.ledgers[name], checkpoint_is_due=False)
            case BuildView(name, digest, to_version):
                seen = self.shown[name]
                old = seen.builds.get(digest)
                build = build_result(to_version, old.version + 1 if old else 1)
                self.shown[name] = replace(seen, builds={**seen.builds, digest: build})
            case Publish(name, digest, to_version):
                seen = self.shown[name]
                assert seen.builds[digest].version >= to_version
                self.shown[name] = replace(seen, published={**seen.published, digest: to_version})
            case Promote(name, digest, spec_digest):
                spec = self.known[spec_digest].spec
                serving = ActiveBuild(digest, spec_digest)
                self.shown[name] = replace(self.shown[name], serving=serving, serving_spec=spec)
            case Retire(name, digest):
                seen = self.shown[name]
                rest = {d: v for d, v in seen.published.items() if d != digest}
                self.shown[name] = replace(seen, published=rest)

    def settle(self, *, rounds: int = 50) -> Plan:
        """Apply plans until one has no step; time passes only while there is nothing to do."""
        for _ in range(rounds):
            plan = self.plan()
            for step in plan.steps:
                self.apply(step)
            if not plan.steps:
                if plan.wake_us is None:
                    return plan
                assert plan.wake_us > self.now_us, "a plan without steps asks to be looked at at once"
                self.now_us = plan.wake_us
        raise AssertionError(f"no fixed point after {rounds} rounds: {self.plan()}")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def new_world() -> type[World]:
    return World


@pytest.fixture(scope="session")
def make_pipeline() -> Callable[..., DataPipeline]:
    return pipeline


@pytest.fixture(scope="session")
def make_view() -> Callable[..., FeatureView]:
    return view


@pytest.fixture(scope="session")
def broken() -> Failure:
    """The outside world failed."""
    return BROKEN


@pytest.fixture(scope="session")
def wrong() -> Failure:
    """The spec is wrong."""
    return WRONG
