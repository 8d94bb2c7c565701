"""The partitions of a stream as arrivals: what is new of each is a position, from where the last one ended.

The URI of a partition is ``kafka://<topic>/<id of the topic>/<partition>``, and of other streams alike. A topic that was
deleted and made again has another id, so its offsets, which begin at 0 again, are not taken for those that were read.

Where positions do not count messages, as ids of Redis, ``content`` of an arrival does: how many messages there ever were
before its first, and before its end. So it is known what a batch must bring, and how far behind a pipeline is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from threading import Event

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.manifest import Action, Entry
from featurestore.arrivals.position import Position, messages, taken_until
from featurestore.arrivals.streams.stream_client import Look, StreamClient
from featurestore.errors import StorageError
from featurestore.resources.message_stream import EARLIEST, LATEST, Stream
from featurestore.timestamps import current_us, parse_us

LOST, TRUNCATED = "stream:lost", "stream:truncated"
"""Rules of positions that cannot be read any more: deleted by retention, or lost by the servers."""
_WATCH_S = 0.25
_PATIENCE_S = 5.0
_START = re.compile(r"(\d+):(\d+)")


class StreamSource:
    """See :class:`featurestore.arrivals.source.ArrivalSource`. ``named``: what it is, as in ``topic 'clicks'``."""

    noun = "partition"

    def __init__(self, stream: Stream, named: str, client: StreamClient) -> None:
        self._stream, self._named = stream, named
        self._client = client
        self._begins: dict[str, int] = {}
        self._counted: dict[str, int] = {}
        self._starts: Mapping[int, int] | None = None
        self._seen: dict[str, Arrival] = {}
        self._cut: set[str] = set()

    @property
    def most_messages(self) -> int:
        return self._stream.max_messages

    def arrivals(self) -> Iterator[Arrival]:
        """Each partition from the first position that is there to the last; one that never had any is left out.

        Where the first batch begins at the latest positions, before all others the stream, with the end of each.
        """
        look = self._client.look()
        if look is None:
            return
        known, failures = look.known, look.failures
        failures += self._find_starts(look, known)
        if self._stream.start_at == LATEST and not failures:
            version = ",".join(f"{partition}:{position.end}" for partition, position in sorted(known.items()))
            content = ",".join(f"{partition}:{count.end}" for partition, count in sorted(look.counts.items()))
            yield Arrival(look.uri, version, 0, current_us(), content)
        for partition, position in sorted(known.items(), key=lambda item: f"{look.uri}/{item[0]}"):
            if position.end:
                content = str(look.counts[partition]) if partition in look.counts else ""
                uri = f"{look.uri}/{partition}"
                yield self._noted(Arrival(uri, str(position), 0, current_us(), content))
        if failures:
            raise failures[0]

    def look(self, uris: Iterable[str]) -> list[Arrival]:
        named = set(uris)
        return [arrival for arrival in self.arrivals() if arrival.uri in named or _is_start(arrival.uri)]

    def find(self, arrival: Arrival) -> Arrival | None:
        """Messages never change; those that were deleted, and those of a stream that was, are gone."""
        name, _, partition = arrival.uri.rpartition("/")
        look = self._client.look()
        if look is None or name != look.uri or int(partition) not in look.begins:
            return None
        first, end = look.begins[int(partition)], look.ends[int(partition)]
        for offset in (first, end):
            if isinstance(offset, StorageError):
                raise offset
        position = Position.of(arrival.version)
        if arrival.content:
            wanted = messages(arrival)
            return arrival if self._client.count(*position, wanted)[0] == wanted else None
        assert isinstance(first, int)
        assert isinstance(end, int)
        return arrival if first <= position.first and position.end <= end else None

    def is_same(
        self, arrival: Arrival, known: Sequence[KnownArrival], patience_s: float = inf
    ) -> bool | None:
        return False

    def pin(self, entries: Sequence[Entry]) -> list[Entry]:
        """Of each partition a fair share of what one batch takes. What is left, also after a gap, is looked at at once."""
        lengths = {
            entry.arrival.uri: messages(entry.arrival) for entry in entries if entry.action is Action.TAKE
        }
        shares = fair_shares(lengths, self._stream.max_messages)
        self._cut = {uri for uri, length in lengths.items() if shares[uri] < length}
        self._cut |= {entry.arrival.uri for entry in entries if entry.action is Action.REJECT}
        return [
            self._shortened(entry, shares[uri])
            if (uri := entry.arrival.uri) in self._cut & shares.keys()
            else entry
            for entry in entries
        ]

    def decide(self, arrival: Arrival, known: Sequence[KnownArrival]) -> Entry | None:
        if _is_start(arrival.uri):
            return self._decide_start(arrival, known)
        position = Position.of(arrival.version)
        follows = known[-1].place if known else None
        taken = taken_until(known)
        counts = Position.of(arrival.content) if arrival.content else None
        if taken is None:
            begin = self._begin(arrival.uri)
            if begin is None:
                return None
            taken = max(begin, position.first)
            before = self._counted.get(arrival.uri, counts.first if counts else 0)
        else:
            before = _counted_until(known)
            gone = Position(taken, position.first)
            if taken < position.first and counts is None:
                return self._unread(arrival, gone, None, follows)
            if taken < position.first and counts is not None and counts.first != before:
                return self._unread(arrival, gone, Position(before, counts.first), follows)
            if position.end < taken:
                return self._truncated(arrival, Position(position.end, taken), known)
        if taken >= position.end:
            return None
        content = str(Position(min(before, counts.end), counts.end)) if counts else ""
        return Entry(
            replace(arrival, version=str(Position(taken, position.end)), content=content), follows=follows
        )

    def admit(self, entries: Iterable[Entry], now_us: int) -> Iterator[Entry]:
        """All of them: what is not committed has no end that is told."""
        yield from entries

    def due_us(self) -> int | None:
        return 0 if self._cut else None

    def due(self, now_us: int) -> list[str]:
        cut, self._cut = sorted(self._cut), set()
        return cut

    def named(self, urls: Iterable[str]) -> list[str]:
        return []  # Nobody tells of messages by URLs.

    def watch(self, stop: Event) -> Iterator[frozenset[str]]:
        """Partitions that grew. A partition that was added is found by the listing."""
        last: Mapping[str, int | StorageError] = {}
        while not stop.is_set():
            wait_s = _WATCH_S
            try:
                ends = self._client.grown()
                grown = [
                    partition
                    for partition, end in ends.items()
                    if isinstance(end, int) and end != last.get(partition)
                ]
                last = ends
                if grown:
                    yield frozenset(grown)
            except StorageError:
                # The listing says why.
                wait_s = _PATIENCE_S
            stop.wait(wait_s)

    def explain_empty(self) -> str:
        look = self._client.look()
        if look is None:
            return f"the servers answer, and have no {self._named}"
        return f"{self._named} has no message"

    def _find_starts(self, look: Look, known: Mapping[int, Position]) -> list[StorageError]:
        """Find where a partition begins of which nothing was taken, if that is a matter of time; what failed."""
        if self._stream.start_at in (EARLIEST, LATEST):
            return []
        asked = tuple(partition for partition in known if self._begins.get(f"{look.uri}/{partition}") is None)
        begins = self._client.since(look, asked, parse_us(self._stream.start_at) // 1000)
        for partition, begin in begins.items():
            if isinstance(begin, int) and begin >= 0:
                uri = f"{look.uri}/{partition}"
                if partition in look.counts:
                    before = known[partition]._replace(end=begin)
                    passed, _ = self._client.count(*before, look.counts[partition].length)
                    self._counted[uri] = look.counts[partition].first + passed
                self._begins[uri] = begin
        return [answer for answer in begins.values() if isinstance(answer, StorageError)]

    def _begin(self, uri: str) -> int | None:
        """Where the first batch begins in a partition; None if that is not known yet."""
        match self._stream.start_at:
            case "Earliest":
                return 0
            case "Latest":
                # A partition that was added later has nothing that came before the pipeline.
                return None if self._starts is None else self._starts.get(int(uri.rpartition("/")[2]), 0)
        return self._begins.get(uri)

    def _decide_start(self, arrival: Arrival, known: Sequence[KnownArrival]) -> Entry | None:
        """Where the stream ended when it was first seen is written down, in a batch that takes nothing."""
        if known:
            self._starts = {int(p): int(end) for p, end in _START.findall(known[0].version)}
            counted = _START.findall(known[0].content)
            self._counted = {f"{arrival.uri}/{p}": int(count) for p, count in counted}
            return None
        return Entry(arrival, Action.SKIP)

    def _noted(self, arrival: Arrival) -> Arrival:
        """The arrival, with the time when its end was first seen."""
        noted = self._seen.get(arrival.uri)
        if noted is None or Position.of(noted.version).end != Position.of(arrival.version).end:
            self._seen[arrival.uri] = noted = arrival
        return replace(arrival, modified_us=noted.modified_us)

    def _shortened(self, entry: Entry, length: int) -> Entry:
        """So many messages of it."""
        arrival, content = entry.arrival, entry.arrival.content
        first, end = Position.of(arrival.version)
        if not content:
            return replace(entry, arrival=replace(arrival, version=str(Position(first, first + length))))
        count, end = self._client.count(first, end, length)
        before = Position.of(content).first
        content = str(Position(before, before + count))
        return replace(entry, arrival=replace(arrival, version=str(Position(first, end)), content=content))

    def _unread(
        self, arrival: Arrival, gone: Position, counts: Position | None, follows: tuple[int, int] | None
    ) -> Entry:
        """What is told of positions that are gone. ``counts``: as the arrival's content has them, if it does."""
        reason = (
            f"{self._client.span(gone)} were deleted before they were read: the retention is too "
            "short, or nothing read them for too long"
        )
        if counts is not None and counts.length < 0:
            reason = "the stream was deleted and made again: what was not read of the old one is gone"
        lost = replace(arrival, version=str(gone), content=str(counts) if counts is not None else "")
        return Entry(lost, Action.REJECT, follows=follows, rule=LOST, reason=reason)

    def _truncated(self, arrival: Arrival, gone: Position, known: Sequence[KnownArrival]) -> Entry | None:
        if any(
            row.action is Action.REJECT
            and Position.of(row.version).end == gone.end
            and row.version == str(gone)
            for row in known
        ):
            return None
        reason = (
            f"{self._client.span(gone)} were read, and are not there any more: the servers lost messages, or the stream was "
            "made anew. New messages at these positions are not read: their places were taken before"
        )
        return Entry(
            replace(arrival, version=str(gone), content=""),
            Action.REJECT,
            follows=known[-1].place,
            rule=TRUNCATED,
            reason=reason,
        )


def fair_shares(lengths: Mapping[str, int], most: int) -> dict[str, int]:
    """How many of so many messages each takes, so that all together take at most ``most`` and none waits for another.

    >>> fair_shares({"a": 10, "b": 100, "c": 100}, 100)
    {'a': 10, 'b': 45, 'c': 45}
    """
    shares: dict[str, int] = {}
    left = most
    for place, (uri, length) in enumerate(sorted(lengths.items(), key=lambda item: item[1])):
        shares[uri] = min(length, max(1, left // (len(lengths) - place)))
        left -= shares[uri]
    return shares


def _counted_until(known: Sequence[KnownArrival]) -> int:
    """How many messages there were before what is new, as manifests have it; 0 if they do not."""
    last = max(known, key=lambda row: Position.of(row.version).end)
    return Position.of(last.content).end if last.content else 0


def _is_start(uri: str) -> bool:
    return uri.count("/") == 3
