"""Hints that wait for a look at their pipeline: a bounded number, each once."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Generic, TypeVar

from featurestore.arrivals.backlog import MOST_HINTS

K = TypeVar("K")


class PendingHints(Generic[K]):
    """URIs by pipeline. Of one pipeline no more are kept than what a listing answers at once. Safe to use from several threads.

    >>> hints = PendingHints[str]()
    >>> hints.add("flights", ["s3://raw/a.csv", "s3://raw/a.csv"])
    >>> hints.take("flights"), hints.take("flights")
    ({'s3://raw/a.csv'}, set())
    """

    def __init__(self) -> None:
        self._uris: dict[K, set[str]] = {}
        self._lock = Lock()

    def add(self, pipeline: K, uris: Iterable[str]) -> None:
        """Keep these until they are taken."""
        with self._lock:
            kept = self._uris.setdefault(pipeline, set())
            for uri in uris:
                if len(kept) > MOST_HINTS:
                    # The next look lists the source, whatever else is hinted.
                    return
                kept.add(uri)

    def take(self, pipeline: K) -> set[str]:
        """What waits for one pipeline, which is forgotten here."""
        with self._lock:
            return self._uris.pop(pipeline, set())

    def take_all(self) -> dict[K, set[str]]:
        """What waits, which is forgotten here."""
        with self._lock:
            taken, self._uris = self._uris, {}
        return taken

    def __bool__(self) -> bool:
        return bool(self._uris)
