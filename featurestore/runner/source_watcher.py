"""Wakes the runner: when something may have arrived, when it is to stop, or when it is time."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from threading import Condition, Event, Thread

from featurestore.arrivals.notifications.pending_hints import PendingHints
from featurestore.arrivals.notifications.subscriptions import Subscriptions
from featurestore.arrivals.source_kinds import open_source
from featurestore.resources.data_pipeline import Source
from featurestore.resources.notifications import Carrier
from featurestore.storage.credentials import source_environ

logger = logging.getLogger(__name__)


class SourceWatcher:
    """One thread for each watched source. ``base``: what relative sources are relative to."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._rung = Condition()
        self._hints = PendingHints[str]()
        self._subscriptions = Subscriptions(self.hint)
        self._pending = False
        self._watched: dict[str, tuple[Source, Event]] = {}
        self._threads: list[Thread] = []

    def attend(self, sources: Mapping[str, Source], carriers: Mapping[str, Carrier] | None = None) -> None:
        """Watch these sources by pipeline, and no others. ``carriers``: what tells of their objects."""
        for name, (source, stop) in list(self._watched.items()):
            if sources.get(name) != source:
                stop.set()
                del self._watched[name]
        for name, source in sources.items():
            if name not in self._watched:
                stop = Event()
                self._watched[name] = (source, stop)
                self._start(Thread(target=self._watch, args=(name, source, stop), name=f"hints-{name}"))
        self._subscriptions.attend_only(carriers or {}, source_environ())

    def hint(self, pipeline: str, urls: Iterable[str]) -> None:
        """Wake whoever waits: objects at these URLs may be new. Those that are not of the pipeline's source are left out."""
        source, _ = self._watched.get(pipeline, (None, None))
        if source is not None:
            self._tell(pipeline, open_source(source, self._base).named(urls))

    def ring(self) -> None:
        """Wake whoever waits, or waits next. Safe in a signal handler of the waiting thread's process."""
        self._pending = True
        Thread(target=self._notify).start()

    def wait(self, seconds: float) -> dict[str, set[str]]:
        """URIs by pipeline that may have something new, after the first hint or ring, or when the time is over."""
        with self._rung:
            self._rung.wait_for(lambda: self._pending or bool(self._hints), timeout=max(0.0, seconds))
            self._pending = False
            return self._hints.take_all()

    def heard(self) -> dict[str, set[str]]:
        """URIs by pipeline that may have something new, without a wait. A ring is left for :meth:`wait`."""
        return self._hints.take_all()

    def close(self) -> None:
        """Stop watching, and wait until nothing watches: a process that ends beneath a watch is aborted by it."""
        self.attend({})
        self._subscriptions.close()
        for thread in self._threads:
            thread.join()

    def _start(self, thread: Thread) -> None:
        self._threads = [*(running for running in self._threads if running.is_alive()), thread]
        thread.start()

    def _watch(self, name: str, source: Source, stop: Event) -> None:
        try:
            for uris in open_source(source, self._base).watch(stop):
                self._tell(name, uris)
        except Exception as error:  # noqa: BLE001 - hints make it fast; why a source cannot be listed its listing says
            logger.warning("no hints for %s, arrivals are found by listing alone: %s", source.place, error)

    def _tell(self, pipeline: str, uris: Collection[str]) -> None:
        if uris:
            with self._rung:
                self._hints.add(pipeline, uris)
                self._rung.notify_all()

    def _notify(self) -> None:
        with self._rung:
            self._rung.notify_all()
