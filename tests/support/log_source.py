"""A second kind of source: the lines of log files that grow. What arrives is a range of bytes.

It is what a stream is: an arrival's URI is a partition (``log:///var/log/app.log``), its version a range of offsets
(``120-480``), and what is new begins where the last range ended. A line is ``<time> <level> <number>``. Only lines
that are complete are taken.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event
from types import MappingProxyType

import polars as pl

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.manifest import Entry
from featurestore.arrivals.source_kinds import SourceKind
from featurestore.resources.data_pipeline import Source
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.column_use import ColumnUse
from featurestore_transforms.sources.reader import DECODING, ArrivalReader, UnreadableArrival
from featurestore_transforms.sources.stream import LINE, MALFORMED, FrameStream
from featurestore_transforms.sources.text_types import kinds
from featurestore_transforms.steps.column_names import ColumnNames

SCHEME = "log"
COLUMNS = ("at", "level", "n")


def is_log(source: Source) -> bool:
    return (source.uri or "").endswith(".log")


def path_of(uri: str) -> str:
    return uri.removeprefix(f"{SCHEME}://")


def range_of(version: str) -> tuple[int, int]:
    """First byte, and the byte after the last."""
    start, _, end = version.partition("-")
    return int(start), int(end)


class LogSource:
    """See :class:`featurestore.arrivals.source.ArrivalSource`."""

    noun = "range"
    most_messages = None

    def __init__(self, source: Source, base: str | None, environ: Mapping[str, str] | None) -> None:
        self._pattern = source.uri or ""

    def arrivals(self) -> Iterator[Arrival]:
        for path in sorted(glob.glob(self._pattern)):
            if (arrival := self._lines(path)) is not None:
                yield arrival

    def look(self, uris: Iterable[str]) -> list[Arrival]:
        named = set(uris)
        return [arrival for arrival in self.arrivals() if arrival.uri in named]

    def find(self, arrival: Arrival) -> Arrival | None:
        """Lines never change; a file that was cut does not have them any more."""
        _, end = range_of(arrival.version)
        return arrival if _size(path_of(arrival.uri)) >= end else None

    def is_same(self, arrival: Arrival, known: Sequence[KnownArrival], patience_s: float = 0) -> bool:
        return False

    def pin(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        return entries

    def decide(self, arrival: Arrival, known: Sequence[KnownArrival]) -> Entry | None:
        taken = max((range_of(row.version)[1] for row in known), default=0)
        start, end = range_of(arrival.version)
        start = max(start, taken)
        if start >= end:
            return None
        rest = Arrival(arrival.uri, f"{start}-{end}", end - start, arrival.modified_us)
        return Entry(rest, follows=known[-1].place if known else None)

    def admit(self, entries: Iterable[Entry], now_us: int) -> Iterator[Entry]:
        yield from entries

    def due_us(self) -> int | None:
        return None

    def due(self, now_us: int) -> list[str]:
        return []

    def named(self, urls: Iterable[str]) -> list[str]:
        return []

    def watch(self, stop: Event) -> Iterator[frozenset[str]]:
        yield from ()

    def explain_empty(self) -> str:
        return f"no log {self._pattern} has a complete line"

    def _lines(self, path: str) -> Arrival | None:
        """All complete lines of a log."""
        with open(path, "rb") as file:
            end = file.read().rfind(b"\n") + 1
        modified_us = os.stat(path).st_mtime_ns // 1000
        return Arrival(f"{SCHEME}://{path}", f"0-{end}", end, modified_us) if end else None


class LogReader:
    """See :class:`featurestore_transforms.sources.reader.ArrivalReader`."""

    whole = False
    names = ColumnNames.of(COLUMNS)
    partitions: Mapping[str, pl.Series] = MappingProxyType({})
    refused: Mapping[str, str] = MappingProxyType({})

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.schema: Mapping[str, pl.DataType] = dict.fromkeys(COLUMNS, pl.String())
        texts = {ROW: pl.Int64(), MALFORMED: pl.String(), LINE: pl.String()}
        self.stream = FrameStream({**self.schema, **texts}, self._frames)
        self.require_unchanged()

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        return kinds(columns, self.stream.frames(columns))

    def scan(self) -> pl.LazyFrame:
        return self.stream.scan()

    def rows(self) -> int:
        return self.stream.rows

    def refuse(self, columns: Mapping[str, str]) -> None:
        """Every line has every column."""
        raise UnreadableArrival("log:format", next(iter(columns.values())))

    def require_learnable(self, use: ColumnUse) -> None:
        """Any lines will do."""

    def require_unchanged(self) -> None:
        if _size(path_of(self.arrival.uri)) < range_of(self.arrival.version)[1]:
            raise UnreadableArrival("log:gone", "the log was cut before these lines were read")

    @contextmanager
    def explaining(self) -> Iterator[None]:
        try:
            yield
        except DECODING as error:
            self.require_unchanged()
            raise UnreadableArrival("log:corrupt", str(error)) from error

    def _frames(self, _columns: Collection[str]) -> Iterator[pl.DataFrame]:
        start, end = range_of(self.arrival.version)
        with open(path_of(self.arrival.uri), "rb") as file:
            file.seek(start)
            lines = file.read(end - start).decode().splitlines()
        rows = []
        for number, line in enumerate(lines):
            values = line.split(" ")
            good = len(values) == len(COLUMNS)
            why = None if good else f"wanted {len(COLUMNS)} words, got {len(values)}"
            rows.append((*(values if good else [None] * len(COLUMNS)), number, why, None if good else line))
        schema = {**self.schema, ROW: pl.Int64(), MALFORMED: pl.String(), LINE: pl.String()}
        yield pl.DataFrame(rows, schema=schema, orient="row")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def open_reader(arrival: Arrival, source: Source, memory_bytes: int, base: str) -> ArrivalReader:
    """See :func:`featurestore_transforms.sources.reader.open_reader`."""
    return LogReader(arrival)


LOGS = SourceKind(is_log, LogSource, "log_source")
"""The row of the table."""
