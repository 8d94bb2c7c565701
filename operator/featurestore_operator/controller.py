"""One key: look at the resource and at what there is of it, do what is to be done, say how it stands.

Level-based: it never matters which event woke a key, only what is there now. What is remembered between looks saves
work, and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from featurestore import layout
from featurestore.backoff import Attempt
from featurestore.condition import Condition, false, unknown
from featurestore.errors import FeatureStoreError, NotFound, StorageError
from featurestore.job import Failure
from featurestore.registry import Accepted
from featurestore.wording import format_time, sentence
from featurestore_operator.api import Api
from featurestore_operator.cache import Cache
from featurestore_operator.deletion import Deletion
from featurestore_operator.event import event
from featurestore_operator.key import Key
from featurestore_operator.launch import Launcher
from featurestore_operator.metrics import Metrics
from featurestore_operator.pipeline import Outcome, Pipelines
from featurestore_operator.report import ready, status
from featurestore_operator.resource import EVENT, OF_KIND
from featurestore_operator.settings import Settings
from featurestore_operator.store import OpenStore, Stores
from featurestore_operator.upkeep import Upkeep
from featurestore_operator.view import Views

_KINDS = {"DataPipeline": "pipelines", "FeatureView": "views"}
_SECOND_US = 1_000_000


class Controller:
    """Handles keys; safe to use from several threads, each with another key. ``clock``: UTC microseconds now."""

    def __init__(
        self, cache: Cache, api: Api, settings: Settings, metrics: Metrics, clock: Callable[[], int]
    ) -> None:
        self._cache, self._api, self._settings, self._metrics, self._clock = cache, api, settings, metrics, clock
        self._stores = Stores(cache, api, settings, clock)
        self._launcher = Launcher(cache, api, metrics, clock)
        self._pipelines = Pipelines(self._stores, self._launcher, metrics, clock)
        self._views = Views(self._pipelines, self._launcher, clock)
        self._upkeep = Upkeep(cache, api, self._stores, settings, clock)
        self._deletion = Deletion(api)
        self._blind: dict[Key, Attempt] = {}

    def handle(self, key: Key) -> float | None:
        """See :class:`featurestore_operator.work.Handler`."""
        found = self._cache.get(key)
        try:
            next_us = self._upkeep.look(key, found) if key.kind == "FeatureStore" else self._handle(key, found)
        except StorageError as error:
            # Its credentials may have been changed since.
            self._stores.forget(key.namespace)
            next_us = self._cannot_see(key, found, error)
        else:
            self._blind.pop(key, None)
        if next_us is None:
            return None
        return max(0.0, (next_us - self._clock()) / _SECOND_US)

    def _handle(self, key: Key, found: dict[str, Any] | None) -> int | None:
        store = self._stores.open(key.namespace)
        if found is None:
            self._forget(key, store)
            return None
        if "deletionTimestamp" in found["metadata"]:
            return self._deletion.proceed(key, found, store, self._jobs(key))
        if isinstance(store, Condition):
            self._say(found, (store,), {}, None)
            return None
        self._deletion.guard(key, found)
        return self._look(key, found, store)

    def _look(self, key: Key, found: dict[str, Any], store: OpenStore) -> int | None:
        jobs = self._jobs(key)
        outcome: Outcome | None = None
        if key.kind == "DataPipeline":
            pipeline = self._pipelines.rule(found, store)
            problem, accepted = pipeline.problem, pipeline.accepted
            if pipeline.accepted is not None:
                outcome = self._pipelines.look(found, pipeline.accepted, store, jobs)
        else:
            view = self._views.rule(found, store)
            problem, accepted = view.problem, view.accepted
            if view.accepted is not None:
                outcome = self._views.look(found, view.accepted, store, jobs)
        said = outcome.conditions if outcome else ()
        if problem:
            said = (_invalid(problem, accepted), *(it for it in said if it.type != "Ready"))
        facts = {**(outcome.facts if outcome else {}), "acceptedDigest": accepted.digest if accepted else None}
        self._say(found, said, facts, outcome.failing if outcome else None)
        return outcome.next_us if outcome else None

    def _jobs(self, key: Key) -> list[dict[str, Any]]:
        """All Jobs that matter to the resource: for a view, also those of its pipeline's batches."""
        if key.kind == "DataPipeline":
            return self._cache.jobs(key.namespace, pipeline=key.name)
        found = self._cache.get(key)
        source = found["spec"]["source"]["pipeline"] if found else None
        own = self._cache.jobs(key.namespace, view=key.name)
        return own + (self._cache.jobs(key.namespace, pipeline=source) if source else [])

    def _forget(self, key: Key, store: OpenStore | Condition) -> None:
        """The resource is gone: it is accepted no more. Its data stays."""
        if key.kind == "DataPipeline":
            self._pipelines.forget(key.namespace, key.name)
        self._metrics.forget(key)
        if isinstance(store, OpenStore):
            kind = "pipelines" if key.kind == "DataPipeline" else "views"
            if store.registry.accepted_digest(kind, key.name) is not None:
                store.registry.remove(kind, key.name)

    def _cannot_see(self, key: Key, found: dict[str, Any] | None, error: StorageError) -> int:
        """Storage does not answer: nothing can be known, nothing is done, and that is said."""
        before = self._blind.get(key)
        attempt = Attempt(
            before.count + 1 if before else 1, self._clock(), Failure.model_validate(error.to_dict())
        )
        self._blind[key] = attempt
        if found is not None:
            again = f"Failed {attempt.count} ×. Next attempt at {format_time(attempt.next_us)}."
            kept = found.get("status") or {}
            condition = unknown("Ready", "NotObserved", f"{sentence(attempt.failure)}. {again}")
            self._say(found, (condition,), kept, attempt)
        return attempt.next_us

    def _say(
        self, found: dict[str, Any], said: tuple[Condition, ...], facts: dict[str, Any], failing: Attempt | None
    ) -> None:
        """Write the status if it differs from what stands, and an Event if it became ready, or ceased to be."""
        before, metadata = found.get("status") or {}, found["metadata"]
        after = status(said, facts, before, metadata.get("generation", 0), failing, self._clock())
        if after == before:
            return
        resource = OF_KIND[found["kind"]]
        manifest = {
            "metadata": {"namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]},
            "status": after,
        }
        try:
            self._api.apply_status(resource, manifest)
        except NotFound:
            return  # Deleted meanwhile: there is nobody to tell.
        was, is_ = ready(before), ready(after)
        if was[:2] != is_[:2]:
            kind = "Normal" if is_[0] == "True" or is_[1] in _CALM else "Warning"
            self._api.create(EVENT, event(found, kind, is_[1], is_[2], "Reconcile", self._clock(), ""))
