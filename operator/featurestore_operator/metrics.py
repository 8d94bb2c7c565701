"""The operator's metrics for Prometheus, all named ``featurestore_operator_*``.

How many series there can be: those with ``namespace`` and ``name`` have one for each resource (and outcome
of its jobs), as kube-state-metrics has; all others have a fixed number of label values. Series of a deleted
resource go with it.

What a status says (freshness, pending age, rows …) is read from the cache when Prometheus asks: no timer
sets it, so that it is never older than the cache and ages by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from featurestore.errors import FeatureStoreError
from featurestore_operator.informer.cache import Cache
from featurestore_operator.kube.object_key import Key

PREFIX = "featurestore_operator_"
_OF_PIPELINE = (
    ("batches", "Batches that were committed."),
    ("rows", "Rows that were committed to the dataset."),
    ("bytes", "Bytes of source files that were committed."),
    ("quarantined_rows", "Rows that went to quarantine."),
)
SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)


class Metrics:
    """Counters that the parts of the operator count with. ``registry`` has them all."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reconcile = Histogram(
            f"{PREFIX}reconcile_seconds",
            "Time that one look at a resource took.",
            ["kind"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._errors = Counter(
            f"{PREFIX}reconcile_errors",
            "Looks that failed and are repeated, by the class of the error.",
            ["kind", "error"],
            registry=self.registry,
        )
        self._calls = Counter(
            f"{PREFIX}api_calls",
            "Calls to the Kubernetes API; code 0: no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self._call_seconds = Histogram(
            f"{PREFIX}api_call_seconds",
            "Time that a call to the Kubernetes API took.",
            ["verb"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._jobs = Counter(
            f"{PREFIX}jobs",
            "Jobs that ended, by outcome.",
            ["namespace", "kind", "name", "outcome"],
            registry=self.registry,
        )
        self._dropped = Counter(
            f"{PREFIX}hints_dropped",
            "Notifications that were not kept because as many waited: a listing finds what they told of.",
            registry=self.registry,
        )
        self._committed: dict[tuple[str, str], tuple[int, ...]] = {}
        self.registry.register(_Committed(self._committed))

    def handled(self, key: Key, seconds: float, error: BaseException | None) -> None:
        """A key was looked at."""
        self._reconcile.labels(key.kind).observe(seconds)
        if error is not None:
            name = type(error).__name__ if isinstance(error, FeatureStoreError) else "Defect"
            self._errors.labels(key.kind, name).inc()

    def called(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """The Kubernetes API was called."""
        self._calls.labels(verb, resource, str(code)).inc()
        self._call_seconds.labels(verb).observe(seconds)

    def job_ended(self, key: Key, outcome: str) -> None:
        """A Job of the resource ended: ``succeeded``, ``failed``, ``out-of-memory`` …"""
        self._jobs.labels(key.namespace, key.kind, key.name, outcome).inc()

    def hints_dropped(self, number: int) -> None:
        """So many notifications were not kept."""
        self._dropped.inc(number)

    def begin(self, key: Key) -> None:
        """A pipeline is there. Its counters are, from 0: else Prometheus would see no increase by its first batch."""
        self._committed.setdefault((key.namespace, key.name), (0,) * len(_OF_PIPELINE))

    def batch_committed(self, key: Key, rows: int, size_bytes: int, quarantined: int) -> None:
        """A batch of the pipeline, which has begun, is in its dataset."""
        where, more = (key.namespace, key.name), (1, rows, size_bytes, quarantined)
        self._committed[where] = tuple(map(sum, zip(self._committed[where], more, strict=True)))

    def count_queued(self, queued: Callable[[], int]) -> None:
        """Also tell how many steps wait for their turn."""
        gauge = Gauge(
            f"{PREFIX}jobs_queued",
            "Steps that wait until a Job may be created for them.",
            registry=self.registry,
        )
        gauge.set_function(queued)

    def count_backlog(self, backlog: Callable[[], int]) -> None:
        """Also tell how many batches workers run or are waited for by."""
        gauge = Gauge(
            f"{PREFIX}workers_backlog",
            "Batches that workers run, or that wait for one.",
            registry=self.registry,
        )
        gauge.set_function(backlog)

    def forget(self, key: Key) -> None:
        """The resource was deleted: its series end."""
        if key.kind == "DataPipeline":
            self._committed.pop((key.namespace, key.name), None)
        self._jobs.remove_by_labels({"namespace": key.namespace, "kind": key.kind, "name": key.name})

    def read(self, cache: Cache, depth: Callable[[], dict[str, int]], leads: Callable[[], bool]) -> None:
        """From here on, also tell what the cache and the queue hold when Prometheus asks."""
        self.registry.register(_Reading(cache, depth, leads))


class _Committed(Collector):
    """Counters of each pipeline. One tuple for all: thousands of pipelines take a tenth of what ``Counter``s would."""

    def __init__(self, committed: dict[tuple[str, str], tuple[int, ...]]) -> None:
        self._committed = committed

    def collect(self) -> Iterator[Metric]:
        # A copy is made at once. While a list of pairs is made, garbage may be collected, and another thread have its turn.
        amounts = list(self._committed.copy().items())
        for place, (name, text) in enumerate(_OF_PIPELINE):
            family = CounterMetricFamily(f"{PREFIX}{name}", text, labels=["namespace", "pipeline"])
            for where, amount in amounts:
                family.add_metric(where, amount[place])
            yield family


class _Reading(Collector):
    def __init__(self, cache: Cache, depth: Callable[[], dict[str, int]], leads: Callable[[], bool]) -> None:
        self._cache, self._depth, self._leads = cache, depth, leads

    def describe(self) -> list[Metric]:
        return []  # Else registering would read the cache before it is filled.

    def collect(self) -> Iterator[Metric]:
        queue = GaugeMetricFamily(f"{PREFIX}queue", "Resources in the queue, by state.", labels=["state"])
        for state, number in self._depth().items():
            queue.add_metric([state], number)
        yield queue
        yield GaugeMetricFamily(f"{PREFIX}leader", "1 if this operator works.", value=int(self._leads()))
        yield GaugeMetricFamily(
            f"{PREFIX}synced", "1 if all is known that there is.", value=int(self._cache.synced)
        )
        yield from statuses(self._cache, time.time())


def statuses(cache: Cache, now_s: float) -> Iterator[Metric]:
    """What the statuses say at ``now_s``, UTC seconds. One family after the other: of thousands, each takes room."""
    all_ = cache.standings()
    views = [(key, summary) for key, summary in all_ if key.kind == "FeatureView"]
    pipelines = [(key, summary) for key, summary in all_ if key.kind == "DataPipeline"]
    labels = ["namespace", "view"]
    yield _family(
        "freshness_seconds",
        "Age of the view's newest event.",
        labels,
        ((key[1:], _age_s(summary.watermark_s, now_s)) for key, summary in views),
    )
    yield _family(
        "view_rows", "Feature rows of the view.", labels, ((key[1:], summary.rows) for key, summary in views)
    )
    yield _family(
        "drifted",
        "1 if the newest values of the view lie too far from its training set, 0 if not.",
        labels,
        ((key[1:], summary.drifted) for key, summary in views),
    )
    yield _family(
        "inconsistent",
        "1 if an entity of the view that was read online and offline differed, 0 if none did.",
        labels,
        ((key[1:], summary.inconsistent) for key, summary in views),
    )
    yield _family(
        "events_undelivered",
        "1 if the sink of events does not take those of the view's commits, 0 if it does.",
        labels,
        ((key[1:], summary.untold) for key, summary in views),
    )
    labels = ["namespace", "pipeline"]
    yield _family(
        "pending_files",
        "Files that no batch has taken yet.",
        labels,
        ((key[1:], summary.pending_files) for key, summary in pipelines),
    )
    yield _family(
        "lag_offsets",
        "Offsets of a stream that no committed batch holds yet.",
        labels,
        ((key[1:], summary.lag) for key, summary in pipelines),
    )
    yield _family(
        "oldest_pending_seconds",
        "Age of the oldest of those files.",
        labels,
        # Nothing pending is an age of 0: else an alert on the age would never end.
        ((key[1:], _age_s(summary.oldest_pending_s, now_s) or 0.0) for key, summary in pipelines),
    )
    yield _family(
        "backlogged",
        "1 if more waits for the pipeline than one batch takes, 0 if not.",
        labels,
        ((key[1:], summary.backlogged) for key, summary in pipelines),
    )
    yield _family(
        "batch",
        "Number of the last batch of the pipeline.",
        labels,
        ((key[1:], summary.batch) for key, summary in pipelines),
    )
    labels = ["namespace", "kind", "name"]
    for what in ("files", "rows"):
        yield _family(
            f"quarantine_open_{what}",
            f"{what.capitalize()} in quarantine that nobody ran again or dismissed.",
            labels,
            (
                ((key.namespace, key.kind, key.name), getattr(summary, f"quarantined_{what}"))
                for key, summary in all_
            ),
        )
    yield _family(
        "rebuild_left",
        "Pieces of the last rebuild that are to be run; 0 once readers find what it made.",
        labels,
        (((key.namespace, key.kind, key.name), summary.rebuild_left) for key, summary in all_),
    )
    yield _family(
        "ready",
        "1 if the resource is Ready.",
        ["namespace", "kind", "name"],
        (((key.namespace, key.kind, key.name), int(summary.ready)) for key, summary in all_),
    )


def _family(
    name: str, text: str, labels: list[str], values: Iterable[tuple[Sequence[str], float | None]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=labels)
    for where, value in values:
        if value is not None:
            family.add_metric(where, value)
    return family


def _age_s(moment_s: float | None, now_s: float) -> float | None:
    return None if moment_s is None else max(0.0, now_s - moment_s)
