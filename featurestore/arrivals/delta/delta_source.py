"""The commits of a Delta table as arrivals. Of each, the rows that it adds, or what the table's change data feed says.

The URI of an arrival is the table's, its version which commit it is of which table. The commits that one batch takes are
chosen when it closes: each that does something to rows is an entry of its own, and one that only rewrites files, as
OPTIMIZE does, goes along with the next. So a commit that cannot be read holds up no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.delta.delta_commit import ChangeKind, DeltaCommit
from featurestore.arrivals.delta.delta_log import LOG, DeltaLog, LogLook, table_file_uri
from featurestore.arrivals.delta.table_versions import TableVersions, taken_last
from featurestore.arrivals.files.listing import find_arrival
from featurestore.arrivals.manifest import Action, Entry
from featurestore.arrivals.tables.table_source import TableSource, entry_of, of_commits
from featurestore.errors import NotFound
from featurestore.resources.data_pipeline import Source
from featurestore.resources.delta_lake import LATEST, SNAPSHOT

LOST, REPLACED, RESTORED = "delta:lost", "delta:replaced", "delta:restored"
"""Rules of versions that cannot be read any more, and of a table that is not the one that was read before."""
_AT_ONCE = 8


class DeltaSource(TableSource):
    """See :class:`featurestore.arrivals.source.ArrivalSource`. ``environ``: has the credentials; None for the process's own."""

    noun = "commit"

    def __init__(
        self, source: Source, base: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        assert source.delta is not None
        super().__init__(source.delta.uri, base, LOG, (".json",))
        self._delta, self._environ = source.delta, environ
        self._log = DeltaLog(self._place, environ)

    def arrivals(self) -> Iterator[Arrival]:
        look = self._log.look()
        if look is not None:
            yield self._noted(TableVersions(look.table_id, look.first, look.end))

    def find(self, arrival: Arrival) -> Arrival | None:
        """A commit never changes. Its files may be gone, by VACUUM; those of a snapshot are not looked for."""
        versions, look = TableVersions.of(arrival.version), self._log.look()
        if look is None or _is_replaced(versions, look) or versions.first == versions.end:
            return None
        first = versions.end - 1 if versions.snapshot else versions.first
        if first < look.first or versions.end > look.end:
            return None
        if versions.snapshot:
            return arrival
        try:
            commits = [self._log.commit(version) for version in range(versions.first, versions.end)]
        except NotFound:
            self._log.forget()
            return None
        uris = [
            table_file_uri(self._log.storage, file.path)
            for commit in commits
            for file in (*commit.added, *commit.feed)
        ]
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            files = list(threads.map(lambda uri: find_arrival(uri, self._environ), uris))
        return arrival if all(files) else None

    def pin(self, entries: Sequence[Entry]) -> list[Entry]:
        """Each commit by itself, as many as one batch takes. What is left, also after a gap, is looked at at once."""
        pinned: list[Entry] = []
        for entry in entries:
            versions = TableVersions.of(entry.arrival.version)
            if entry.action is Action.TAKE and not versions.snapshot:
                commits = self._commits(versions)
                pinned += self._of_commits(entry, versions.table_id, versions.first, commits)
                self._left = versions.first + len(commits) < versions.end
            else:
                pinned.append(entry)
                self._left = True
        return pinned

    def decide(self, arrival: Arrival, known: Sequence[KnownArrival]) -> Entry | None:
        now = TableVersions.of(arrival.version)
        taken, follows = taken_last(known), known[-1].place if known else None
        if taken is None:
            return self._begun(arrival, now, follows)
        if _is_replaced(taken, now):
            reason = (
                f"the table was deleted and made again: its id is {now.table_id}, and was {taken.table_id or 'not known'}. All "
                "rows of the new one are read; what was not read of the old one is gone"
            )
            marker = TableVersions(now.table_id, 0, 0)
            return entry_of(arrival, marker, follows, Action.REJECT, REPLACED, reason)
        now = replace(now, table_id=now.table_id or taken.table_id)
        if taken.end == 0 and taken.first == 0:
            # A table that was made after the pipeline has nothing that came before it.
            return self._begun(arrival, now, follows, is_later=True)
        if now.end < taken.end:
            reason = (
                f"versions {now.end} to {taken.end - 1} were read, and are not there any more: the table was restored from a "
                "copy. New commits of these versions are read as new rows"
            )
            marker = TableVersions(now.table_id, now.end, now.end)
            return entry_of(arrival, marker, follows, Action.REJECT, RESTORED, reason)
        if taken.end < now.first:
            return _lost(arrival, TableVersions(now.table_id, taken.end, now.first), follows)
        if taken.end == now.end:
            return None
        return entry_of(arrival, TableVersions(now.table_id, taken.end, now.end), follows)

    def explain_empty(self) -> str:
        return f"there is no Delta table at {self._delta.uri} yet"

    def _begun(
        self,
        arrival: Arrival,
        now: TableVersions,
        follows: tuple[int, int] | None,
        *,
        is_later: bool = False,
    ) -> Entry | None:
        """Where the first batch begins."""
        start = self._delta.start_at
        if start == SNAPSHOT:
            return entry_of(arrival, TableVersions(now.table_id, 0, now.end, snapshot=True), follows)
        if start == LATEST and not is_later:
            # Where the table ended when it was first seen is written down, in a batch that takes nothing.
            return entry_of(arrival, TableVersions(now.table_id, now.end, now.end), follows, Action.SKIP)
        first = int(start) if start.isdigit() and not is_later else None
        if first is None:
            first = 0 if is_later else now.first
        if first < now.first:
            return _lost(arrival, TableVersions(now.table_id, first, now.first), follows)
        if first >= now.end:
            return None
        return entry_of(arrival, TableVersions(now.table_id, first, now.end), follows)

    def _commits(self, versions: TableVersions) -> list[DeltaCommit]:
        """The first of these commits, as many as one batch takes; those that are still there."""
        commits: list[DeltaCommit] = []
        end = min(versions.end, versions.first + self._delta.max_commits)
        size_bytes = 0
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for first in range(versions.first, end, _AT_ONCE):
                numbers = range(first, min(first + _AT_ONCE, end))
                for commit in threads.map(self._found, numbers):
                    if commit is None:
                        self._log.forget()
                        return commits
                    size_bytes += commit.size_bytes
                    if commits and size_bytes > self._delta.max_bytes:
                        return commits
                    commits.append(commit)
        return commits

    def _found(self, version: int) -> DeltaCommit | None:
        try:
            return self._log.commit(version)
        except NotFound:
            return None

    def _of_commits(
        self, entry: Entry, table_id: str, first: int, commits: Sequence[DeltaCommit]
    ) -> Iterator[Entry]:
        """An entry for each that does something to rows, and one that takes nothing for those at the end that do not."""
        for commit in commits:
            if commit.kind is not ChangeKind.NOTHING:
                versions = TableVersions(table_id, first, commit.version + 1)
                yield replace(entry, arrival=of_commits(entry.arrival, versions, commit.size_bytes))
                first = commit.version + 1
        if commits and first <= commits[-1].version:
            versions = TableVersions(table_id, first, commits[-1].version + 1)
            yield replace(entry, arrival=of_commits(entry.arrival, versions), action=Action.SKIP)


def _is_replaced(before: TableVersions, now: TableVersions | LogLook) -> bool:
    """Whether these are of two tables. Of a log that was cleaned up, it may not be known which table it is of."""
    if not now.table_id:
        return False
    return before.table_id != now.table_id if before.table_id else now.first == 0


def _lost(arrival: Arrival, versions: TableVersions, follows: tuple[int, int] | None) -> Entry:
    reason = (
        f"{versions.words} cannot be read any more: the log was cleaned up before they were, since nothing read them for too "
        "long, or delta.logRetentionDuration is too short"
    )
    return entry_of(arrival, versions, follows, Action.REJECT, LOST, reason)
