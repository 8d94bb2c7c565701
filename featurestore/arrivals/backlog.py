"""Arrivals of one pipeline that no manifest takes yet: a backlog, cut into batches."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.lag import offsets
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import BACKLOG, Action, Entry, Manifest, OpenBatch, Waiting, first, split
from featurestore.arrivals.source import ArrivalSource
from featurestore.errors import Conflict, FeatureStoreError, foreseen
from featurestore.failpoint import hit
from featurestore.failure import as_failure
from featurestore.resources.model import shared
from featurestore.resources.trigger import Trigger
from featurestore.retry import FailureStreak
from featurestore.timestamps import duration_us

COMPARE_S = 5.0
"""So long does one look compare what is in files; less than it is waited for."""
MOST_HINTS = 1_000
"""URIs that are looked at one by one. For more of them, a listing costs less."""


class _Listing:
    """A listing that ends where it fails. ``error``: what it raised then; ``is_any``: whether it told anything before."""

    def __init__(self, arrivals: Iterator[Arrival]) -> None:
        self._arrivals = arrivals
        self.error: Exception | None = None
        self.is_any = False

    def __iter__(self) -> Iterator[Arrival]:
        try:
            for arrival in self._arrivals:
                self.is_any = True
                yield arrival
        except Exception as error:  # noqa: BLE001 - whatever a file system raises is this source's trouble
            self.error = error


class Backlog:
    """Looks at the source when it is due: by a listing now and then, by a look at single URIs when hinted at.

    ``failure``: why the last listing failed, if it did.
    """

    __slots__ = (
        "_backlog",
        "_batches",
        "_head",
        "_ledger",
        "_left_out",
        "_list_us",
        "_opened_us",
        "_poll_us",
        "_trigger",
        "_uncompared",
        "failure",
        "source",
    )

    def __init__(self, ledger: Ledger, source: ArrivalSource, trigger: Trigger) -> None:
        self._ledger = ledger
        self.source = source
        self._trigger = shared(trigger.arrivals)
        self._poll_us = duration_us(trigger.poll_interval)
        self._backlog: dict[str, Entry] = {}
        self._batches: list[tuple[Entry, ...]] = []
        self._opened_us = 0
        self._head = -1
        self._list_us = 0
        self._left_out = False
        self._uncompared = False
        self.failure: FailureStreak | None = None

    @property
    def next_us(self) -> int:
        """When to look again, if no hint comes before."""
        settles_us = self.source.due_us()
        return self._list_us if settles_us is None else min(self._list_us, settles_us)

    @property
    def open(self) -> OpenBatch | None:
        """What the next batch takes as it stands; None if nothing waits."""
        return OpenBatch(self._batches[0], self._opened_us) if self._batches else None

    @property
    def full(self) -> bool:
        """Whether nothing more fits into the open batch."""
        return len(self._batches) > 1

    @property
    def waiting(self) -> int:
        """Number of arrivals that wait."""
        return len(self._backlog)

    @property
    def extent(self) -> Waiting | None:
        """All that waits; None if nothing does."""
        if not self._backlog:
            return None
        arrivals = [entry.arrival for entry in self._backlog.values()]
        number, noun, batches = len(arrivals), self.source.noun, len(self._batches)
        if (most := self.source.most_messages) is not None:
            number, noun = offsets(self.arrivals), "message"
            batches = max(batches, -(-number // most))
        return Waiting(
            number,
            noun,
            sum(arrival.size_bytes for arrival in arrivals),
            batches,
            min(arrival.modified_us for arrival in arrivals),
            not self._left_out,
        )

    @property
    def arrivals(self) -> list[Arrival]:
        """Those that wait."""
        return [entry.arrival for entry in self._backlog.values() if entry.action is Action.TAKE]

    @property
    def unsettled(self) -> bool:
        """Whether arrivals were seen that may not be whole, or may not be new."""
        return self._uncompared or self.source.due_us() is not None

    def look(self, now_us: int, hinted: Iterable[str] = ()) -> None:
        """Bring the backlog up to date, at the cost of a listing only if one is due."""
        try:
            head = self._ledger.last_batch()
        except FeatureStoreError:
            # What was hinted at is not looked at, and nobody says it again.
            self.refresh()
            raise
        if head != self._head:
            # Another process wrote a manifest: what it took is not ours any more.
            self._set({}, now_us)
            self._head, self._list_us = head, now_us
        uris = set(hinted)
        try:
            if now_us >= self._list_us or len(uris) > MOST_HINTS:
                self._list(now_us)
            else:
                self._look_at(uris.union(self.source.due(now_us)), now_us)
        except Exception as error:  # noqa: BLE001 - whatever a file system raises is this source's trouble
            self.failure = FailureStreak.after(self.failure, now_us, as_failure(foreseen(error)))
            self._list_us = self.failure.next_us

    def refresh(self) -> None:
        """Have the next look list the source, whenever it would have been listed."""
        self._list_us = 0

    def rests(self, now_us: int) -> bool:
        """Whether nothing waits, and neither source nor ledger has anything new: a listing and a read, if they are due.

        False says only that a :meth:`look` is needed.
        """
        if self._backlog or self.unsettled or self.failure is not None:
            return False
        if now_us < self._list_us:
            return True
        try:
            listing = self.source.arrivals()
            # Others write manifests as well: a person who has what is in quarantine run again.
            if self._ledger.last_batch() != self._head or not self._ledger.knows(listing, self.source.decide):
                return False
        except FeatureStoreError:
            return False  # A look fails as well, and says why.
        self._list_us = now_us + self._poll_us
        return True

    def close(
        self, number: int, spec_digest: str, now_us: int, lookups: tuple[tuple[str, int], ...] = ()
    ) -> Manifest:
        """The manifest of the open batch, which is written now: from here on it is decided what the batch is.

        ``lookups``: pipeline to the version of its dataset that the batch looks things up in.

        Raises:
            Conflict: another process was first, or nothing waits any more. The next look begins anew.
        """
        where = f"batch {number} of {self._ledger.pipeline}"
        if not self._batches:
            raise Conflict("the open batch is gone", where=where)
        entries = self._pinned(now_us)
        if not entries:
            raise Conflict(
                f"each {self.source.noun} of this batch was changed or deleted since it was found",
                where=where,
            )
        manifest = Manifest(
            pipeline=self._ledger.pipeline,
            uid=self._ledger.uid(),
            number=number,
            spec_digest=spec_digest,
            created_us=now_us,
            entries=entries,
            lookups=lookups,
        )
        if not self._ledger.try_append(manifest):
            self._head = -1
            raise Conflict("another process closed this batch", where=where)
        hit("after-manifest")
        self._took(manifest, now_us)
        return manifest

    def _pinned(self, now_us: int) -> tuple[Entry, ...]:
        """What of the open batch still is as it was seen; the source is listed again for the rest."""
        entries = tuple(self.source.pin(self._batches[0]))
        for uri in {entry.arrival.uri for entry in self._batches[0]} - {
            entry.arrival.uri for entry in entries
        }:
            del self._backlog[uri]
            self._list_us = now_us
        if not entries:
            self._set(self._backlog, now_us)
        return entries

    def _took(self, manifest: Manifest, now_us: int) -> None:
        for uri in {entry.arrival.uri for entry in manifest.entries}:
            del self._backlog[uri]
        self._head = manifest.number
        if not self._backlog:
            # What a full backlog left out is found at once.
            self._list_us = now_us if self._left_out else self._list_us
        self._set(self._backlog, now_us)

    def _list(self, now_us: int) -> None:
        source = self.source
        listing = _Listing(source.arrivals())
        new = self._ledger.new_entries(listing, source.decide)
        admitted = first(self._changed(source.admit(new, now_us)), self._trigger.order)
        self._ledger.retimed.save()
        if listing.error is not None and not listing.is_any:
            raise listing.error
        self._left_out = len(admitted) >= BACKLOG
        listed = {entry.arrival.uri: entry for entry in admitted}
        # Where the listing failed nothing is known: what waited before waits still.
        self._set(listed if listing.error is None else {**self._backlog, **listed}, now_us)
        self._list_us = now_us + self._poll_us
        if listing.error is None:
            self.failure = None
        else:
            failure = as_failure(foreseen(listing.error))
            self.failure = FailureStreak.after(self.failure, now_us, failure)
            self._list_us = min(self._list_us, self.failure.next_us)
        if self._uncompared:
            self._list_us = now_us

    def _look_at(self, looked_at: set[str], now_us: int) -> None:
        if not looked_at:
            return
        source = self.source
        new = (self._ledger.entry(arrival, source.decide) for arrival in source.look(looked_at))
        admitted = source.admit((entry for entry in new if entry is not None), now_us)
        # What was seen before of these may not be true any more.
        rest = {uri: entry for uri, entry in self._backlog.items() if uri not in looked_at}
        changed = {entry.arrival.uri: entry for entry in self._changed(admitted)}
        self._set({**rest, **changed}, now_us)
        if self._uncompared:
            self._list_us = now_us

    def _changed(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Those that bring something new; the ledger remembers the others, and a later look asks what takes long."""
        end_s = time.monotonic() + COMPARE_S
        self._uncompared = False
        for entry in entries:
            is_same: bool | None = False
            if entry.follows:
                # Asked of what has settled: until then, what is in it may still change.
                left_s = end_s - time.monotonic()
                known = self._ledger.known(entry.arrival.uri)
                is_same = self.source.is_same(entry.arrival, known, left_s) if left_s > 0 else None
            if is_same is None:
                self._uncompared = True
            elif is_same:
                self._ledger.retimed.add(entry.arrival)
            else:
                yield entry

    def _set(self, backlog: dict[str, Entry], now_us: int) -> None:
        if backlog and not self._batches:
            self._opened_us = now_us
        self._backlog = backlog
        self._batches = list(split(backlog.values(), self._trigger))
