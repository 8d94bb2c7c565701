"""What was seen of a store a moment ago, so that looking again costs little: for a process that is asked all the time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar, cast

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.result import BatchResult
from featurestore.client.resolution import Resolution, resolve
from featurestore.overview import overview
from featurestore.overview.commits import ViewCommit, batches, view_commits
from featurestore.overview.distribution import Sample, sample
from featurestore.overview.overview import Overview
from featurestore.overview.summary import PipelineSummary, ViewSummary
from featurestore.quarantine.entries import Quarantined, entries
from featurestore.registry.project import Project
from featurestore.resources.feature_view import StatisticsKept
from featurestore.timestamps import current_us
from featurestore.training.trained_models import NotedModels, noted_models
from featurestore.training.training_manifest import TrainingManifest
from featurestore.training.training_versions import (
    TrainingSetResult,
    complete_numbers,
    find_manifest,
    read_result,
)
from featurestore.training.view_drift import ViewDrift, read_drift
from featurestore.views.served import ServedViews
from featurestore.views.view_statistics import ViewStatistics, read_statistics

Result = TypeVar("Result")

_FRESH_S, _BEARABLE_S = 2.0, 60.0
"""How old an overview may be, and how old while the next one is made."""
_KEPT = 200
_AT_ONCE = 16
COMMITS = 40
"""Batches, commits or versions that are told of a resource."""
QUARANTINED_ROWS = 20_000
"""Newest records of a quarantine that are looked through."""


class Lookout:
    """Looks at a store. Safe to use from several threads; each look is taken once for all who wait for it."""

    def __init__(self, project: Project, clock: Callable[[], float] = time.monotonic) -> None:
        self._project, self._clock = project, clock
        self._views = ServedViews(project.storage)
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self._seen: tuple[float, Overview] | None = None
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._turns: dict[Hashable, threading.Lock] = {}

    @property
    def store(self) -> str:
        """Name of the store."""
        return self._project.store.metadata.name

    def overview(self) -> Overview:
        """How everything stands, or stood a moment ago.

        Raises:
            StorageError: storage did not answer, and what was seen before is too old.
        """
        last = self._seen
        age_s = self._clock() - last[0] if last else _BEARABLE_S
        if last is None or age_s >= _BEARABLE_S:
            with self._looking:
                return self._look(self._clock())
        if age_s >= _FRESH_S and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look_beside, name="look", daemon=True).start()
        return last[1]

    def _look(self, asked_s: float) -> Overview:
        if self._seen is None or self._seen[0] < asked_s:
            began_s = self._clock()
            self._seen = began_s, overview.look(self._project, current_us())
        return self._seen[1]

    def _look_beside(self) -> None:
        try:
            self._look(self._clock())
        except Exception:  # noqa: BLE001 - whoever finds what was seen too old looks again, and is told
            return
        finally:
            self._looking.release()

    def batches(self, pipeline: PipelineSummary) -> list[tuple[int, BatchResult | None]]:
        """The last batches of the pipeline.

        Raises:
            StorageError: storage did not answer.
        """
        ledger = Ledger(self._project.storage, pipeline.name)
        key = "batches", pipeline.name, pipeline.head, pipeline.done, ledger.uid()
        return self._once(key, lambda: batches(ledger, pipeline.head, COMMITS))

    def commits(self, view: ViewSummary) -> list[ViewCommit]:
        """The last commits of the build that the view serves.

        Raises:
            StorageError: storage did not answer.
        """
        storage, serving = self._project.storage, view.serving
        if serving is None or view.build is None:
            return []
        key = "commits", view.name, serving.digest, view.build.version
        return self._once(key, lambda: view_commits(storage, view.name, serving, COMMITS))

    def sample(self, view: ViewSummary) -> Sample | None:
        """What the newest values of the view look like; None while there is no build.

        Raises:
            StorageError: storage did not answer.
        """
        serving = view.serving
        if serving is None or view.build is None:
            return None
        resource = view.accepted.resource
        if serving.spec_digest != view.accepted.digest:
            served = self._views.find(view.name)
            if served is None or served.digest != serving.digest:
                return None  # Another build serves since.
            resource = resource.model_copy(update={"spec": served.spec})
        key = "sample", view.name, serving.digest, view.build.version
        return self._once(key, lambda: sample(self._project.storage, resource, serving.digest))

    def statistics(self, view: ViewSummary) -> ViewStatistics | None:
        """The statistics of the newest commit of the build that the view serves; None if there are none, or none are to be kept.

        Raises:
            StorageError: storage did not answer.
        """
        serving, build = view.serving, view.build
        kept = view.accepted.resource.spec.statistics is StatisticsKept.ALWAYS
        if serving is None or build is None or not kept:
            return None
        key = "statistics", view.name, serving.digest, build.version
        return self._once(key, lambda: read_statistics(self._project.storage, view.name, serving.digest))

    def drift(self, view: ViewSummary) -> ViewDrift | None:
        """What was last measured of the build that the view serves; None if nothing was.

        Raises:
            StorageError: storage did not answer.
        """
        if view.serving is None or view.accepted.resource.spec.monitoring is None:
            return None
        return read_drift(self._project.storage, view.name, view.serving.digest)

    def models(self, training_sets: Sequence[str]) -> NotedModels:
        """Models that were trained on these.

        Raises:
            StorageError: storage did not answer.
        """
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="models") as threads:
            every = list(threads.map(partial(noted_models, self._project.storage), training_sets))
        models = [model for noted in every for model in noted.models]
        newest_first = sorted(models, key=lambda model: model.logged_us, reverse=True)
        return NotedModels(newest_first, [path for noted in every for path in noted.damaged])

    def versions(self, training_set: str) -> list[TrainingSetResult]:
        """Its complete versions, the newest first.

        Raises:
            StorageError: storage did not answer.
        """
        storage = self._project.storage
        numbers = complete_numbers(storage, training_set)[: -COMMITS - 1 : -1]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="versions") as threads:
            results = list(threads.map(partial(read_result, storage, training_set), numbers))
        return [result for result in results if result is not None]

    def version(self, training_set: str, version: str) -> tuple[TrainingSetResult, TrainingManifest]:
        """One that is named by its number or digest, and what stands in it.

        Raises:
            NotFound: there is none.
            StorageError: storage did not answer.
        """
        return find_manifest(self._project.storage, training_set, version)

    def quarantined(self, summary: PipelineSummary | ViewSummary) -> list[Quarantined]:
        """What is open in its quarantine, the newest first, of the newest :data:`QUARANTINED_ROWS` records.

        Raises:
            StorageError: storage did not answer.
        """
        is_view = isinstance(summary, ViewSummary)
        if not summary.quarantine:
            return []
        last = summary.build.version if isinstance(summary, ViewSummary) and summary.build else None
        done = summary.done if isinstance(summary, PipelineSummary) else None
        key = "quarantine", is_view, summary.name, last, done, summary.quarantine
        listed = self._once(
            key,
            lambda: entries(
                self._project.storage,
                "views" if is_view else "pipelines",
                summary.name,
                newest=QUARANTINED_ROWS,
            ),
        )
        return [each for each in reversed(listed) if each.is_open]

    def asked(self, name: str) -> Resolution:
        """What a read of all of a view or of a service asks for.

        Raises:
            NotFound: there is none, or no build of a view is complete.
            StorageError: storage did not answer.
        """
        return resolve(name, self._views, _FRESH_S)

    def _once(self, key: Hashable, work: Callable[[], Result]) -> Result:
        """What the work returns, which is done once for a key, also if several ask at once."""
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return cast("Result", self._kept[key])
            try:
                result = work()
            finally:
                with self._lock:
                    self._turns.pop(key, None)
            with self._lock:
                self._kept[key] = result
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return result
