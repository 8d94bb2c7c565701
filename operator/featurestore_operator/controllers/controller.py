"""One key: look at the resource and its state, do what is due, write its status.

Level-based: it never matters which event woke a key, only what is there now. What is remembered between looks saves
work, and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from featurestore.errors import NotFound, StorageError
from featurestore.failure import as_failure
from featurestore.humanize import format_time, sentence
from featurestore.reconcile.conditions import Condition, false, unknown
from featurestore.reconcile.reasons import Reason
from featurestore.resources import OnDemandView
from featurestore.retry import FailureStreak
from featurestore.timestamps import SECOND_US
from featurestore_operator.controllers.deletion import Deletion, hindered
from featurestore_operator.controllers.key_erasures import KeyErasures
from featurestore_operator.controllers.lists import look_at_list
from featurestore_operator.controllers.notification_inbox import NotificationInbox
from featurestore_operator.controllers.pipelines import Pipelines, columns
from featurestore_operator.controllers.planned_resources import planned_looks
from featurestore_operator.controllers.recorded_status import recorder
from featurestore_operator.controllers.servers import Servers
from featurestore_operator.controllers.status_writer import StatusWriter
from featurestore_operator.controllers.stores import StoreController
from featurestore_operator.controllers.subject import ReconcileResult, Subject
from featurestore_operator.controllers.views import Views
from featurestore_operator.controllers.warm_workers import WarmWorkers
from featurestore_operator.informer.cache import Cache
from featurestore_operator.jobs.launcher import Launcher
from featurestore_operator.jobs.recoveries import Recoveries
from featurestore_operator.jobs.turns import AGAIN_US, Turns
from featurestore_operator.jobs.workers import BatchWorkers
from featurestore_operator.kube.api import Api
from featurestore_operator.kube.api_resources import OURS
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics
from featurestore_operator.namespaces.acceptance import SpecDecision, decide
from featurestore_operator.namespaces.open_store import OpenStore, Stores
from featurestore_operator.policies.permissions import Policies
from featurestore_operator.settings import Settings
from featurestore_operator.webhook.admission import Review, review
from featurestore_operator.webhook.review_context import review_context


class Controller:
    """Handles keys; safe to use from several threads, each with another key. ``clock``: UTC microseconds now."""

    def __init__(
        self, cache: Cache, api: Api, settings: Settings, metrics: Metrics, clock: Callable[[], int]
    ) -> None:
        self._cache, self._api, self._metrics, self._clock = cache, api, metrics, clock
        self._status_writer = StatusWriter(api, clock, settings.identity)
        policies = Policies(api, settings, clock)
        self._stores = Stores(cache, api, policies, settings, clock)
        self._turns = Turns(cache, settings.max_jobs, clock)
        metrics.count_queued(lambda: self._turns.waiting)
        self._workers = BatchWorkers(cache, clock)
        metrics.count_backlog(lambda: self._workers.backlog)
        self._recoveries = Recoveries(clock)
        launcher = Launcher(
            cache,
            api,
            policies,
            self._turns,
            self._workers,
            settings.max_jobs_per_namespace,
            metrics,
            clock,
            self._recoveries,
        )
        receives = settings.notification_port is not None
        self._pipelines = Pipelines(self._stores, policies, launcher, metrics, clock, receives=receives)
        self.inbox = NotificationInbox(cache, self._pipelines)
        self._views = Views(
            self._pipelines,
            launcher,
            clock,
            lambda namespace, name: cache.wake(Key("FeatureView", namespace, name)),
        )
        self._looks: dict[str, Callable[[Subject[Any]], ReconcileResult]] = {
            **planned_looks(launcher, clock),
            "DataPipeline": self._pipelines.look,
            "FeatureView": self._views.look,
            "Erasure": KeyErasures(policies, launcher, clock).look,
        }
        self._store_controller = StoreController(
            cache,
            api,
            self._stores,
            settings,
            self._status_writer,
            clock,
            self._online_answers_again,
            Servers(cache, api, policies, everywhere=not settings.namespaces),
            WarmWorkers(cache, api, policies, self._workers, settings),
        )
        self._deletion = Deletion(api, self._status_writer, self._workers)
        self._failed_looks: dict[Key, FailureStreak] = {}
        self._resting: dict[Key, int] = {}

    def handle(self, key: Key) -> float | None:
        """See :class:`featurestore_operator.workqueue.work.Handler`."""
        next_us = self._rests(key)
        if next_us is not None:
            return self._wait_s(next_us)
        obj = self._cache.get(key)
        try:
            look = self._store_controller.look if key.kind == "FeatureStore" else self._handle
            next_us = look(key, obj)
        except StorageError as error:
            # Its credentials may have been changed since.
            self._stores.forget(key.namespace)
            next_us = self._look_failed(key, obj, error)
        else:
            if self._failed_looks.pop(key, None) is not None:
                self._storage_answers_again(key)
        finally:
            waits = self._turns.looked(key)
        if waits:
            next_us = min(next_us or sys.maxsize, self._clock() + AGAIN_US)
        return None if next_us is None else self._wait_s(next_us)

    def review(self, request: Mapping[str, Any]) -> Review:
        """What the webhook answers to a request of the API server; see :mod:`featurestore_operator.webhook.admission`."""
        namespace = str(request.get("namespace", ""))
        known = review_context(request, self._cache, self._stores)
        return review(request, known, lambda kind: self._cache.names(kind, namespace))

    def _rests(self, key: Key) -> int | None:
        """When to look again at a pipeline that rests, after one listing instead of a look; None: look at it now.

        Thousands are polled. Whatever wakes the key, any change of its object (though it be the status that was
        just written), and each resync make it a whole look again.
        """
        woken, rested = self._cache.take_woken(key), self._resting.pop(key, None)
        if woken or rested is None or rested != self._cache.version(key):
            return None
        next_us = self._pipelines.rests(key.namespace, key.name)
        if next_us is not None:
            self._resting[key] = rested
        return next_us

    def _wait_s(self, next_us: int) -> float:
        return max(0.0, (next_us - self._clock()) / SECOND_US)

    def _handle(self, key: Key, obj: dict[str, Any] | None) -> int | None:
        leaves = obj is not None and "deletionTimestamp" in obj["metadata"]
        if obj is not None and leaves and self._deletion.abandon(key, obj):
            return None
        try:
            store = self._stores.open(key.namespace)
        except StorageError:
            if obj is not None and key.row.has_data and not leaves:
                self._deletion.guard(key, obj, None)
            raise
        if obj is None:
            self._forget(key, store)
            return None
        if leaves:
            return self._deletion.proceed(key, obj, store, self._jobs(key, obj), self._clock())
        if isinstance(store, Condition):
            self._status_writer.write(obj, (store,), {})
            return None
        if key.row.has_data:
            self._deletion.guard(key, obj, store)
        self._store_controller.record(store)
        twin = self._cache.get(key.twin) if key.twin is not None else None
        decision = decide(key.row.model, obj, store.registry, lambda name: columns(store, name), twin)
        outcome = None
        if decision.accepted is not None:
            # Nothing is made of a view on demand: its inputs say how it stands.
            on_demand = isinstance(decision.accepted.resource, OnDemandView)
            look = None if on_demand else self._looks.get(key.kind)
            outcome = (
                look(Subject(obj, decision.accepted, store, self._jobs(key, obj)))
                if look is not None
                else look_at_list(decision.accepted, store, self._cache)
            )
        next_us = self._write_status(obj, decision, outcome, store)
        if outcome is not None and outcome.rests and not decision.problem:
            self._resting[key] = int(obj["metadata"]["resourceVersion"])
        return next_us

    def _write_status(
        self,
        obj: dict[str, Any],
        decision: SpecDecision[Any],
        outcome: ReconcileResult | None,
        store: OpenStore,
    ) -> int | None:
        """Write the status, also into storage; returns when to look again."""
        conditions = outcome.conditions if outcome is not None else ()
        if decision.problem:
            conditions = (
                _invalid(decision),
                *(condition for condition in conditions if condition.type != "Ready"),
            )
        digest = decision.accepted.digest if decision.accepted is not None else None
        facts = {"acceptedDigest": digest, **(outcome.facts if outcome is not None else {})}
        failing = outcome.failing if outcome is not None else None
        record = None
        if outcome is not None and decision.accepted is not None:
            record = recorder(store.storage, decision.accepted, outcome)
        self._status_writer.write(obj, conditions, facts, failing, record)
        return outcome.next_us if outcome is not None else None

    def _jobs(self, key: Key, obj: dict[str, Any]) -> list[dict[str, Any]]:
        """All Jobs that matter to the resource; for a view, also those of its pipeline's batches."""
        if not key.row.label:
            return []
        pipeline = key.pipeline(obj)
        return self._cache.jobs(key.namespace, pipeline=pipeline) if pipeline else self._cache.jobs_of(key)

    def _forget(self, key: Key, store: OpenStore | Condition) -> None:
        """Forget a resource that is gone: it is no longer accepted. Its data stays."""
        if key.kind == "DataPipeline":
            self._pipelines.forget(key.namespace, key.name)
            self._workers.forget(key.namespace, key.name)
        self._metrics.forget(key)
        self._deletion.forget(key)
        if isinstance(store, OpenStore):
            model = key.row.model
            if store.registry.accepted_digest(model, key.name) is not None and self._is_gone(key):
                store.registry.remove(model, key.name)
                # They heard of it when the object went, and may have looked while it was still accepted.
                for reader in self._cache.readers(key):
                    self._cache.wake(reader)

    def _storage_answers_again(self, key: Key) -> None:
        """Whoever it did not answer either need not wait for its next attempt, nor do Jobs that failed of it."""
        self._recoveries.note(key.namespace)
        self._cache.wake(key)
        for other in list(self._failed_looks):
            if other.namespace == key.namespace:
                self._cache.wake(other)

    def _online_answers_again(self, namespace: str) -> None:
        self._recoveries.note(namespace)
        self._views.ask_online_again(namespace)

    def _is_gone(self, key: Key) -> bool:
        """Whether the API server confirms that it is gone: an old list must not take a view from its readers."""
        resource = OURS[key.kind]
        try:
            self._cache.put(resource, self._api.get(resource, key.namespace, key.name))
        except NotFound:
            return True
        return False

    def _look_failed(self, key: Key, obj: dict[str, Any] | None, error: StorageError) -> int | None:
        """Report that storage does not answer, so that nothing can be known or done; returns when to look again."""
        attempt = self._failed_looks[key] = FailureStreak.after(
            self._failed_looks.get(key), self._clock(), as_failure(error)
        )
        if obj is not None:
            again = f"Failed {attempt.count} ×. Next attempt at {format_time(attempt.next_us)}."
            message = f"{sentence(attempt.failure)}. {again}"
            ready = unknown("Ready", Reason.NOT_OBSERVED, message)
            if "deletionTimestamp" in obj["metadata"]:
                if self._deletion.gives_up(key, obj, sentence(attempt.failure), self._clock()):
                    return None
                ready = hindered(key, message)
            reachable = (
                [false("OfflineReachable", Reason.OFFLINE_UNAVAILABLE, message)]
                if key.kind == "FeatureStore"
                else []
            )
            self._status_writer.write_unknown(obj, [ready, *reachable], attempt)
        return attempt.next_us


def _invalid(decision: SpecDecision[Any]) -> Condition:
    message = decision.problem
    if decision.accepted is not None:
        message += f". The last good spec, {decision.accepted.digest}, keeps running."
    return false("Ready", Reason.SPEC_INVALID, message)
