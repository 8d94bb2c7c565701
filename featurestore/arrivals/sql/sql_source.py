"""Rows of a SQL database as arrivals: ranges of the watermark, one after the other.

The URI of the rows is ``sql://<database>/<table>/<watermark>``; it names no host, which may move. A second one, with
``/unplaced`` at its end, is of rows whose watermark has no place in any range. ``content`` of a range counts its rows:
``120-480`` says that 120 were taken before it, and that it had 360 when it was frozen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from threading import Event

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.manifest import Action, Entry
from featurestore.arrivals.position import Position
from featurestore.arrivals.sql.database import SqlDatabase, SqlLook
from featurestore.arrivals.sql.settled_watermark import SettledWatermark
from featurestore.arrivals.sql.watermark import (
    WatermarkRange,
    just_before,
    kind_of,
    ranges_taken,
    rank,
    told_late,
)
from featurestore.errors import SpecError
from featurestore.resources.data_pipeline import Source
from featurestore.resources.sql_query import EARLIEST, LATEST, SqlQuery
from featurestore.timestamps import current_us, duration_us

UNPLACED, LATE = "sql:unplaced", "sql:late"
"""Rules of rows that no range has, and of rows that came into a range after it was frozen."""
_UNPLACED = "/unplaced"
_WATCHED = 5
"""Ranges, the newest, that are counted again: more rows than there were came too late."""


class SqlSource:
    """See :class:`featurestore.arrivals.source.ArrivalSource`.

    ``environ``: has what it takes to log in; None for the process's own environment.
    """

    noun = "range"
    most_messages = None

    def __init__(
        self, source: Source, base: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        assert source.sql is not None
        self._sql = source.sql
        self._uri = rows_uri(source.sql)
        self._database = SqlDatabase(source.sql, environ)
        self._settled = SettledWatermark(duration_us(source.sql.settle))
        self._look: SqlLook | None = None
        self._seen: Arrival | None = None
        self._is_unplaced = False
        self._due_us: int | None = None

    def arrivals(self) -> Iterator[Arrival]:
        """All rows up to the greatest watermark, if there is one; and those without a place, if there are any."""
        look = self._look = self._database.look()
        if look is None:
            return
        self._require_kind(look)
        if look.newest or self._sql.start_at == LATEST:
            yield self._noted(str(WatermarkRange("", look.newest)))
        if look.unplaced or self._is_unplaced:
            self._is_unplaced = True
            yield Arrival(self._uri + _UNPLACED, str(look.unplaced), 0, current_us())

    def look(self, uris: Iterable[str]) -> list[Arrival]:
        named = set(uris)
        return [arrival for arrival in self.arrivals() if arrival.uri in named]

    def find(self, arrival: Arrival) -> Arrival | None:
        """A range can be read as long as there is the table; rows that were changed since are in a later one."""
        is_range = arrival.uri == self._uri and not arrival.version.startswith("late:")
        return arrival if is_range and self._database.look() is not None else None

    def is_same(
        self, arrival: Arrival, known: Sequence[KnownArrival], patience_s: float = inf
    ) -> bool | None:
        return False

    def pin(self, entries: Sequence[Entry]) -> list[Entry]:
        """The range as far as one batch goes, with what it has now. What is left is looked at at once."""
        pinned: list[Entry] = []
        for entry in entries:
            if entry.action is not Action.TAKE:
                pinned.append(entry)
                self._due_us = 0
                continue
            whole = WatermarkRange.of(entry.arrival.version)
            span, count = self._database.cut(whole, self._sql.max_rows)
            if not count:
                continue
            if span != whole:
                self._due_us = 0
            before = Position.of(entry.arrival.content).first
            pinned.append(replace(entry, arrival=_of_rows(entry.arrival, span, before, count)))
        return pinned

    def decide(self, arrival: Arrival, known: Sequence[KnownArrival]) -> Entry | None:
        if arrival.uri != self._uri:
            return _decide_unplaced(arrival, known, self._sql.watermark)
        follows = known[-1].place if known else None
        taken, last = ranges_taken(known), WatermarkRange.of(arrival.version).last
        if not taken:
            if self._sql.start_at == LATEST:
                # Where the rows ended when they were first seen is written down, in a batch that takes nothing.
                end = WatermarkRange(last, last)
                return Entry(_of_rows(arrival, end, 0, 0), Action.SKIP, follows=follows)
            first, before = self._begin(last), 0
        else:
            first, before = WatermarkRange.of(taken[-1].version).last, Position.of(taken[-1].content).end
            late = self._late(arrival, known, taken)
            if late is not None:
                return late
        span = WatermarkRange(first, last)
        count = 0 if span.is_empty else self._database.count(span)
        return Entry(_of_rows(arrival, span, before, count), follows=follows) if count else None

    def admit(self, entries: Iterable[Entry], now_us: int) -> Iterator[Entry]:
        """Ranges as far as they are settled."""
        self._due_us = None
        for entry in entries:
            if entry.action is not Action.TAKE or self._look is None:
                yield entry
                continue
            span = WatermarkRange.of(entry.arrival.version)
            until = self._settled.until(self._look, min(entry.arrival.modified_us, now_us), now_us)
            settled = replace(span, last=until if until and rank(until) < rank(span.last) else span.last)
            if until != span.last:
                self._due_us = self._settled.due_us(now_us)
            if until and not settled.is_empty:
                yield replace(entry, arrival=replace(entry.arrival, version=str(settled)))

    def due_us(self) -> int | None:
        return self._due_us

    def due(self, now_us: int) -> list[str]:
        if self._due_us is None or now_us < self._due_us:
            return []
        self._due_us = None
        return [self._uri]

    def named(self, urls: Iterable[str]) -> list[str]:
        return []  # Nobody tells of rows by URLs.

    def watch(self, stop: Event) -> Iterator[frozenset[str]]:
        """Ends at once: a database is asked as often as the spec says."""
        yield from ()

    def explain_empty(self) -> str:
        if self._database.look() is not None:
            return f"no row of {self._words} has a watermark"
        return f"the server answers, and has no {self._words}. {self._database.tables_like()}"

    @property
    def _words(self) -> str:
        return f"table {self._sql.table!r}" if self._sql.table else "table that the query names"

    def _begin(self, last: str) -> str:
        """After which watermark the first batch begins; empty if with the first."""
        return "" if self._sql.start_at == EARLIEST else just_before(self._sql.start_at, kind_of(last))

    def _require_kind(self, look: SqlLook) -> None:
        start = self._sql.start_at
        if start not in (EARLIEST, LATEST) and (kind_of(start) == "bigint") != (look.kind == "bigint"):
            raise SpecError(
                "startAt is not a watermark",
                where=f"spec.source.sql.startAt, {self._sql.place}",
                wanted="an integer" if look.kind == "bigint" else "a time",
                got=repr(start),
            )

    def _late(
        self, arrival: Arrival, known: Sequence[KnownArrival], taken: Sequence[KnownArrival]
    ) -> Entry | None:
        """What is told of rows that came into ranges that were frozen before. Those that went hide as many of them."""
        watched = taken[-_WATCHED:]
        span = WatermarkRange(
            WatermarkRange.of(watched[0].version).first, WatermarkRange.of(watched[-1].version).last
        )
        if span.is_empty:
            return None
        frozen = Position.of(watched[-1].content).end - Position.of(watched[0].content).first
        known_late = told_late(row for row in known if row.place > watched[0].place)
        late = self._database.count(span) - frozen - known_late
        if late <= 0:
            return None
        reason = (
            f"{late:,} rows with a watermark {span.words} were committed after batches took these: their transactions took "
            "longer than was waited for, or watermarks do not grow. Those that the batch had not read yet are taken, the others "
            "are not. A rebuild of the pipeline reads them"
        )
        gone = replace(arrival, version=f"late:{late}:{span}", content="")
        return Entry(gone, Action.REJECT, follows=known[-1].place, rule=LATE, reason=reason)

    def _noted(self, version: str) -> Arrival:
        """The arrival, with the time when its end was first seen."""
        if self._seen is None or self._seen.version != version:
            self._seen = Arrival(self._uri, version, 0, current_us())
        return self._seen


def rows_uri(sql: SqlQuery) -> str:
    """What the rows are known by.

    >>> rows_uri(SqlQuery(uri="postgresql://db/shop", table="orders", watermark="at", key="id"))
    'sql://shop/orders/at'
    """
    return f"sql://{sql.database}/{sql.table or 'query'}/{sql.watermark}"


def _of_rows(arrival: Arrival, span: WatermarkRange, before: int, count: int) -> Arrival:
    return replace(arrival, version=str(span), content=str(Position(before, before + count)))


def _decide_unplaced(arrival: Arrival, known: Sequence[KnownArrival], watermark: str) -> Entry | None:
    """Rows without a place are told when there are more of them than were told; that there are none is written down."""
    count = int(arrival.version.rpartition(":")[2])
    before = int(known[-1].version.rpartition(":")[2]) if known else 0
    if count <= before and (count or not before):
        return None
    follows = known[-1].place if known else None
    # The same number may come again.
    named = replace(arrival, version=f"{len(known)}:{count}")
    if not count:
        return Entry(named, Action.SKIP, follows=follows)
    reason = (
        f"{count:,} rows have no {watermark}, or one that is infinite or beyond the years 1 to 9999: they are in no batch until "
        "they have one"
    )
    return Entry(named, Action.REJECT, follows=follows, rule=UNPLACED, reason=reason)
