"""Hints that wait for a look at their pipeline: a bounded number, each once."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from threading import Lock
from typing import Generic, TypeVar

from featurestore.arrivals.backlog import MOST_HINTS

logger = logging.getLogger(__name__)

K = TypeVar("K")


class PendingHints(Generic[K]):
    """URIs by pipeline. Of one pipeline no more are kept than what a listing answers at once. Safe to use from several threads.

    >>> hints = PendingHints[str]()
    >>> hints.add("flights", ["s3://raw/a.csv", "s3://raw/a.csv"])
    0
    >>> hints.take("flights"), hints.take("flights")
    ({'s3://raw/a.csv'}, set())
    """

    def __init__(self) -> None:
        self._uris: dict[K, set[str]] = {}
        self._full: set[K] = set()
        self._lock = Lock()

    def add(self, pipeline: K, uris: Iterable[str]) -> int:
        """Keep these until they are taken. How many are not kept, because the next look lists the source in any case."""
        dropped = 0
        with self._lock:
            kept = self._uris.setdefault(pipeline, set())
            for uri in uris:
                if len(kept) <= MOST_HINTS:
                    kept.add(uri)
                elif uri not in kept:
                    dropped += 1
            is_told = not dropped or pipeline in self._full
            if dropped:
                self._full.add(pipeline)
        if not is_told:
            logger.warning(
                "%s: more than %s notifications wait, so that its source is listed instead. Nothing is lost",
                "/".join(pipeline) if isinstance(pipeline, tuple) else pipeline,
                f"{MOST_HINTS:,}",
            )
        return dropped

    def take(self, pipeline: K) -> set[str]:
        """What waits for one pipeline, which is forgotten here."""
        with self._lock:
            self._full.discard(pipeline)
            return self._uris.pop(pipeline, set())

    def take_all(self) -> dict[K, set[str]]:
        """What waits, which is forgotten here."""
        with self._lock:
            taken, self._uris = self._uris, {}
            self._full.clear()
        return taken

    def __bool__(self) -> bool:
        return bool(self._uris)
