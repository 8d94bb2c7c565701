"""The loop: observe, reconcile, apply; and wait while nothing is to be done.

Any number of runners may run on one store: the ledger and Delta decide who was first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from featurestore.arrivals.crash import is_crash
from featurestore.arrivals.isolation import CRASHES_FROM_OUTSIDE
from featurestore.errors import Damaged, FeatureStoreError, Refused, StorageError, foreseen
from featurestore.failure import Failure, as_error, as_failure
from featurestore.humanize import count
from featurestore.reconcile.apply import apply
from featurestore.reconcile.conditions import ResourceStatus, read_status, record_status, since
from featurestore.reconcile.reasons import Reason
from featurestore.reconcile.reconcile import PLANNED, reconcile
from featurestore.reconcile.state import Desired, Observed, ObservedPipeline, ObservedView
from featurestore.reconcile.steps import Plan
from featurestore.registry.project import Project
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipelineSpec
from featurestore.resources.data_pipeline import Suspend
from featurestore.retry import FailureStreak
from featurestore.runner.listener import Listener
from featurestore.runner.observer import Observer
from featurestore.runner.outcome import failure_event
from featurestore.runner.source_watcher import SourceWatcher
from featurestore.runner.webhook_receiver import WebhookReceiver
from featurestore.runner.worker import Worker
from featurestore.runner.worker_applier import TRIES, WorkerApplier
from featurestore.timestamps import SECOND_US

TICK_US = {True: 2_000_000, False: 10_000_000}
"""Longest time between two looks, for a local storage root or not: so soon is an ``apply`` elsewhere noticed."""
_TELL_S = 5.0
"""How long a runner that ends waits for events of commits; the next one tells what is missing."""


class Runner:
    """Runs until :meth:`stop`, or with ``draining`` until nothing is left to be done.

    ``clock``: UTC microseconds now. ``receiver``: of notifications; without one, none are received.
    """

    def __init__(
        self,
        project: Project,
        worker: Worker,
        watcher: SourceWatcher,
        listener: Listener,
        clock: Callable[[], int],
        receiver: WebhookReceiver | None = None,
    ) -> None:
        self._project = project
        self._receiver = receiver
        self._watcher = watcher
        self._listener = listener
        self._clock = clock
        self._observer = Observer(project)
        self._applier = WorkerApplier(project, self._observer, worker, listener, clock)
        self._statuses: dict[tuple[str, str], ResourceStatus | None] = {}
        self._unrecorded: set[tuple[str, str]] = set()
        self._unseen: set[str] = set()
        self._stopping = False
        self._unreachable: FailureStreak | None = None

    def stop(self) -> None:
        """End after the step under way. Safe in a signal handler."""
        self._stopping = True
        self._watcher.ring()

    def run(self, *, draining: bool = False) -> None:
        """Do what is to be done.

        Raises:
            FeatureStoreError: with ``draining``, the first thing that could not be done.
        """
        while not self._stopping:
            # Also while there always is something to be done.
            self._observer.hint(self._watcher.heard())
            now_us = self._clock()
            try:
                desired = self._observer.desired(now_us, draining=draining)
                # Before the listing: a file that lands after it is heard of.
                active = {} if draining else _active(desired)
                carriers = {
                    name: carrier
                    for name, spec in active.items()
                    if spec.trigger.notifications and (carrier := spec.trigger.notifications.carrier)
                }
                self._watcher.attend({name: spec.source for name, spec in active.items()}, carriers)
                if self._receiver is not None:
                    self._receiver.attend(
                        [
                            name
                            for name, spec in active.items()
                            if spec.trigger.notifications and spec.trigger.notifications.webhook
                        ]
                    )
                observed = self._observer.observe(desired, self._applier.attempts, now_us)
                self._forget(desired)
                plan = reconcile(desired, observed, now_us)
                self._record(desired, observed, plan, now_us)
                self._tell_unseen(desired, observed)
                self._unreachable = None
            except Exception as error:
                known = foreseen(error)
                if draining:
                    raise known from error
                self._wait_unreachable(known, now_us)
                continue
            for step in plan.steps:
                if not self._stopping:
                    apply(step, self._applier)
            if plan.steps:
                continue
            if draining and self._is_drained(plan):
                self._observer.teller.flush(_TELL_S)
                self._observer.teller.close(_TELL_S)
                self._raise_undone(plan)
                return
            self._wait(plan, now_us)
        self._leave()

    def _forget(self, desired: Desired) -> None:
        """What was remembered of a resource that is gone, or is another one now, says nothing of it."""
        for name in self._observer.begun_anew:
            steps = tuple(f"{kind}/{name}/" for kind in ("close", "batch", "piece", "rebuild", "checkpoint"))
            for key in [key for key in self._applier.attempts if f"{key}/".startswith(steps)]:
                del self._applier.attempts[key]
            self._statuses.pop(("pipelines", name), None)
        wanted = {(folder, name) for folder, named in desired.resources.items() for name in named}
        wanted |= {(kind, name) for kind, _, name in (key.partition("/") for key in desired.unreadable)}
        for gone in self._statuses.keys() - wanted:
            del self._statuses[gone]

    def _leave(self) -> None:
        """Record how things stand, for those who look while nobody runs."""
        now_us = self._clock()
        self._observer.teller.flush(_TELL_S)
        try:
            desired = self._observer.desired(now_us)
            observed = self._observer.observe(desired, self._applier.attempts, now_us)
            self._record(desired, observed, reconcile(desired, observed, now_us), now_us)
        except Exception:  # noqa: BLE001 - what was recorded last stands; the next runner looks again
            return
        finally:
            self._observer.teller.close(_TELL_S)

    def _wait(self, plan: Plan, now_us: int) -> None:
        looks = [now_us + TICK_US[self._project.storage.is_local]]
        looks += [us for us in (plan.wake_us, self._observer.next_us) if us is not None]
        self._observer.hint(self._watcher.wait((min(looks) - self._clock()) / SECOND_US))

    def _wait_unreachable(self, error: FeatureStoreError, now_us: int) -> None:
        """The storage root itself does not answer: nothing can be known or done, so try again later."""
        self._unreachable = FailureStreak.after(self._unreachable, now_us, as_failure(error))
        self._listener.happened(failure_event("storage cannot be observed", "runner", "", self._unreachable))
        self._observer.hint(self._watcher.wait((self._unreachable.next_us - now_us) / SECOND_US))

    def _record(self, desired: Desired, observed: Observed, plan: Plan, now_us: int) -> None:
        """Write the conditions that changed to where other processes read them."""
        for kind, every in plan.conditions.items():
            resources = desired.resources.get(kind, {})
            for name, conditions in every.items():
                failing = plan.failing.get(f"{kind}/{name}")
                try:
                    before = self._status(kind, name)
                    status = ResourceStatus(
                        observed_digest=_digest(resources.get(name), before),
                        conditions=since(conditions, before, now_us),
                        failure=failing.failure if failing else None,
                        next_attempt_us=failing.next_us if failing else None,
                        online_version=_online_version(observed, name) if kind == "views" else None,
                    )
                    if status != before:
                        record_status(self._project.storage, kind, name, status)
                        self._statuses[kind, name] = status
                    self._unrecorded.discard((kind, name))
                except StorageError as error:
                    # Said once: it is tried at every look, and what else fails meanwhile says so itself.
                    if (kind, name) in self._unrecorded:
                        continue
                    self._unrecorded.add((kind, name))
                    attempt = FailureStreak(1, now_us, as_failure(error))
                    what, noun = "its status could not be recorded", PLANNED[kind].row.noun
                    self._listener.happened(failure_event(what, noun, name, attempt))

    def _tell_unseen(self, desired: Desired, observed: Observed) -> None:
        """Say once of each resource that it cannot be read, or that its source cannot be listed as a whole."""
        unseen = dict(desired.unreadable)
        for name, pipeline in observed.pipelines.items():
            failure = pipeline.source if isinstance(pipeline, ObservedPipeline) else pipeline
            if failure is not None:
                unseen.setdefault(f"pipelines/{name}", failure)
        for key in sorted(unseen.keys() - self._unseen):
            kind, _, name = key.partition("/")
            what = "it cannot be read" if key in desired.unreadable else "it cannot be looked at"
            self._listener.happened(failure_event(what, PLANNED[kind].row.noun, name, unseen[key]))
        self._unseen = set(unseen)

    def _status(self, kind: str, name: str) -> ResourceStatus | None:
        if (kind, name) not in self._statuses:
            try:
                self._statuses[kind, name] = read_status(self._project.storage, kind, name)
            except Damaged:
                # It is written again.
                self._statuses[kind, name] = None
        return self._statuses[kind, name]

    def _is_drained(self, plan: Plan) -> bool:
        """Whether waiting would help nothing that is to be done now."""
        if self._observer.unsettled:
            return False
        return all(_gives_up(a) for a in plan.failing.values())

    def raise_refused(self) -> None:
        """Raises Refused if files went to quarantine, or nothing of a pipeline's last batch was taken."""
        wrong = {name: f"{count(n, 'file')} refused" for name, n in self._applier.refused.items()}
        for (_, name), status in self._statuses.items():
            degraded = status.condition("Degraded") if status else None
            if degraded is not None and degraded.reason == Reason.NOTHING_TAKEN:
                wrong[name] = degraded.message
        if wrong:
            raise Refused(
                "some input was refused",
                got="; ".join(f"{name}: {what}" for name, what in sorted(wrong.items())),
                hint=f"See `featurestore quarantine ls {min(wrong)}`",
            )

    def without_arrivals(self) -> Iterator[tuple[str, str]]:
        """Pipelines that nothing ever came for, and why their sources are empty."""
        for (kind, name), status in self._statuses.items():
            ready = status.condition("Ready") if status and kind == "pipelines" else None
            if ready is not None and ready.reason == Reason.WAITING_FOR_FILES:
                yield name, f"Nothing is there to be taken: {self._observer.explain_empty(name)}"

    def _raise_undone(self, plan: Plan) -> None:
        for attempt in plan.failing.values():
            raise as_error(attempt.failure)
        for name, conditions in plan.pipelines.items():
            for condition in conditions:
                if condition.reason in (Reason.WAITING_FOR_LOOKUP, Reason.PIPELINE_MISSING):
                    failure = Failure(
                        type="TransientError", problem=condition.message, where=name, retryable=True
                    )
                    raise as_error(failure)


def _gives_up(attempt: FailureStreak) -> bool:
    """Whether a drain waits no longer; a search for the file that ends the worker comes to an end by itself.

    Nothing that is damaged heals within seconds.
    """
    failure = attempt.failure
    tries = CRASHES_FROM_OUTSIDE if is_crash(failure) else TRIES
    return attempt.count >= tries or not failure.retryable or isinstance(as_error(failure), Damaged)


def _digest(accepted: Accepted[Any] | None, before: ResourceStatus | None) -> str:
    """Digest of the resource that conditions are about; if it cannot be read, as it was before."""
    if accepted is not None:
        return accepted.digest
    return before.observed_digest if before is not None else ""


def _active(desired: Desired) -> dict[str, DataPipelineSpec]:
    return {
        name: accepted.resource.spec
        for name, accepted in desired.pipelines.items()
        if accepted.resource.spec.suspend is Suspend.ACTIVE
    }


def _online_version(observed: Observed, name: str) -> int | None:
    view = observed.views.get(name)
    if not isinstance(view, ObservedView) or view.serving is None:
        return None
    return view.published.get(view.serving.digest)
