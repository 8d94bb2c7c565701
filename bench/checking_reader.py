"""Reads features over and over, and holds what it reads to what was sent; at the end the tables and the join as well."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import polars as pl

import featurestore
from bench.sent_rows import KEYS, SOURCES, WINDOW_S, ReadValues, SentRows
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.timestamps import SECOND_US, current_us

READ_S = 0.25
FEATURES = ("n", "rows_1d", "total_1d", f"recent_{WINDOW_S // 60}m")
ROOT = "features"
"""The bucket of the storage roots."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Values(Protocol):
    """What a read gave."""

    def to_dict(self) -> Mapping[str, Sequence[Any]]: ...


class Readable(Protocol):
    """What features are read from: a :class:`featurestore.Store`, or a feature server."""

    def get_features(self, features: list[str], entities: list[dict[str, str]], /) -> Values: ...


@dataclass
class CheckingReader:
    """Reads all values of all stores, over and over, and holds them to what was sent."""

    sent: dict[str, SentRows]
    stores: Mapping[str, Readable]
    newest: dict[tuple[str, str, str], int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    reads: int = 0
    values: int = 0
    failed: int = 0
    last_failure: str = ""

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(READ_S):
            for side in self.stores:
                for source in SOURCES:
                    self._read(side, source)

    def lag_s(self, side: str, source: str) -> float:
        """Age of the oldest row that was sent and is not what is read yet, nor older."""
        waiting = (
            self.sent[source].waits_since_us(key, self.newest.get((side, source, key))) for key in KEYS
        )
        since_us = min((us for us in waiting if us is not None), default=None)
        return 0.0 if since_us is None else (current_us() - since_us) / SECOND_US

    def _read(self, side: str, source: str) -> None:
        begin_us = current_us()
        try:
            answer = self.stores[side].get_features(
                [f"{source}:{name}" for name in FEATURES], [{"k": key} for key in KEYS]
            )
        except featurestore.errors.FeatureStoreError as error:
            self.failed, self.last_failure = self.failed + 1, str(error)
            return
        read_us = begin_us, current_us()
        columns = answer.to_dict()
        self.reads += 1
        for place, key in enumerate(KEYS):
            read = ReadValues(*(columns[name][place] for name in FEATURES))
            self.values += len(FEATURES)
            fault = self.sent[source].wrong(key, read, read_us, in_order=SOURCES[source])
            before = self.newest.get((side, source, key))
            if not fault and before is not None and (read.n is None or read.n < before):
                fault = f"{read.n} after {before}"
            if fault:
                self.faults.append(f"{side}, {source} of {key}: {fault}")
            elif read.n is not None:
                self.newest[side, source, key] = read.n


def differences(side: str, source: str, sent: SentRows) -> Iterator[str]:
    """How the dataset differs from what was sent."""
    table = Table.open(Storage(f"s3://{ROOT}/{side}", dict(os.environ)), paths.dataset(source))
    options = {key.lower(): value for key, value in os.environ.items() if key.startswith("AWS_")}
    rows = (
        []
        if table is None
        else pl.read_parquet(
            table.uris(), columns=["n"], storage_options={**options, "aws_allow_http": "true"}
        )["n"]
        .sort()
        .to_list()
    )
    wanted = sent.numbers
    if rows != wanted:
        lost, doubled = len(set(wanted) - set(rows)), len(rows) - len(set(rows))
        yield f"{len(rows):,} rows in the dataset, wanted {len(wanted):,}: {lost:,} lost, {doubled:,} doubled"


def differences_at_the_end(store: Readable, side: str, source: str, sent: SentRows) -> Iterator[str]:
    """What is read at the end and differs from what was sent, of files as well."""
    begin_us = current_us()
    columns = store.get_features(
        [f"{source}:{name}" for name in FEATURES], [{"k": key} for key in KEYS]
    ).to_dict()
    read_us = begin_us, current_us()
    for place, key in enumerate(KEYS):
        read = ReadValues(*(columns[name][place] for name in FEATURES))
        if read.n != sent.newest(key):
            yield f"{side}, {source} of {key}: {read.n} at the end, wanted {sent.newest(key)}"
        elif fault := sent.wrong(key, read, read_us, in_order=True):
            yield f"{side}, {source} of {key} at the end: {fault}"


def differences_of_the_join(
    store: featurestore.Store, side: str, source: str, sent: SentRows
) -> Iterator[str]:
    """What the point-in-time join says of rows at their own times, and differs from what was sent."""
    rows = [(key, *row) for key in KEYS for row in sent.last(key, 5)]
    labels = [{"k": key, "at": _EPOCH + timedelta(microseconds=us)} for key, us, _, _ in rows]
    names = FEATURES[:2]
    columns = store.get_features(
        [f"{source}:{name}" for name in names], labels, timestamp_column="at"
    ).to_dict()
    for place, (key, _, *wanted) in enumerate(rows):
        joined = [columns[name][place] for name in names]
        if joined != wanted:
            yield f"{side}, {source} of {key} at its own time: {joined}, wanted {wanted}"
