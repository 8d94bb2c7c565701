"""Arrivals that have another version since they were taken, and bring the same: of each URI the newest such version.

Local files get new times by ``cp -r``, a clone or ``touch``. Their bytes are compared once, and the answer is kept here.
It saves work and nothing else: without it they are compared again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import Checkpoint, KnownArrival, pack, version_of
from featurestore.arrivals.manifest import Action
from featurestore.errors import StorageError
from featurestore.storage import paths
from featurestore.storage.objects import Storage

# So many answers are held in memory, or lost with the process, before they are written.
UNSAVED = 10_000
_END = ("", "")


class Retimed:
    """Those of one pipeline. Any number of processes may write them: the last one wins, and nothing is lost by that."""

    __slots__ = ("_path", "_storage", "_stored", "_unsaved")

    def __init__(self, storage: Storage, pipeline: str) -> None:
        self._storage = storage
        self._path = paths.retimed(pipeline)
        self._stored: Checkpoint | None = None
        self._unsaved: dict[str, str] = {}

    def __contains__(self, arrival: Arrival) -> bool:
        """Whether this version is known to bring nothing new."""
        if arrival.uri in self._unsaved:
            return self._unsaved[arrival.uri] == arrival.version
        return any(row.version == arrival.version for row in self._load().find(arrival.uri))

    def in_order(self) -> Callable[[Arrival], bool]:
        """The same question about arrivals that come sorted by URI, without searching."""
        lines: Iterator[tuple[str, str]] | None = None
        at, line = _END

        def has(arrival: Arrival) -> bool:
            nonlocal lines, at, line
            if lines is None:
                # Nothing is read where no version is another one: each start of a cluster would pay for it.
                lines = self._load().lines()
                at, line = next(lines, _END)
            while line and at < arrival.uri:
                at, line = next(lines, _END)
            if arrival.uri in self._unsaved:
                return self._unsaved[arrival.uri] == arrival.version
            return at == arrival.uri and bool(line) and version_of(line) == arrival.version

        return has

    def add(self, arrival: Arrival) -> None:
        """Remember that this version brings nothing new.

        Raises:
            StorageError: storage did not answer.
        """
        self._unsaved[arrival.uri] = arrival.version
        if len(self._unsaved) >= UNSAVED:
            self.save()

    def save(self) -> None:
        """Write what is not written yet.

        Raises:
            StorageError: storage did not answer.
        """
        if not self._unsaved:
            return
        new = sorted(_row(uri, version) for uri, version in self._unsaved.items())
        data = pack(heapq.merge(self._kept(), new))
        self._storage.replace(self._path, data)
        self._stored, self._unsaved = Checkpoint(data), {}

    def _kept(self) -> Iterator[KnownArrival]:
        return (row for row in self._load() if row.uri not in self._unsaved)

    def _load(self) -> Checkpoint:
        if self._stored is None:
            stored = Checkpoint(self._storage.find(self._path) or b"")
            try:
                stored.find("")  # reads all of it
            except StorageError:
                stored = Checkpoint()
            self._stored = stored
        return self._stored


def _row(uri: str, version: str) -> KnownArrival:
    return KnownArrival(uri, 0, 0, version, Action.TAKE)
