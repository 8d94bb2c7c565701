"""Which worker runs which batch, how many are wanted, and when a Job is to run a batch instead.

All of it is remembered in this process, and may be lost at any step: what a batch has come to stands in storage, and a
worker ends a batch when the process that asked for it is gone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from featurestore.errors import TransientError
from featurestore.protocol import WarmBatch
from featurestore.reconcile.steps import RunBatch
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.resources.execution import Execution
from featurestore.timestamps import SECOND_US
from featurestore_operator.informer.cache import Cache
from featurestore_operator.jobs.worker_call import WorkerCall
from featurestore_operator.kube.api_resources import FEATURE_VIEW
from featurestore_operator.kube.object_key import Key

logger = logging.getLogger(__name__)

_PATIENCE_US = 2 * SECOND_US
"""How long a batch waits for a worker that is at work before it has a Job."""
_GIVEN_UP_US = 10 * SECOND_US
"""What waits for longer is not asked for any more: its pipeline was suspended or is gone."""
_UNHEARD_US = 20 * SECOND_US
"""A worker finds out within this time that the host of who asked it is gone."""
_SHUNNED_US = 30 * SECOND_US
"""How long a worker is not asked that did not answer."""


@dataclass(slots=True)
class WorkersWanted:
    """What is asked of the workers of one kind. ``at_once``: the most batches at a time. ``spec``: of one of their pipelines."""

    spec: DataPipelineSpec
    last_us: int
    at_once: int = 1
    running: dict[Key, WorkerCall] = field(default_factory=dict)
    waiting: dict[Key, int] = field(default_factory=dict)


class BatchWorkers:
    """``clock``: UTC microseconds now. Safe to use from several threads."""

    def __init__(self, cache: Cache, clock: Callable[[], int]) -> None:
        self._cache, self._clock = cache, clock
        self._began_us = clock()
        self._lock = threading.Lock()
        self._wanted: dict[tuple[str, str], WorkersWanted] = {}
        self._calls: dict[Key, WorkerCall] = {}
        self._tried: dict[Key, int] = {}
        self._shunned: dict[tuple[str, str], tuple[int, str]] = {}

    @property
    def backlog(self) -> int:
        """Batches that workers run, or that wait for one."""
        with self._lock:
            return sum(len(wanted.running) + len(wanted.waiting) for wanted in self._wanted.values())

    def take(self, namespace: str, work: RunBatch, spec: DataPipelineSpec) -> str | None:
        """What is under way for a batch that is due, as a sentence; None if a Job is to run it."""
        now_us, key = self._clock(), Key("DataPipeline", namespace, work.pipeline)
        with self._lock:
            call = self._calls.get(key)
            if call is not None and call.batch.number == work.number:
                return _sentence(call)
            if self._tried.get(key, 0) >= work.number:
                return None
            kind = namespace, spec.worker_kind
            wanted = self._wanted.setdefault(kind, WorkersWanted(spec, now_us, 0))
            wanted.spec, wanted.last_us = spec, now_us
            wanted.waiting.setdefault(key, now_us)
            at_once = len(wanted.running.keys() | wanted.waiting.keys())
            if at_once > wanted.at_once:
                wanted.at_once = at_once
                self._wake_store(namespace)
            ready = self._ready(*kind, now_us)
            waits_us = now_us - wanted.waiting[key]
            if not ready or waits_us >= _PATIENCE_US:
                del wanted.waiting[key]
                return None
            at_work = {call.pod for call in self._calls.values() if call.namespace == namespace}
            free = [pod for pod in ready if pod not in at_work]
            if call is not None or not free:
                self._cache.wake(key, (_PATIENCE_US - waits_us) / SECOND_US)
                return f"Batch {work.number} waits for a worker that is at work"
            del wanted.waiting[key]
            batch = WarmBatch(
                pipeline=work.pipeline,
                number=work.number,
                turn=work.turn,
                time_limit_s=spec.job.active_deadline.total_seconds(),
            )
            call = WorkerCall(namespace, free[0], ready[free[0]], batch)
            self._tried[key] = work.number
            self._calls[key] = wanted.running[key] = call
        threading.Thread(
            target=self._run, args=(key, wanted, call), name=f"batch of {key}", daemon=True
        ).start()
        return _sentence(call)

    def under_way(self, namespace: str, pipeline: str) -> tuple[int, str] | None:
        """Number of the batch that a worker runs now, and the worker."""
        with self._lock:
            call = self._calls.get(Key("DataPipeline", namespace, pipeline))
        return (call.batch.number, f"Worker {call.pod}") if call is not None else None

    def end(self, namespace: str, pipeline: str) -> str:
        """Have a batch of a pipeline ended; name of the pod that may still write, "" if there is none."""
        key = Key("DataPipeline", namespace, pipeline)
        with self._lock:
            call = self._calls.get(key)
        if call is not None:
            call.cancel()
            return call.pod
        # A worker may still have to find out that the process is gone which asked it before this one began.
        if self._clock() >= self._began_us + _UNHEARD_US:
            return ""
        spec = (self._cache.get(key) or {}).get("spec") or {}
        return "of a worker" if spec.get("execution") == Execution.WARM else ""

    def forget(self, namespace: str, pipeline: str) -> None:
        """The pipeline is gone: another one of its name begins with batch 1."""
        with self._lock:
            self._tried.pop(Key("DataPipeline", namespace, pipeline), None)

    def wanted(self, namespace: str) -> dict[str, WorkersWanted]:
        """Kind of workers to what is asked of it."""
        with self._lock:
            return {kind: wanted for (where, kind), wanted in self._wanted.items() if where == namespace}

    def is_idle(self, namespace: str, kind: str, idle_us: int) -> bool:
        """Whether nothing was asked of these workers for so long. What was remembered of them is forgotten then."""
        now_us = self._clock()
        with self._lock:
            wanted = self._wanted.get((namespace, kind))
            if wanted is None:
                return now_us >= self._began_us + idle_us
            is_waited_for = any(now_us < since_us + _GIVEN_UP_US for since_us in wanted.waiting.values())
            if wanted.running or is_waited_for or now_us < wanted.last_us + idle_us:
                return False
            del self._wanted[namespace, kind]
            return True

    def unanswered(self, namespace: str, pods: list[str]) -> str:
        """What was met at one of these pods that does not answer; "" if all do."""
        now_us = self._clock()
        with self._lock:
            for pod in pods:
                until_us, why = self._shunned.get((namespace, pod), (0, ""))
                if until_us > now_us:
                    return f"Pod {pod}: {why}"
        return ""

    def _ready(self, namespace: str, kind: str, now_us: int) -> dict[str, str]:
        """Names of the workers that can be asked, to their addresses."""
        ready = {}
        for pod in self._cache.worker_pods(namespace, kind):
            name, status = pod["metadata"]["name"], pod.get("status") or {}
            is_shunned = self._shunned.get((namespace, name), (0, ""))[0] > now_us
            if is_ready(pod) and status.get("podIP") and not is_shunned:
                ready[name] = status["podIP"]
        return ready

    def _run(self, key: Key, wanted: WorkersWanted, call: WorkerCall) -> None:
        is_done, why, now_us = False, "the attempt failed, and its log says why", self._clock()
        try:
            is_done = call.run()
        except TransientError as error:
            why, now_us = str(error), self._clock()
            self._shunned[key.namespace, call.pod] = now_us + _SHUNNED_US, why
            self._wake_store(key.namespace)
        with self._lock:
            del self._calls[key]
            wanted.running.pop(key, None)
            wanted.last_us = self._clock()
            longest = min(wanted.waiting, key=lambda each: wanted.waiting[each], default=None)
        if not is_done:
            batch = f"batch {call.batch.number} of {key.namespace}/{key.name}"
            logger.warning("worker %s did not run %s, which a Job is to run: %s", call.pod, batch, why)
        self._cache.wake(key)
        for reader in self._cache.readers(key):
            if reader.kind == FEATURE_VIEW.kind:
                self._cache.wake(reader)
        if longest is not None:
            self._cache.wake(longest)

    def _wake_store(self, namespace: str) -> None:
        for store in self._cache.stores(namespace):
            self._cache.wake(Key("FeatureStore", namespace, store["metadata"]["name"]))


def is_ready(pod: dict[str, object]) -> bool:
    """Whether the pod answers, and is not told to end."""
    status, metadata = pod.get("status") or {}, pod["metadata"]
    assert isinstance(status, dict)
    assert isinstance(metadata, dict)
    is_running = status.get("phase") == "Running" and "deletionTimestamp" not in metadata
    return is_running and any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    )


def _sentence(call: WorkerCall) -> str:
    return f"Worker {call.pod} runs batch {call.batch.number}"
