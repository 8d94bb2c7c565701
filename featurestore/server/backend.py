"""What routes ask: the store, read in threads, within the time and the number of entities that the server allows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa

from featurestore.client.connection import Store
from featurestore.client.features import EVENT_TIME_SUFFIX
from featurestore.server.columnar import lengths
from featurestore.server.measurements import Measurements
from featurestore.server.problem_details import HttpProblem
from featurestore.server.readiness import Readiness
from featurestore.server.server_settings import ServerSettings
from featurestore.views.value_status import Status

Answer = TypeVar("Answer")


class Found(NamedTuple):
    """What was read, by column: values, statuses and event times, one per entity."""

    rows: int
    columns: Mapping[str, pa.ChunkedArray]
    statuses: Mapping[str, Sequence[Status]]
    times: Mapping[str, pa.ChunkedArray]


class Backend:
    """One per process. ``readiness`` and ``measurements`` are shared by all routes."""

    def __init__(self, store: Store, settings: ServerSettings, measurements: Measurements) -> None:
        self.store, self.settings, self.measurements = store, settings, measurements
        self.readiness = Readiness(store)
        self.in_flight = 0
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="read")

    async def run(self, work: Callable[..., Answer], *arguments: Any) -> Answer:
        """What ``work`` returns, from a thread: it may wait for storage."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments))

    async def read(
        self, features: str | Sequence[str], entities: dict[str, list[Any]], *, full_feature_names: bool
    ) -> Found:
        """The features of each entity, as of now.

        Raises:
            HttpProblem: there are too many entities.
            NotFound, RequestError, StorageError: see :meth:`Store.get_features`.
        """
        rows = lengths(list(entities.values()))
        if rows > self.settings.max_entities:
            raise HttpProblem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"there are too many entities: wanted at most {self.settings.max_entities:,}, got {rows:,}",
                hint="Ask for them in several requests",
            )
        return await self.run(self._read, features, entities, full_feature_names)

    def _read(
        self, features: str | Sequence[str], entities: dict[str, list[Any]], full_feature_names: bool
    ) -> Found:
        answer = self.store.get_online_features(features, entities, full_feature_names)
        table, statuses = answer.to_arrow(include_event_timestamps=True), answer.statuses()
        found = Found(
            len(answer),
            {name: table.column(name) for name in statuses},
            statuses,
            {name: table.column(f"{name}{EVENT_TIME_SUFFIX}") for name in statuses},
        )
        counts = Counter(status for column in statuses.values() for status in column)
        self.measurements.count(counts, found.rows)
        return found

    def close(self) -> None:
        """Let go of the threads; what they do is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
