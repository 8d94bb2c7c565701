"""The messages of one position of a stream as rows. The number of a row is its message's offset, or stands for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import polars as pl

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.position import Position
from featurestore.errors import CodeError
from featurestore.resources.data_pipeline import Source
from featurestore.resources.message_stream import OnTombstone, Stream
from featurestore.storage.credentials import source_environ
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.column_use import ColumnUse
from featurestore_transforms.sources.json_rows import JsonRows
from featurestore_transforms.sources.message_spool import Messages, MessageSpool
from featurestore_transforms.sources.reader import DECODING, UnreadableArrival
from featurestore_transforms.sources.stream import (
    LINE,
    MALFORMED,
    MARKS,
    MOST_ROWS,
    FrameReader,
    FrameStream,
    same,
)
from featurestore_transforms.steps.column_names import ColumnNames

if TYPE_CHECKING:
    from featurestore_transforms.sources.avro_rows import AvroRows
    from featurestore_transforms.sources.protobuf_rows import ProtobufRows

_TIME = pl.Datetime("us", "UTC")


class MessageReader(FrameReader):
    """See :class:`featurestore_transforms.sources.reader.ArrivalReader`."""

    whole = False
    partitions: Mapping[str, pl.Series] = MappingProxyType({})
    refused: Mapping[str, str] = MappingProxyType({})

    def __init__(self, arrival: Arrival, source: Source, spool: MessageSpool) -> None:
        assert source.stream is not None
        self.arrival = replace(arrival, size_bytes=spool.size_bytes)
        self._stream, self._spool = source.stream, spool
        self._partition = int(arrival.uri.rpartition("/")[2])
        self._no_value = f"the message has no value: a tombstone. See spec.source.{source.kind}.onTombstone"
        columns = self._stream.columns
        self._given: dict[str, pl.DataType] = {
            **({columns.of_key: pl.String()} if columns.of_key else {}),
            **({columns.timestamp: _TIME} if columns.timestamp else {}),
            **({columns.of_partition: pl.Int64()} if columns.of_partition else {}),
            **({columns.of_offset: pl.Int64()} if columns.of_offset else {}),
            **dict.fromkeys(columns.headers.values(), pl.String()),
        }
        barred = {
            name.lower(): f"the value has a key {name!r}, and spec.source.{source.kind}.include names a column so"
            for name in self._given
        }
        values = (_values(messages) for messages in spool.read())
        self._rows = _rows(self._stream, values, barred)
        own = self._rows.names
        given = {name: name for name in self._given}
        self.names = ColumnNames({**own.originals, **given}, own.unusable, own.repeated)
        self.schema = {**self._rows.schema, **self._given}
        self.stream = FrameStream({**self.schema, **MARKS}, self._frames)

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        own = self._rows.types([name for name in columns if name not in self._given])
        return {name: self._given[name] if name in self._given else own[name] for name in columns}

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
            yield self._lost(*self._spool.lost, wanted)
        for messages in self._spool.read():
            yield self._frame(messages, wanted)

    def _frame(self, messages: Messages, wanted: Collection[str]) -> pl.DataFrame:
        frame = self._rows.frame(_values(messages), wanted)
        given, bad = self._columns(messages, wanted)
        whys, lines = frame[MALFORMED].to_list(), frame[LINE].to_list()
        for place, (value, refused) in enumerate(zip(messages.values, messages.whys, strict=True)):
            why = refused or (self._no_value if value is None else bad.get(place))
            if why is not None:
                whys[place], lines[place] = why, (value or b"").decode(errors="replace")
        frame = frame.with_columns(
            *given,
            pl.Series(ROW, messages.numbers, pl.Int64()),
            pl.Series(MALFORMED, whys, pl.String()),
            pl.Series(LINE, lines, pl.String()),
        )
        if self._stream.on_tombstone is OnTombstone.IGNORE:
            present = pl.Series([value is not None for value in messages.values], dtype=pl.Boolean())
            frame = frame.filter(present)
        return frame

    def _columns(self, messages: Messages, wanted: Collection[str]) -> tuple[list[pl.Series], dict[int, str]]:
        """The columns that do not come of values; and which messages have no such, with the reason."""
        columns, rows = self._stream.columns, len(messages.numbers)
        bad: dict[int, str] = {}
        columns_read: list[pl.Series] = []

        def add_text(column: str, what: str, values: list[bytes | None]) -> None:
            made: list[str | None] = []
            for place, value in enumerate(values):
                try:
                    made.append(None if value is None else value.decode())
                except UnicodeDecodeError:
                    made.append(None)
                    bad[place] = f"{what} is not UTF-8"
            columns_read.append(pl.Series(column, made, pl.String()))

        if columns.of_key in wanted and columns.of_key is not None:
            add_text(columns.of_key, "the key", list(messages.keys))
        for header, column in columns.headers.items():
            if column in wanted:
                add_text(column, f"header {header!r}", [one.get(header) for one in messages.headers])
        if columns.timestamp in wanted and columns.timestamp is not None:
            columns_read.append(pl.Series(columns.timestamp, messages.timestamps_us, pl.Int64()).cast(_TIME))
        if columns.of_partition in wanted and columns.of_partition is not None:
            columns_read.append(same(columns.of_partition, self._partition, pl.Int64(), rows))
        if columns.of_offset in wanted and columns.of_offset is not None:
            columns_read.append(pl.Series(columns.of_offset, messages.numbers, pl.Int64()))
        return columns_read, bad

    def _lost(self, number: int, why: str, wanted: Collection[str]) -> pl.DataFrame:
        """A row that stands for those that are not there any more, so that quarantine tells of them."""
        row: dict[str, Any] = {ROW: [number], MALFORMED: [why], LINE: [""]}
        columns = {name: dtype for name, dtype in self.schema.items() if name in wanted}
        nothing = {name: [None] for name in columns}
        return pl.DataFrame({**nothing, **row}, schema={**columns, **MARKS})


def first_positions(arrival: Arrival) -> tuple[Arrival, bool]:
    """The arrival's first positions, as many as are tried of a large one; and whether these are all."""
    position = Position.of(arrival.version)
    first = position._replace(end=min(position.end, position.first + MOST_ROWS))
    return replace(arrival, version=str(first)), first == position


def _rows(
    stream: Stream, values: Iterator[list[bytes]], barred: Mapping[str, str]
) -> JsonRows | AvroRows | ProtobufRows:
    # Their libraries are loaded where they are needed.
    try:
        if stream.avro is not None:
            from featurestore_transforms.sources.avro_rows import AvroRows

            return AvroRows(stream.avro, values, source_environ())
        if stream.protobuf is not None:
            from featurestore_transforms.sources.protobuf_rows import ProtobufRows

            return ProtobufRows(stream.protobuf, values, source_environ())
    except ImportError as error:
        raise CodeError(
            f"messages in {stream.format.value} need a package",
            where=stream.place,
            got=str(error),
            hint="pip install 'featurestore[kafka]', or [nats]",
        ) from error
    return JsonRows(values, barred)


def _values(messages: Messages) -> list[bytes]:
    """The values; a message without one is malformed."""
    return [b"{}" if value is None else value for value in messages.values]
