"""The snapshots of an Iceberg table as arrivals: of each, the rows that it adds.

The URI of an arrival is the table's, its version which snapshot it is of which table. What is read is the history of what
the table is now: not snapshots of branches, nor those that are staged. The snapshots that one batch takes are chosen when it
closes, each as an entry of its own; one that only rewrites files, as compaction does, goes along with the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.iceberg.iceberg_metadata import Snapshot, SnapshotKind, TableMetadata
from featurestore.arrivals.iceberg.iceberg_table import HINT, METADATA, IcebergTable
from featurestore.arrivals.iceberg.table_snapshots import TableSnapshots
from featurestore.arrivals.manifest import Action, Entry
from featurestore.arrivals.tables.table_source import TableSource, entry_of, of_commits
from featurestore.errors import SpecError
from featurestore.resources.data_pipeline import Source
from featurestore.resources.delta_lake import EARLIEST, LATEST, SNAPSHOT

LOST, REPLACED, ROLLED_BACK = "iceberg:lost", "iceberg:replaced", "iceberg:rolledBack"
"""Rules of snapshots that cannot be read any more, and of a table that is not, or not any more, what was read before."""


class IcebergSource(TableSource):
    """See :class:`featurestore.arrivals.source.ArrivalSource`. ``environ``: has the credentials; None for the process's own."""

    noun = "snapshot"

    def __init__(
        self, source: Source, base: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        assert source.iceberg is not None
        super().__init__(source.iceberg.uri, base, METADATA, (HINT, ".json"))
        self._iceberg = source.iceberg
        self._table = IcebergTable(self._place, environ)
        self._metadata: TableMetadata | None = None

    def arrivals(self) -> Iterator[Arrival]:
        metadata = self._metadata = self._table.look()
        if metadata is not None:
            now = TableSnapshots(metadata.table_id, 0, 0, None)
            if metadata.history:
                newest = metadata.history[-1]
                # From 0 on: no entry has this version, so that a table is judged anew where it was rolled back to one.
                now = replace(now, end=newest.number + 1, last_id=newest.id)
            yield self._noted(now)

    def find(self, arrival: Arrival) -> Arrival | None:
        """A snapshot never changes, and may expire. Whether its files are there is not looked at."""
        snapshots, metadata = TableSnapshots.of(arrival.version), self._table.look()
        if metadata is None or metadata.table_id != snapshots.table_id:
            return None
        if snapshots.first == snapshots.end or snapshots.last_id is None:
            return None
        return arrival if snapshots.last_id in metadata.snapshots else None

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
            return entry_of(arrival, marker, follows, Action.REJECT, REPLACED, reason)
        if taken.end == 0 and rows[0].table_id != now.table_id:
            # A table that was made after the pipeline has nothing that came before it.
            return self._begun(arrival, now, metadata, follows, is_later=True)
        known_ids = {row.last_id for row in rows if row.table_id == now.table_id}
        return self._following(arrival, taken, known_ids, metadata, follows)

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
            return entry_of(arrival, marker, follows, Action.SKIP)
        if not history:
            return None
        if start == SNAPSHOT:
            whole = TableSnapshots(now.table_id, 0, now.end, now.last_id, is_whole=True)
            return Entry(of_commits(arrival, whole, history[-1].total_bytes), follows=follows)
        if is_later or start == EARLIEST:
            if is_later and metadata.has_forgotten:
                return _lost(arrival, metadata, 0, follows)
            if history[0].parent_id in metadata.snapshots:
                raise SpecError(
                    "the oldest snapshots of the Iceberg table are from before its format had numbers",
                    where="spec.source.iceberg.startAt",
                    wanted=f"{SNAPSHOT}, {LATEST}, or the id of a later snapshot, such as {history[0].id}",
                    got=start,
                )
            return entry_of(arrival, replace(now, first=history[0].number), follows)
        first = next((snapshot for snapshot in history if snapshot.id == int(start)), None)
        if first is None:
            raise SpecError(
                "the Iceberg table has no such snapshot",
                where="spec.source.iceberg.startAt",
                wanted="the id of a snapshot in the history of the table",
                got=repr(start),
            )
        return entry_of(arrival, replace(now, first=first.number), follows)

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
            if _is_next(metadata, taken):
                place = -1
            elif taken.end < history[0].number:
                return _lost(arrival, metadata, taken.end, follows)
        if not history and taken.last_id is None:
            return None
        if place is None:
            return self._rolled_back(arrival, taken, metadata, follows)
        # Whoever took a snapshot took what came before it: a table may be rolled back, and forward again.
        last_known = max((n for n, snapshot in enumerate(history) if snapshot.id in known_ids), default=-1)
        new = history[max(place, last_known) + 1 :]
        if new:
            first = taken.end if last_known <= place else new[0].number
            return entry_of(arrival, TableSnapshots(table_id, first, new[-1].number + 1, new[-1].id), follows)
        if last_known <= place:
            return None
        marker = TableSnapshots(table_id, history[-1].number + 1, history[-1].number + 1, history[-1].id)
        return entry_of(arrival, marker, follows, Action.SKIP)

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
        return entry_of(arrival, marker, follows, Action.REJECT, ROLLED_BACK, reason)

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


def _of_snapshots(entry: Entry, snapshots: TableSnapshots, own: Sequence[Snapshot]) -> Iterator[Entry]:
    """An entry for each that does something to rows, and one that takes nothing for those at the end that do not."""
    first = snapshots.first
    for snapshot in own:
        one = TableSnapshots(snapshots.table_id, first, snapshot.number + 1, snapshot.id)
        if snapshot.kind is not SnapshotKind.NOTHING:
            yield replace(entry, arrival=of_commits(entry.arrival, one, snapshot.size_bytes))
            first = snapshot.number + 1
        elif snapshot is own[-1]:
            yield replace(entry, arrival=of_commits(entry.arrival, one), action=Action.SKIP)


def _is_next(metadata: TableMetadata, taken: TableSnapshots) -> bool:
    """Whether the oldest snapshot that is kept is the one after what was taken last, which is not kept."""
    oldest = metadata.history[0]
    # Where snapshots expire, some writers also forget the parent of the oldest one that is kept.
    if taken.end == oldest.number and None in (taken.last_id, oldest.parent_id):
        return True
    return not metadata.has_forgotten if taken.last_id is None else taken.last_id == oldest.parent_id


def _lost(arrival: Arrival, metadata: TableMetadata, first: int, follows: tuple[int, int] | None) -> Entry:
    """Of the snapshots from a number on that are not kept any more."""
    oldest = metadata.history[0]
    snapshots = TableSnapshots(metadata.table_id, first, oldest.number, oldest.parent_id)
    reason = (
        f"{snapshots.words} cannot be read any more: they expired before they were, since nothing read them for too long, or "
        "history.expire.max-snapshot-age-ms is too short"
    )
    return entry_of(arrival, snapshots, follows, Action.REJECT, LOST, reason)
