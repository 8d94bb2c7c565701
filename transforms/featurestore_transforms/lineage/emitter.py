"""Sends events of OpenLineage from a thread of its own: what they are about neither waits for them nor fails by them."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

from featurestore.errors import FeatureStoreError, foreseen
from featurestore.protocol import EngineRequest
from featurestore.redaction import redact
from featurestore.storage.objects import Storage
from featurestore_transforms.lineage.lineage_dataset import PRODUCER, facet
from featurestore_transforms.lineage.lineage_transport import Send, transport

_WAITING = 1000
"""So many events wait at most; others are lost."""
_END_S = 2.0
"""So long a process that ends waits for events that are still to be sent."""
_SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"

log = logging.getLogger(__name__)


class Outcome:
    """What became of a run. ``result``: None while it is not known."""

    result: Any = None


@contextmanager
def telling(
    storage: Storage, request: EngineRequest, environ: Mapping[str, str] | None = None
) -> Iterator[Outcome]:
    """Tell that the request begins, and what became of it: its ``result``, or the failure that leaves the context."""
    outcome = Outcome()
    emitter = emitter_of(os.environ if environ is None else environ)
    if emitter is None:
        yield outcome
        return
    run_id = str(uuid.uuid4())
    emitter.tell(storage, request, run_id, "START")
    try:
        yield outcome
    except BaseException as error:
        emitter.tell(storage, request, run_id, "FAIL", error=foreseen(error))
        raise
    emitter.tell(storage, request, run_id, "COMPLETE", result=outcome.result)


class Emitter:
    """``namespace``: of the jobs."""

    def __init__(self, send: Send, namespace: str) -> None:
        self._send, self._namespace = send, namespace
        self._events: queue.Queue[Callable[[], dict[str, Any] | None]] = queue.Queue(_WAITING)
        self._lock, self._told_loss = threading.Lock(), False
        threading.Thread(target=self._run, name="lineage", daemon=True).start()
        atexit.register(self.flush)

    def tell(
        self,
        storage: Storage,
        request: EngineRequest,
        run_id: str,
        kind: str,
        *,
        result: Any = None,
        error: FeatureStoreError | None = None,
    ) -> None:
        """Have an event of this kind sent; what it says is found out where it is sent."""
        now = datetime.now(UTC).isoformat()

        def make() -> dict[str, Any] | None:
            return self._event(storage, request, run_id, kind, now, result, error)

        try:
            self._events.put_nowait(make)
        except queue.Full:
            self._say_lost("others wait")

    def flush(self, timeout_s: float = _END_S) -> None:
        """Return when all events are sent, or after that time."""
        with self._events.all_tasks_done:
            self._events.all_tasks_done.wait_for(lambda: not self._events.unfinished_tasks, timeout_s)

    def _run(self) -> None:
        while True:
            make = self._events.get()
            try:
                event = make()
                if event is not None:
                    self._send(event)
                self._told_loss = False
            except Exception as error:  # noqa: BLE001 - lineage that cannot be told ends nothing
                self._say_lost(redact(str(error)))
            finally:
                self._events.task_done()

    def _say_lost(self, why: str) -> None:
        # Once, until one comes through again: there may be thousands.
        if not self._told_loss:
            self._told_loss = True
            log.warning("lineage cannot be told: %s", why)

    def _event(
        self,
        storage: Storage,
        request: EngineRequest,
        run_id: str,
        kind: str,
        now: str,
        result: Any,
        error: FeatureStoreError | None,
    ) -> dict[str, Any] | None:
        from featurestore_transforms.lineage.lineage_run import described

        run = described(storage, request, result)
        if run is None:
            return None
        facets = {}
        if error is not None:
            # The problem alone: what was found may be somebody's value.
            message = f"{type(error).__name__}: {error.problem}"
            facets["errorMessage"] = facet(
                "1-0-1/ErrorMessageRunFacet", message=message, programmingLanguage="Python"
            )
        job_type = facet(
            "2-0-4/JobTypeJobFacet", processingType="BATCH", integration="FEATURESTORE", jobType="JOB"
        )
        return {
            "eventType": kind,
            "eventTime": now,
            "producer": PRODUCER,
            "schemaURL": _SCHEMA,
            "run": {"runId": run_id, "facets": facets},
            "job": {"namespace": self._namespace, "name": run.job, "facets": {"jobType": job_type}},
            "inputs": [dataset.event(is_output=False) for dataset in run.inputs],
            "outputs": [dataset.event(is_output=True) for dataset in run.outputs],
        }


def emitter_of(environ: Mapping[str, str]) -> Emitter | None:
    """What sends the events of this process; None if nobody asked for them, or in words that are not known."""
    return _emitter(
        tuple(sorted((name, value) for name, value in environ.items() if name.startswith("OPENLINEAGE")))
    )


@cache
def _emitter(variables: tuple[tuple[str, str], ...]) -> Emitter | None:
    environ = dict(variables)
    try:
        send = transport(environ)
    except (FeatureStoreError, ValueError, AttributeError) as error:
        log.warning("lineage is not told: %s", error)
        return None
    return None if send is None else Emitter(send, environ.get("OPENLINEAGE_NAMESPACE") or "default")
