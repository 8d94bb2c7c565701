"""The snapshots of an Iceberg table as arrivals: of each, the rows that it adds.

The URI of an arrival is the table's, its version which snapshot it is of which table. What is read is the history of what
the table is now: not snapshots of branches, nor those that are staged. The snapshots that one batch takes are chosen when it
closes, each as an entry of its own; one that only rewrites files, as compaction does, goes along with the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from threading import Event

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.files.glob import Pattern
from featurestore.arrivals.files.object_url import named
from featurestore.arrivals.files.watch import watch_folder
from featurestore.arrivals.iceberg.iceberg_metadata import Snapshot, SnapshotKind, TableMetadata
from featurestore.arrivals.iceberg.iceberg_table import HINT, METADATA, IcebergTable
from featurestore.arrivals.iceberg.table_snapshots import TableSnapshots
from featurestore.arrivals.manifest import Action, Entry
from featurestore.errors import SpecError
from featurestore.resources.data_pipeline import Source
from featurestore.resources.delta_lake import EARLIEST, LATEST, SNAPSHOT
from featurestore.resources.location import locate, table_uri
from featurestore.timestamps import current_us

LOST, REPLACED, ROLLED_BACK = "iceberg:lost", "iceberg:replaced", "iceberg:rolledBack"
"""Rules of snapshots that cannot be read any more, and of a table that is not, or not any more, what was read before."""


class IcebergSource:
    """See :class:`featurestore.arrivals.source.ArrivalSource`.

    ``base``: what a relative path is relative to; None for the working folder. ``environ``: has the credentials;
    None for the process's own environment.
    """

    noun = "snapshot"
    most_messages = None

    def __init__(
        self, source: Source, base: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        assert source.iceberg is not None
        self._iceberg = source.iceberg
        self._uri = table_uri(self._iceberg.uri)
        self._table = IcebergTable(locate(self._uri, base), environ)
        self._seen: Arrival | None = None
        self._metadata: TableMetadata | None = None
        self._left = False

    def arrivals(self) -> Iterator[Arrival]:
        self._metadata = self._table.look()
        if self._metadata is not None:
            yield self._noted(self._metadata)

    def look(self, uris: Iterable[str]) -> list[Arrival]:
        return list(self.arrivals()) if self._uri in set(uris) else []

    def find(self, arrival: Arrival) -> Arrival | None:
        """A snapshot never changes, and may expire. Whether its files are there is not looked at."""
        snapshots, metadata = TableSnapshots.of(arrival.version), self._table.look()
        if metadata is None or metadata.table_id != snapshots.table_id:
            return None
        if snapshots.first == snapshots.end or snapshots.last_id is None:
            return None
        return arrival if snapshots.last_id in metadata.snapshots else None

    def is_same(
        self, arrival: Arrival, known: Sequence[KnownArrival], patience_s: float = inf
    ) -> bool | None:
        return False

    def pin(self, entries: Sequence[Entry]) -> list[Entry]:
        """Each snapshot by itself, as many as one batch takes. What is left is looked at at once."""
        pinned: list[Entry] = []
        for entry in entries:
            snapshots = TableSnapshots.of(entry.arrival.version)
            if entry.action is not Action.TAKE or snapshots.is_whole:
                pinned.append(entry)
                self._left = True
                continue
            own = self._own(snapshots)
            taken = self._first_of(own)
            pinned += _of_snapshots(entry, snapshots, taken)
            self._left = len(taken) < len(own)
        return pinned

    def decide(self, arrival: Arrival, known: Sequence[KnownArrival]) -> Entry | None:
        now, metadata = TableSnapshots.of(arrival.version), self._metadata or self._table.look()
        if metadata is None:
            return None
        follows = known[-1].place if known else None
        rows = [TableSnapshots.of(row.version) for row in known if row.action is not Action.REPLAY]
        if not rows:
            return self._begun(arrival, now, metadata, follows)
        taken = rows[-1]
        if taken.table_id != now.table_id:
            reason = (
                f"the table was deleted and made again: its id is {now.table_id}, and was {taken.table_id}. All rows of the new "
                "one are read; what was not read of the old one is gone"
            )
            marker = TableSnapshots(now.table_id, 0, 0, None)
            return _entry(arrival, marker, follows, Action.REJECT, REPLACED, reason)
        if taken.last_id is None and rows[0].table_id != now.table_id:
            # A table that was made after the pipeline has nothing that came before it.
            return self._begun(arrival, now, metadata, follows, is_later=True)
        known_ids = {row.last_id for row in rows if row.table_id == now.table_id}
        return self._following(arrival, taken, known_ids, metadata, follows)

    def admit(self, entries: Iterable[Entry], now_us: int) -> Iterator[Entry]:
        """All of them: a snapshot is there as a whole."""
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
        written = named(Pattern(protocol, f"{path}/{METADATA}", ("*",)), urls)
        return [self._uri] if any(url.endswith((HINT, ".json")) for url in written) else []

    def watch(self, stop: Event) -> Iterator[frozenset[str]]:
        """The table, whenever its metadata changed. Ends at once in object storage, and without ``watchfiles``."""
        yield from watch_folder(f"{self._table.uri}/{METADATA}", (HINT, ".json"), self._uri, stop)

    def explain_empty(self) -> str:
        return f"there is no Iceberg table at {self._iceberg.uri} yet"

    def _begun(
        self,
        arrival: Arrival,
        now: TableSnapshots,
        metadata: TableMetadata,
        follows: tuple[int, int] | None,
        *,
        is_later: bool = False,
    ) -> Entry | None:
        """Where the first batch begins."""
        start, history = self._iceberg.start_at, metadata.history
        if start == LATEST and not is_later:
            # Where the table ended when it was first seen is written down, in a batch that takes nothing.
            marker = TableSnapshots(now.table_id, now.end, now.end, now.last_id)
            return _entry(arrival, marker, follows, Action.SKIP)
        if not history:
            return None
        if start == SNAPSHOT:
            whole = TableSnapshots(now.table_id, 0, now.end, now.last_id, is_whole=True)
            entry = _entry(arrival, whole, follows)
            return replace(entry, arrival=replace(entry.arrival, size_bytes=history[-1].total_bytes))
        if is_later or start == EARLIEST:
            if is_later and history[0].number > 1:
                lost = TableSnapshots(now.table_id, 0, history[0].number, history[0].parent_id)
                return _lost(arrival, lost, follows)
            return _entry(arrival, replace(now, first=history[0].number), follows)
        first = next((snapshot for snapshot in history if snapshot.id == int(start)), None)
        if first is None:
            raise SpecError(
                "the Iceberg table has no such snapshot",
                where="spec.source.iceberg.startAt",
                wanted="the id of a snapshot in the history of the table",
                got=repr(start),
            )
        return _entry(arrival, replace(now, first=first.number), follows)

    def _following(
        self,
        arrival: Arrival,
        taken: TableSnapshots,
        known_ids: set[int | None],
        metadata: TableMetadata,
        follows: tuple[int, int] | None,
    ) -> Entry | None:
        """What comes after the snapshot that was taken last."""
        table_id, history = metadata.table_id, metadata.history
        place = next((n for n, snapshot in enumerate(history) if snapshot.id == taken.last_id), None)
        if place is None and history and taken.last_id not in metadata.snapshots:
            # Where snapshots expire, some writers also forget the parent of the oldest one that is kept.
            if history[0].parent_id == taken.last_id or taken.end == history[0].number:
                place = -1
            elif taken.end < history[0].number:
                lost = TableSnapshots(table_id, taken.end, history[0].number, history[0].parent_id)
                return _lost(arrival, lost, follows)
        if place is None:
            return self._rolled_back(arrival, taken, metadata, follows)
        # Whoever took a snapshot took what came before it: a table may be rolled back, and forward again.
        last_known = max((n for n, snapshot in enumerate(history) if snapshot.id in known_ids), default=-1)
        new = history[max(place, last_known) + 1 :]
        if new:
            first = taken.end if last_known <= place else new[0].number
            return _entry(arrival, TableSnapshots(table_id, first, new[-1].number + 1, new[-1].id), follows)
        if last_known <= place:
            return None
        marker = TableSnapshots(table_id, history[-1].number + 1, history[-1].number + 1, history[-1].id)
        return _entry(arrival, marker, follows, Action.SKIP)

    def _rolled_back(
        self,
        arrival: Arrival,
        taken: TableSnapshots,
        metadata: TableMetadata,
        follows: tuple[int, int] | None,
    ) -> Entry:
        """The table does not come of what was taken last: reading goes on after what both have in common."""
        before = {snapshot.id for snapshot in metadata.ancestors(taken.last_id)}
        common = [
            snapshot
            for snapshot in metadata.history
            if (snapshot.id in before if before else snapshot.number < taken.end)
        ]
        marker = TableSnapshots(metadata.table_id, 0, 0, None)
        if common:
            end = common[-1].number + 1
            marker = TableSnapshots(metadata.table_id, end, end, common[-1].id)
        now = f"snapshot {metadata.history[-1].id}" if metadata.history else "no snapshot"
        reason = (
            f"{taken.words} was read, and the table does not come of it any more: it was rolled back, and is {now}. Rows that "
            "were read stay; snapshots that come are read as new ones"
        )
        return _entry(arrival, marker, follows, Action.REJECT, ROLLED_BACK, reason)

    def _own(self, snapshots: TableSnapshots) -> list[Snapshot]:
        """The snapshots of this range; none if the table was changed so that they are not of its history."""
        if self._metadata is None or self._metadata.table_id != snapshots.table_id:
            return []
        own = [
            snapshot
            for snapshot in self._metadata.history
            if snapshots.first <= snapshot.number < snapshots.end
        ]
        return own if own and own[-1].id == snapshots.last_id else []

    def _first_of(self, own: Sequence[Snapshot]) -> list[Snapshot]:
        """As many of them as one batch takes."""
        taken: list[Snapshot] = []
        size_bytes = 0
        for snapshot in own[: self._iceberg.max_snapshots]:
            size_bytes += snapshot.size_bytes
            if taken and size_bytes > self._iceberg.max_bytes:
                break
            taken.append(snapshot)
        return taken

    def _noted(self, metadata: TableMetadata) -> Arrival:
        """All that is there, with the time when its end was first seen."""
        history = metadata.history
        now = TableSnapshots(metadata.table_id, 0, 0, None)
        if history:
            now = TableSnapshots(metadata.table_id, history[0].number, history[-1].number + 1, history[-1].id)
        if self._seen is None or self._seen.version != str(now):
            self._seen = Arrival(self._uri, str(now), 0, current_us(), now.position)
        return self._seen


def _of_snapshots(entry: Entry, snapshots: TableSnapshots, own: Sequence[Snapshot]) -> Iterator[Entry]:
    """An entry for each that does something to rows, and one that takes nothing for those at the end that do not."""
    first = snapshots.first

    def named(snapshot: Snapshot, size_bytes: int) -> Arrival:
        one = TableSnapshots(snapshots.table_id, first, snapshot.number + 1, snapshot.id)
        return replace(entry.arrival, version=str(one), content=one.position, size_bytes=size_bytes)

    for snapshot in own:
        if snapshot.kind is not SnapshotKind.NOTHING:
            yield replace(entry, arrival=named(snapshot, snapshot.size_bytes))
            first = snapshot.number + 1
    if own and first <= own[-1].number:
        yield replace(entry, arrival=named(own[-1], 0), action=Action.SKIP)


def _entry(
    arrival: Arrival,
    snapshots: TableSnapshots,
    follows: tuple[int, int] | None,
    action: Action = Action.TAKE,
    rule: str = "",
    reason: str = "",
) -> Entry:
    named = replace(arrival, version=str(snapshots), content=snapshots.position)
    return Entry(named, action, follows=follows, rule=rule, reason=reason)


def _lost(arrival: Arrival, snapshots: TableSnapshots, follows: tuple[int, int] | None) -> Entry:
    reason = (
        f"{snapshots.words} cannot be read any more: they expired before they were, since nothing read them for too long, or "
        "history.expire.max-snapshot-age-ms is too short"
    )
    return _entry(arrival, snapshots, follows, Action.REJECT, LOST, reason)
