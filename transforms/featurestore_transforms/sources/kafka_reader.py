"""The messages of one position as rows. The number of a row is its message's offset."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import polars as pl

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.kafka.kafka_source import LOST
from featurestore.arrivals.kafka.topic import TopicClient
from featurestore.arrivals.manifest import Action, Entry
from featurestore.arrivals.position import Position
from featurestore.errors import FeatureStoreError
from featurestore.resources.avro import Avro
from featurestore.resources.data_pipeline import Source
from featurestore.resources.kafka import Kafka, OnTombstone
from featurestore.storage.credentials import source_environ
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.column_use import ColumnUse
from featurestore_transforms.sources.json_rows import JsonRows
from featurestore_transforms.sources.message_spool import Messages, MessageSpool
from featurestore_transforms.sources.reader import DECODING, ArrivalReader, UnreadableArrival
from featurestore_transforms.sources.stream import LINE, MALFORMED, MARKS, MOST_ROWS, FrameStream, same
from featurestore_transforms.steps.column_names import ColumnNames

if TYPE_CHECKING:
    from featurestore_transforms.sources.avro_rows import AvroRows

logger = logging.getLogger(__name__)
_NO_VALUE = "the message has no value: a tombstone. See spec.source.kafka.onTombstone"
_TIME = pl.Datetime("us", "UTC")


class KafkaReader:
    """See :class:`featurestore_transforms.sources.reader.ArrivalReader`."""

    whole = False
    partitions: Mapping[str, pl.Series] = MappingProxyType({})
    refused: Mapping[str, str] = MappingProxyType({})

    def __init__(self, arrival: Arrival, kafka: Kafka, spool: MessageSpool) -> None:
        self.arrival = replace(arrival, size_bytes=spool.size_bytes)
        self._kafka, self._spool = kafka, spool
        self._partition = int(arrival.uri.rpartition("/")[2])
        include = kafka.include
        self._given: dict[str, pl.DataType] = {
            **({include.key: pl.String()} if include.key else {}),
            **({include.timestamp: _TIME} if include.timestamp else {}),
            **({include.partition: pl.Int64()} if include.partition else {}),
            **({include.offset: pl.Int64()} if include.offset else {}),
            **dict.fromkeys(include.headers.values(), pl.String()),
        }
        barred = {
            name.lower(): f"the value has a key {name!r}, and spec.source.kafka.include names a column so"
            for name in self._given
        }
        values = (_values(messages) for messages in spool.read())
        self._rows = JsonRows(values, barred) if kafka.avro is None else _avro_rows(kafka.avro, values)
        own = self._rows.names
        given = {name: name for name in self._given}
        self.names = ColumnNames({**own.originals, **given}, own.unusable, own.repeated)
        self.schema: Mapping[str, pl.DataType] = {**self._rows.schema, **self._given}
        self.stream = FrameStream({**self.schema, **MARKS}, self._frames)

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        own = self._rows.types([name for name in columns if name not in self._given])
        return {name: self._given[name] if name in self._given else own[name] for name in columns}

    def scan(self) -> pl.LazyFrame:
        return self.stream.scan()

    def rows(self) -> int:
        return self.stream.rows

    def refuse(self, columns: Mapping[str, str]) -> None:
        self._rows.refuse(columns)

    def require_learnable(self, use: ColumnUse) -> None:
        """Any messages will do."""

    def require_unchanged(self) -> None:
        """They were fetched when they were the ones that were meant."""

    @contextmanager
    def explaining(self) -> Iterator[None]:
        try:
            yield
        except UnreadableArrival:
            raise
        except DECODING as error:
            failure = self.stream.failure or error
            raise UnreadableArrival("stream:corrupt", str(failure) or type(failure).__name__) from error

    def _frames(self, wanted: Collection[str]) -> Iterator[pl.DataFrame]:
        if self._spool.lost is not None:
            yield self._lost(self._spool.lost, wanted)
        for messages in self._spool.read():
            yield self._frame(messages, wanted)

    def _frame(self, messages: Messages, wanted: Collection[str]) -> pl.DataFrame:
        frame = self._rows.frame(_values(messages), wanted)
        given, bad = self._columns(messages, wanted)
        whys, lines = frame[MALFORMED].to_list(), frame[LINE].to_list()
        for place, value in enumerate(messages.values):
            why = _NO_VALUE if value is None else bad.get(place)
            if why is not None:
                whys[place], lines[place] = why, (value or b"").decode(errors="replace")
        frame = frame.with_columns(
            *given,
            pl.Series(ROW, messages.offsets, pl.Int64()),
            pl.Series(MALFORMED, whys, pl.String()),
            pl.Series(LINE, lines, pl.String()),
        )
        if self._kafka.on_tombstone is OnTombstone.IGNORE:
            present = pl.Series([value is not None for value in messages.values], dtype=pl.Boolean())
            frame = frame.filter(present)
        return frame

    def _columns(self, messages: Messages, wanted: Collection[str]) -> tuple[list[pl.Series], dict[int, str]]:
        """The columns that do not come of values; and which messages have no such, with the reason."""
        include, rows = self._kafka.include, len(messages.offsets)
        bad: dict[int, str] = {}
        columns: list[pl.Series] = []

        def add_text(column: str, what: str, values: list[bytes | None]) -> None:
            made: list[str | None] = []
            for place, value in enumerate(values):
                try:
                    made.append(None if value is None else value.decode())
                except UnicodeDecodeError:
                    made.append(None)
                    bad[place] = f"{what} is not UTF-8"
            columns.append(pl.Series(column, made, pl.String()))

        if include.key in wanted and include.key is not None:
            add_text(include.key, "the key", list(messages.keys))
        for header, column in include.headers.items():
            if column in wanted:
                add_text(column, f"header {header!r}", [one.get(header) for one in messages.headers])
        if include.timestamp in wanted and include.timestamp is not None:
            times = pl.Series(include.timestamp, messages.timestamps, pl.Int64())
            columns.append((times * 1000).cast(_TIME))
        if include.partition in wanted and include.partition is not None:
            columns.append(same(include.partition, self._partition, pl.Int64(), rows))
        if include.offset in wanted and include.offset is not None:
            columns.append(pl.Series(include.offset, messages.offsets, pl.Int64()))
        return columns, bad

    def _lost(self, lost: Position, wanted: Collection[str]) -> pl.DataFrame:
        """A row that stands for those that are not there any more, so that quarantine tells of them."""
        why = f"{LOST}: offsets {lost.first} to {lost.end - 1} were deleted before they were read"
        row: dict[str, Any] = {ROW: [lost.first], MALFORMED: [why], LINE: [""]}
        columns = {name: dtype for name, dtype in self.schema.items() if name in wanted}
        nothing = {name: [None] for name in columns}
        return pl.DataFrame({**nothing, **row}, schema={**columns, **MARKS})


def open_reader(arrival: Arrival, source: Source, memory_bytes: int, base: str) -> ArrivalReader:
    """See :func:`featurestore_transforms.sources.reader.open_reader`. All of the position is fetched.

    Raises:
        UnreadableArrival: the topic is gone, or all of the position is.
        StorageError: the brokers did not bring all of it.
    """
    kafka, environ = source.kafka, source_environ()
    assert kafka is not None
    spool = MessageSpool(kafka, arrival.uri, Position.of(arrival.version), memory_bytes)
    spool.fill(TopicClient(kafka, environ), environ)
    return KafkaReader(arrival, kafka, spool)


def open_head(
    arrival: Arrival, source: Source, memory_bytes: int, base: str, scratch: Path
) -> tuple[ArrivalReader, bool]:
    """See :func:`featurestore_transforms.sources.reader.open_head`."""
    position = Position.of(arrival.version)
    first = position._replace(end=min(position.end, position.first + MOST_ROWS))
    reader = open_reader(replace(arrival, version=str(first)), source, memory_bytes, base)
    return reader, first == position


def acknowledge(entries: Sequence[Entry], source: Source) -> None:
    """Set the offsets of the group that the spec names, as far as partitions were taken. If it fails, that is logged."""
    kafka, environ = source.kafka, source_environ()
    assert kafka is not None
    ends = {
        int(entry.arrival.uri.rpartition("/")[2]): Position.of(entry.arrival.version).end
        for entry in entries
        if entry.action in (Action.TAKE, Action.REJECT)
    }
    if kafka.consumer_group is None or not ends:
        return
    try:
        TopicClient(kafka, environ).set_group(kafka.consumer_group, ends)
    except FeatureStoreError as error:
        logger.warning("offsets of group %s are not set: %s", kafka.consumer_group, error)


def _avro_rows(avro: Avro, values: Iterator[list[bytes]]) -> AvroRows:
    # Its library is loaded where it is needed.
    from featurestore_transforms.sources.avro_rows import AvroRows

    return AvroRows(avro, values, source_environ())


def _values(messages: Messages) -> list[bytes]:
    """The values; a message without one is malformed."""
    return [b"{}" if value is None else value for value in messages.values]
