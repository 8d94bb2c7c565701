"""Threads that handle keys, one at a time each, as ``schedule.py`` says."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from featurestore.errors import Busy, FeatureStoreError
from featurestore_operator.kube.object_key import Key
from featurestore_operator.log import looking_at
from featurestore_operator.workqueue.schedule import Schedule

logger = logging.getLogger(__name__)


class Handler(Protocol):
    """Brings one resource closer to its spec."""

    def handle(self, key: Key) -> float | None:
        """Seconds until the key should be looked at again, if nothing happens; None: never.

        Raises:
            FeatureStoreError: it did not work; the key is handled again later.
        """


class WorkObserver(Protocol):
    """Observes each key that was handled, in ``seconds``; ``error`` is what was raised."""

    def handled(self, key: Key, seconds: float, error: BaseException | None) -> None: ...


class Work:
    """The queue and its workers.

    Held, it accepts keys and hands out none: that is how an operator stands by that does not lead.
    """

    def __init__(
        self,
        workers: int,
        observer: WorkObserver,
        clock: Callable[[], float] = time.monotonic,
        *,
        held: bool = False,
    ) -> None:
        self._schedule = Schedule(workers)
        self._observer = observer
        self._clock = clock
        self._changed = threading.Condition()
        self._held = held
        self._ended = False
        self._threads: list[threading.Thread] = []
        self._workers = workers

    def add(self, key: Key, after_s: float = 0.0) -> None:
        """Have the key handled once, ``after_s`` from now or earlier."""
        with self._changed:
            self._schedule.add(key, self._clock() + after_s)
            # Thousands are added before the first is handed out.
            if not self._held:
                self._changed.notify()

    def hold(self) -> None:
        """Hand out no more keys; what is under way continues until it ends."""
        with self._changed:
            self._held = True

    def release(self) -> None:
        """Hand out the keys that have come in."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def start(self, handler: Handler) -> None:
        """Start the workers."""
        for number in range(self._workers):
            # Daemons: a worker that hangs in a storage must not keep the process from ending in time.
            thread = threading.Thread(target=self._run, args=(handler,), name=f"worker-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, within_s: float) -> bool:
        """Hand out no more keys, and wait for what is under way. True if it ended in time."""
        deadline = time.monotonic() + within_s
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def depth(self) -> dict[str, int]:
        """Number of keys that are ``ready``, ``waiting`` for their time, and ``under_way``."""
        with self._changed:
            schedule = self._schedule
            return {"ready": schedule.ready, "waiting": schedule.waiting, "under_way": schedule.under_way}

    def _run(self, handler: Handler) -> None:
        while (key := self._take()) is not None:
            self._handle(handler, key)

    def _take(self) -> Key | None:
        with self._changed:
            while not self._ended:
                now_s = self._clock()
                key = None if self._held else self._schedule.take(now_s)
                if key is not None:
                    return key
                due_s = None if self._held else self._schedule.next_s()
                self._changed.wait(None if due_s is None or due_s <= now_s else due_s - now_s)
            return None

    def _handle(self, handler: Handler, key: Key) -> None:
        start = time.monotonic()
        again_s: float | None = None
        error: Exception | None = None
        with looking_at(key):
            try:
                again_s = handler.handle(key)
            except FeatureStoreError as failure:
                error = failure
                logger.warning("failed, will be retried: %s", failure)
            except Exception as failure:
                # A defect of ours must neither end the worker nor be retried in a hot loop.
                logger.exception("failed because of a bug, will be retried")
                error = failure
        with self._changed:
            self._schedule.done(key)
            now_s = self._clock()
            if error is None:
                self._schedule.succeeded(key)
                if again_s is not None:
                    self._schedule.add(key, now_s + again_s)
            else:
                at_least_s = error.retry_after_s if isinstance(error, Busy) else 0.0
                self._schedule.failed(key, now_s, at_least_s)
            self._changed.notify_all()
        self._observer.handled(key, time.monotonic() - start, error)
