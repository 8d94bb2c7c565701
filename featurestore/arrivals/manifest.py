"""The arrivals that one run takes together, when they are enough, and the written intent of that run."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from featurestore.arrivals.arrival import Arrival
from featurestore.digest import canonical_json, digest
from featurestore.resources.trigger import ArrivalOrder, ArrivalTrigger
from featurestore.timestamps import duration_us

# Entries that one look at a backlog holds in memory; what is left over is found again by the next look.
BACKLOG = 50_000


class Action(StrEnum):
    """What the run does with an arrival. ``Skip``: nothing; only in a rebuild (:mod:`featurestore.arrivals.rerun`)."""

    TAKE = "Take"
    REPLACE = "Replace"
    REJECT = "Reject"
    REPLAY = "Replay"
    SKIP = "Skip"


@dataclass(frozen=True, slots=True)
class Entry:
    """One arrival in a batch. Its index in the manifest is the ``__file`` of the rows that come from it.

    ``replaces``: for ``Replace``, the ``(batch, file index)`` pairs whose rows it takes the place of.
    ``replays``: for ``Replay``, the ``(batch, file index)`` whose quarantined rows are run again.
    ``follows``: the newest ``(batch, file index)`` of its URI when this was decided; None if there was none. If there
    is a newer one when the manifest is to be written, it was decided too early. ``Replay`` follows nothing.
    ``rule`` and ``reason``: for ``Reject``, what it breaks and why. For a ``Take``, the reason says what it stands beside.
    """

    arrival: Arrival
    action: Action = Action.TAKE
    replaces: tuple[tuple[int, int], ...] = ()
    replays: tuple[int, int] | None = None
    follows: tuple[int, int] | None = None
    rule: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Intent comes before effect: which arrivals batch ``number`` takes, under which spec.

    ``uid``: the ledger's uid, the application id of the batch's Delta commits.
    ``spec_digest``: names the resource in the registry. ``created_us``: when it was planned, UTC
    microseconds: the created time of its rows unless the view names a column. ``lookups``: pipeline name to
    the version of its dataset that lookups join.
    """

    pipeline: str
    uid: str
    number: int
    spec_digest: str
    created_us: int
    entries: tuple[Entry, ...]
    lookups: tuple[tuple[str, int], ...] = ()

    @property
    def digest(self) -> str:
        """Names the Job that runs it."""
        return digest(self._to_dict())

    @property
    def size_bytes(self) -> int:
        """Of its arrivals, as they were listed."""
        return sum(entry.arrival.size_bytes for entry in self.entries)

    def to_json(self) -> bytes:
        return canonical_json(self._to_dict())

    def _to_dict(self) -> dict[str, Any]:
        """As ``asdict`` gives it, which takes a tenth of a second for 2,000 entries: three times in a batch."""
        entries = [{**_fields(entry), "arrival": _fields(entry.arrival)} for entry in self.entries]
        return {**_fields(self), "entries": entries}

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        value: dict[str, Any] = json.loads(data)
        entries = tuple(
            Entry(
                arrival=Arrival(**entry["arrival"]),
                action=Action(entry["action"]),
                replaces=tuple((batch, file) for batch, file in entry["replaces"]),
                replays=tuple(entry["replays"]) if entry["replays"] else None,
                follows=tuple(entry["follows"]) if entry["follows"] else None,
                rule=entry["rule"],
                reason=entry["reason"],
            )
            for entry in value.pop("entries")
        )
        lookups = tuple((name, version) for name, version in value.pop("lookups"))
        return cls(entries=entries, lookups=lookups, **value)


def _fields(value: Entry | Arrival | Manifest) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """Entries that wait for their batch to close. ``opened_us``: when the first of them was seen."""

    entries: tuple[Entry, ...]
    opened_us: int

    @property
    def size_bytes(self) -> int:
        return sum(entry.arrival.size_bytes for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Waiting:
    """All that waits at a source: ``number`` of what is called ``noun``, for so many ``batches`` or more.

    ``size_bytes``: 0 where nobody says how large it is. ``oldest_us``: when the oldest of it came, or was changed.
    ``is_all``: whether there is no more than what is counted.
    """

    number: int
    noun: str
    size_bytes: int
    batches: int
    oldest_us: int
    is_all: bool


def should_close(batch: OpenBatch, trigger: ArrivalTrigger, now_us: int) -> bool:
    """True if the batch is full by files or bytes, or its first arrival has waited long enough.

    An empty batch never closes.
    """
    if not batch.entries:
        return False
    return (
        len(batch.entries) >= trigger.max_files
        or batch.size_bytes >= trigger.max_bytes
        or now_us >= batch.opened_us + duration_us(trigger.max_wait)
    )


def first(entries: Iterable[Entry], order: ArrivalOrder, limit: int = BACKLOG) -> list[Entry]:
    """The entries of a backlog that are taken first: by modified time, then URI, or the other way round."""
    choose = heapq.nlargest if order is ArrivalOrder.NEWEST_FIRST else heapq.nsmallest
    return choose(limit, entries, key=_age)


def split(entries: Iterable[Entry], trigger: ArrivalTrigger) -> Iterator[tuple[Entry, ...]]:
    """Batches in the trigger's order, none above its files and bytes; within one, the oldest stands first in any case.

    A file that is larger than ``maxBytes`` is a batch by itself. All but the last batch are closed: nothing
    more would fit. Ask :func:`should_close` about the last.
    """
    batch: list[Entry] = []
    size_bytes = 0
    newest_first = trigger.order is ArrivalOrder.NEWEST_FIRST

    def closed() -> tuple[Entry, ...]:
        return tuple(reversed(batch) if newest_first else batch)

    for entry in sorted(entries, key=_age, reverse=newest_first):
        size_bytes += entry.arrival.size_bytes
        if batch and (len(batch) >= trigger.max_files or size_bytes > trigger.max_bytes):
            yield closed()
            batch, size_bytes = [], entry.arrival.size_bytes
        batch.append(entry)
    if batch:
        yield closed()


def _age(entry: Entry) -> tuple[int, str, str]:
    return entry.arrival.modified_us, entry.arrival.uri, entry.arrival.version
