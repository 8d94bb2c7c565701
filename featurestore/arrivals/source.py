"""Where the arrivals of a pipeline come from: files, and whatever else can name what it brings.

Nothing above knows one kind of source from another: the backlog, the ledger and its checkpoints, the batch, the
quarantine, the loop and the operator see arrivals, and ask these questions. ``files/`` is the first answer.

What identifies an arrival is ``(uri, version)``. Two rules follow for a source, whatever it is:

- the same URI and version always bring the same rows, or cannot be read any more
- of one URI at most one arrival waits at a time, and :meth:`ArrivalSource.decide` says what of it is new

A file's URI is its place, its version an etag; a version that came later overwrites. Of a stream, the URI is a
partition and the version a range of offsets: what is new begins where the last range ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from threading import Event
from typing import Protocol

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.manifest import Entry

Decide = Callable[[Arrival, Sequence[KnownArrival]], Entry | None]
"""See :meth:`ArrivalSource.decide`."""


class ArrivalSource(Protocol):
    """One pipeline's source. All methods raise StorageError if it does not answer, and SpecError if it has no meaning.

    ``noun``: what one arrival is called, such as ``file``. ``most_messages``: what one batch takes of arrivals that are taken
    in part; None where they are taken whole.
    """

    noun: str

    @property
    def most_messages(self) -> int | None: ...

    def arrivals(self) -> Iterator[Arrival]:
        """What is there, taken or not, sorted by URI. The truth, whatever hints say or miss.

        What fails for a part of it is raised when all else was told: of that part nothing is known.
        """

    def look(self, uris: Iterable[str]) -> list[Arrival]:
        """What is there of these URIs, as :meth:`arrivals` would have it, sorted: what a hint is checked by."""

    def find(self, arrival: Arrival) -> Arrival | None:
        """The arrival as it is now: with another version if it was changed; None if it is gone."""

    def is_same(
        self, arrival: Arrival, known: Sequence[KnownArrival], patience_s: float = inf
    ) -> bool | None:
        """Whether an arrival brings what is known of its URI already, though its version is another.

        None: it could not be said in this time. Ask again.
        """

    def pin(self, entries: Sequence[Entry]) -> Iterable[Entry]:
        """Those that still are as they were seen, with what tells it later: a batch is made of them now.

        What waits as one arrival may be several of its URI, with versions that do not overlap.
        """

    def decide(self, arrival: Arrival, known: Sequence[KnownArrival]) -> Entry | None:
        """What to do with an arrival; None if nothing of it is new.

        ``known``: what manifests say of its URI, by batch. The entry's arrival may be a part of the arrival: what
        was not taken yet.
        """

    def admit(self, entries: Iterable[Entry], now_us: int) -> Iterator[Entry]:
        """Those entries whose arrivals are whole now. Look again at the others when they are due."""

    def due_us(self) -> int | None:
        """When the next arrival that was not admitted may be whole; None if there is none."""

    def due(self, now_us: int) -> list[str]:
        """URIs to look at again now, each once."""

    def named(self, urls: Iterable[str]) -> list[str]:
        """URIs that objects at these URLs would have in :meth:`arrivals`; of others none. Asks nobody."""

    def watch(self, stop: Event) -> Iterator[frozenset[str]]:
        """URIs that may have something new, as it happens, until ``stop`` is set. Blocks; ends if nothing gives hints."""

    def explain_empty(self) -> str:
        """Why :meth:`arrivals` may have given nothing, in a sentence."""
