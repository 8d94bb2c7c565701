"""What sources that are tables have in common: one arrival, whose URI is the table's, and whose commits wait in its version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf
from threading import Event
from typing import Protocol

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.files.glob import Pattern
from featurestore.arrivals.files.object_url import named
from featurestore.arrivals.files.watch import watch_folder
from featurestore.arrivals.manifest import Action, Entry
from featurestore.resources.location import locate, table_uri
from featurestore.timestamps import current_us


class Commits(Protocol):
    """Some commits of a table: as a text, the version of an arrival."""

    @property
    def position(self) -> str:
        """What counts them: see :func:`featurestore.arrivals.position.messages`."""


class TableSource:
    """See :class:`featurestore.arrivals.source.ArrivalSource`.

    ``folder``: of the table's, where each commit writes a file whose name ends with one of ``suffixes``. ``base``: what a
    relative path is relative to; None for the working folder.
    """

    most_messages = None

    def __init__(self, uri: str, base: str | None, folder: str, suffixes: tuple[str, ...]) -> None:
        self._uri = table_uri(uri)
        self._place = locate(self._uri, base)
        self._folder, self._suffixes = folder, suffixes
        self._seen: Arrival | None = None
        self._left = False

    def arrivals(self) -> Iterator[Arrival]:
        raise NotImplementedError

    def look(self, uris: Iterable[str]) -> list[Arrival]:
        return list(self.arrivals()) if self._uri in set(uris) else []

    def is_same(
        self, arrival: Arrival, known: Sequence[KnownArrival], patience_s: float = inf
    ) -> bool | None:
        return False

    def admit(self, entries: Iterable[Entry], now_us: int) -> Iterator[Entry]:
        """All of them: a commit is there as a whole."""
        yield from entries

    def due_us(self) -> int | None:
        return 0 if self._left else None

    def due(self, now_us: int) -> list[str]:
        left, self._left = self._left, False
        return [self._uri] if left else []

    def named(self, urls: Iterable[str]) -> list[str]:
        protocol, separator, path = self._uri.partition("://")
        if not separator:
            return []
        written = named(Pattern(protocol, f"{path}/{self._folder}", ("*",)), urls)
        return [self._uri] if any(url.endswith(self._suffixes) for url in written) else []

    def watch(self, stop: Event) -> Iterator[frozenset[str]]:
        """The table, whenever there was a commit. Ends at once in object storage, and without ``watchfiles``."""
        yield from watch_folder(f"{self._place}/{self._folder}", self._suffixes, self._uri, stop)

    def _noted(self, commits: Commits) -> Arrival:
        """All that is there, with the time when its end was first seen."""
        if self._seen is None or self._seen.version != str(commits):
            self._seen = Arrival(self._uri, str(commits), 0, current_us(), commits.position)
        return self._seen


def entry_of(
    arrival: Arrival,
    commits: Commits,
    follows: tuple[int, int] | None,
    action: Action = Action.TAKE,
    rule: str = "",
    reason: str = "",
) -> Entry:
    """What is done with some of the commits that wait."""
    return Entry(of_commits(arrival, commits), action, follows=follows, rule=rule, reason=reason)


def of_commits(arrival: Arrival, commits: Commits, size_bytes: int = 0) -> Arrival:
    """The arrival with these commits."""
    return replace(arrival, version=str(commits), content=commits.position, size_bytes=size_bytes)
