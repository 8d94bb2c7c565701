"""The partitions of a topic as arrivals: what is new of each is a position, from where the last one ended.

The URI of a partition is ``kafka://<topic>/<id of the topic>/<partition>``. A topic that was deleted and made again has
another id, so its offsets, which begin at 0 again, are not taken for those that were read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from threading import Event

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.kafka.topic import Topic, TopicClient
from featurestore.arrivals.manifest import Action, Entry
from featurestore.arrivals.position import Position, taken_until
from featurestore.errors import StorageError
from featurestore.resources.data_pipeline import Source
from featurestore.resources.kafka import EARLIEST, LATEST
from featurestore.timestamps import current_us, parse_us

LOST, TRUNCATED = "stream:lost", "stream:truncated"
"""Rules of positions that cannot be read any more: deleted by retention, or lost by the brokers."""
_WATCH_S = 0.25
_PATIENCE_S = 5.0
_START = re.compile(r"(\d+):(\d+)")


class KafkaSource:
    """See :class:`featurestore.arrivals.source.ArrivalSource`.

    ``environ``: has what it takes to log in; None for the process's own environment.
    """

    noun = "partition"

    def __init__(
        self, source: Source, base: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        assert source.kafka is not None
        self._kafka = source.kafka
        self._client = TopicClient(source.kafka, environ)
        self._begins: dict[str, int] = {}
        self._starts: Mapping[int, int] | None = None
        self._seen: dict[str, Arrival] = {}
        self._cut: set[str] = set()

    def arrivals(self) -> Iterator[Arrival]:
        """Each partition from the first offset that is there to the last; one that never had any is left out.

        Where the first batch begins at the latest offsets, before all others the topic, with the end of each.
        """
        topic = self._client.topic()
        if topic is None:
            return
        begins, ends = self._client.begins(topic.partitions), self._client.ends(topic.partitions)
        failures = [
            offset for offset in (*begins.values(), *ends.values()) if isinstance(offset, StorageError)
        ]
        known = {
            partition: Position(first, end)
            for partition in topic.partitions
            if isinstance(first := begins[partition], int) and isinstance(end := ends[partition], int)
        }
        failures += self._find_starts(topic, known)
        if self._kafka.start_at == LATEST and not failures:
            version = ",".join(f"{partition}:{position.end}" for partition, position in sorted(known.items()))
            yield Arrival(_uri(topic), version, 0, current_us())
        for partition, position in sorted(known.items(), key=lambda item: _uri(topic, item[0])):
            if position.end:
                yield self._noted(Arrival(_uri(topic, partition), str(position), 0, current_us()))
        if failures:
            raise failures[0]

    def look(self, uris: Iterable[str]) -> list[Arrival]:
        named = set(uris)
        return [arrival for arrival in self.arrivals() if arrival.uri in named or _is_start(arrival.uri)]

    def find(self, arrival: Arrival) -> Arrival | None:
        """Messages never change; those that were deleted, and those of a topic that was, are gone."""
        name, _, partition = arrival.uri.rpartition("/")
        topic = self._client.topic()
        if topic is None or name != _uri(topic) or int(partition) not in topic.partitions:
            return None
        at = (int(partition),)
        first, end = self._client.begins(at)[at[0]], self._client.ends(at)[at[0]]
        for offset in (first, end):
            if isinstance(offset, StorageError):
                raise offset
        position = Position.of(arrival.version)
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
            entry.arrival.uri: Position.of(entry.arrival.version).length
            for entry in entries
            if entry.action is Action.TAKE
        }
        shares = fair_shares(lengths, self._kafka.max_messages)
        self._cut = {uri for uri, length in lengths.items() if shares[uri] < length}
        self._cut |= {entry.arrival.uri for entry in entries if entry.action is Action.REJECT}
        return [
            _shortened(entry, shares[uri]) if (uri := entry.arrival.uri) in shares else entry
            for entry in entries
        ]

    def decide(self, arrival: Arrival, known: Sequence[KnownArrival]) -> Entry | None:
        if _is_start(arrival.uri):
            return self._decide_start(arrival, known)
        position = Position.of(arrival.version)
        follows = known[-1].place if known else None
        taken = taken_until(known)
        if taken is None:
            begin = self._begin(arrival.uri)
            if begin is None:
                return None
            taken = max(begin, position.first)
        elif taken < position.first:
            return _unread(arrival, Position(taken, position.first), follows)
        elif position.end < taken:
            return _truncated(arrival, Position(position.end, taken), known)
        if taken >= position.end:
            return None
        return Entry(replace(arrival, version=str(Position(taken, position.end))), follows=follows)

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
        topic: Topic | None = None
        last: Mapping[int, int | StorageError] = {}
        while not stop.is_set():
            wait_s = _WATCH_S
            try:
                topic = topic or self._client.topic()
                ends = self._client.ends(topic.partitions) if topic else {}
                grown = [
                    partition
                    for partition, end in ends.items()
                    if isinstance(end, int) and end != last.get(partition)
                ]
                last = ends
                if topic and grown:
                    yield frozenset(_uri(topic, partition) for partition in grown)
            except StorageError:
                # The listing says why.
                topic, wait_s = None, _PATIENCE_S
            stop.wait(wait_s)

    def explain_empty(self) -> str:
        topic = self._client.topic()
        if topic is None:
            return f"the brokers answer, and have no topic {self._kafka.topic!r}"
        return f"topic {self._kafka.topic!r} has no message in its {len(topic.partitions)} partitions"

    def _find_starts(self, topic: Topic, known: Mapping[int, Position]) -> list[StorageError]:
        """Find where a partition begins of which nothing was taken, if that is a matter of time; what failed."""
        if self._kafka.start_at in (EARLIEST, LATEST):
            return []
        asked = tuple(partition for partition in known if self._begins.get(_uri(topic, partition)) is None)
        offsets = self._client.since(asked, parse_us(self._kafka.start_at) // 1000)
        for partition, offset in offsets.items():
            if isinstance(offset, int) and offset >= 0:
                self._begins[_uri(topic, partition)] = offset
        return [answer for answer in offsets.values() if isinstance(answer, StorageError)]

    def _begin(self, uri: str) -> int | None:
        """Where the first batch begins in a partition; None if that is not known yet."""
        match self._kafka.start_at:
            case "Earliest":
                return 0
            case "Latest":
                # A partition that was added later has nothing that came before the pipeline.
                return None if self._starts is None else self._starts.get(int(uri.rpartition("/")[2]), 0)
        return self._begins.get(uri)

    def _decide_start(self, arrival: Arrival, known: Sequence[KnownArrival]) -> Entry | None:
        """Where the topic ended when it was first seen is written down, in a batch that takes nothing."""
        if known:
            self._starts = {int(p): int(end) for p, end in _START.findall(known[0].version)}
            return None
        return Entry(arrival, Action.SKIP)

    def _noted(self, arrival: Arrival) -> Arrival:
        """The arrival, with the time when its end was first seen."""
        noted = self._seen.get(arrival.uri)
        if noted is None or Position.of(noted.version).end != Position.of(arrival.version).end:
            self._seen[arrival.uri] = noted = arrival
        return replace(arrival, modified_us=noted.modified_us)


def fair_shares(lengths: Mapping[str, int], most: int) -> dict[str, int]:
    """How many of so many offsets each takes, so that all together take at most ``most`` and none waits for another.

    >>> fair_shares({"a": 10, "b": 100, "c": 100}, 100)
    {'a': 10, 'b': 45, 'c': 45}
    """
    shares: dict[str, int] = {}
    left = most
    for place, (uri, length) in enumerate(sorted(lengths.items(), key=lambda item: item[1])):
        shares[uri] = min(length, max(1, left // (len(lengths) - place)))
        left -= shares[uri]
    return shares


def _uri(topic: Topic, partition: int | None = None) -> str:
    name = f"kafka://{topic.name}/{topic.id}"
    return name if partition is None else f"{name}/{partition}"


def _is_start(uri: str) -> bool:
    return uri.count("/") == 3


def _shortened(entry: Entry, length: int) -> Entry:
    position = Position.of(entry.arrival.version)
    if length >= position.length:
        return entry
    shorter = Position(position.first, position.first + length)
    return replace(entry, arrival=replace(entry.arrival, version=str(shorter)))


def _unread(arrival: Arrival, gone: Position, follows: tuple[int, int] | None) -> Entry:
    reason = (
        f"offsets {gone.first} to {gone.end - 1} were deleted before they were read: the topic's retention is too "
        "short, or nothing read it for too long"
    )
    lost = replace(arrival, version=str(gone))
    return Entry(lost, Action.REJECT, follows=follows, rule=LOST, reason=reason)


def _truncated(arrival: Arrival, gone: Position, known: Sequence[KnownArrival]) -> Entry | None:
    if any(
        row.action is Action.REJECT and Position.of(row.version).end == gone.end and row.version == str(gone)
        for row in known
    ):
        return None
    reason = (
        f"the partition ends at offset {gone.first}, and was read up to {gone.end - 1}: its brokers lost messages. "
        f"New messages below offset {gone.end} are not read: their places were taken before"
    )
    return Entry(
        replace(arrival, version=str(gone)),
        Action.REJECT,
        follows=known[-1].place,
        rule=TRUNCATED,
        reason=reason,
    )
