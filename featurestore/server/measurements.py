"""What Prometheus reads of a server. Labels are bounded: routes, statuses, and of views the first 500."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from featurestore.client.answers import Answer
from featurestore.views.value_column import ListColumn, ValueColumn
from featurestore.views.value_status import Status

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_ROWS = (1, 10, 100, 1_000, 10_000)
_MOST_VIEWS = 500
_BY_CODE = tuple(Status)
"""Status of each code, which begin with 0."""
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder by which several workers count together."""


class Measurements:
    """Counts of one process; with several workers, :meth:`text` is about all of them."""

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        self._seconds = Histogram(
            "featurestore_server_request_seconds",
            "Time from a request's head to its whole answer.",
            ["route", "status"],
            buckets=_SECONDS,
            registry=own,
        )
        self._rows = Histogram(
            "featurestore_server_request_entities", "Entities of a request.", buckets=_ROWS, registry=own
        )
        values = Counter(
            "featurestore_server_values", "Values that were answered, by status.", ["status"], registry=own
        )
        self._values = [values.labels(status.name) for status in _BY_CODE]
        self._age_s = Gauge(
            "featurestore_server_view_freshness_seconds",
            "Time since the greatest event time that a view serves.",
            ["view"],
            registry=own,
            multiprocess_mode="mostrecent",
        )
        self._ready = Gauge(
            "featurestore_server_ready", "1 if ready.", registry=own, multiprocess_mode="livemin"
        )
        self._in_flight = Gauge(
            "featurestore_server_requests_in_flight",
            "Requests being answered.",
            registry=own,
            multiprocess_mode="livesum",
        )
        self._observers: dict[tuple[str, int], Histogram] = {}
        self._views: set[str] = set()

    def began(self) -> None:
        self._in_flight.inc()

    def ended(self, route: str, status: int, seconds: float) -> None:
        self._in_flight.dec()
        observer = self._observers.get((route, status))
        if observer is None:
            observer = self._observers[route, status] = self._seconds.labels(route, status)
        observer.observe(seconds)

    def count(self, answer: Answer) -> None:
        """A read was answered."""
        self._rows.observe(answer.rows)
        # Features of one view mostly share their statuses.
        shared: dict[int, tuple[ValueColumn, int]] = {}
        for column in answer.columns.values():
            codes = id(column.codes if isinstance(column, ListColumn) else column.statuses)
            shared[codes] = column, shared.get(codes, (column, 0))[1] + 1
        for column, times in shared.values():
            if isinstance(column, ListColumn):
                for code in column.codes:
                    self._values[code].inc(times)
            else:
                for code in np.flatnonzero(counts := np.bincount(column.statuses)).tolist():
                    self._values[code].inc(times * int(counts[code]))

    def fresh(self, ages_s: Mapping[str, float], ready: bool) -> None:
        """How old the newest event of each view is."""
        self._ready.set(ready)
        for view in self._views - ages_s.keys():
            self._age_s.remove(view)
        self._views = set(sorted(ages_s)[:_MOST_VIEWS])
        for view in self._views:
            self._age_s.labels(view).set(ages_s[view])

    def text(self) -> bytes:
        """In Prometheus' text format."""
        if SHARED_FOLDER not in os.environ:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
