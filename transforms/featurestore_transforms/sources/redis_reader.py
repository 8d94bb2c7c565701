"""The messages of a stream of Redis, as far as a position goes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.position import Position, messages
from featurestore.arrivals.redis.stream_key import StreamKey, id_of, number_of
from featurestore.arrivals.streams.stream_source import LOST
from featurestore.resources.data_pipeline import Source
from featurestore.resources.redis_stream import RedisStream
from featurestore.storage.credentials import source_environ
from featurestore_transforms.sources.message_reader import MessageReader
from featurestore_transforms.sources.message_spool import MessageSpool, StreamMessage
from featurestore_transforms.sources.reader import ArrivalReader, UnreadableArrival
from featurestore_transforms.sources.stream import MOST_ROWS

_SEQUENCE_BITS = 20
_MOST_TIME, _MOST_SEQUENCE = (1 << 43) - 1, (1 << _SEQUENCE_BITS) - 1
"""What numbers of rows tell apart is before: milliseconds until the year 2248, and a million messages in each."""


def open_reader(arrival: Arrival, source: Source, memory_bytes: int, base: str) -> ArrivalReader:
    """See :func:`featurestore_transforms.sources.reader.open_reader`. All of the position is fetched.

    Raises:
        UnreadableArrival: the stream is gone, or all of the position is.
        StorageError: the server does not answer.
    """
    assert source.redis is not None
    client, position = StreamKey(source.redis, source_environ()), Position.of(arrival.version)
    spool = MessageSpool()
    spool.fill(_messages(client, source.redis, position))
    wanted = messages(arrival) if arrival.content else spool.rows
    if spool.rows < wanted:
        gone = f"{wanted - spool.rows} of {wanted} messages of {client.span(position)} were deleted before they were read"
        if not spool.rows:
            raise UnreadableArrival(LOST, gone)
        # Before the first id there is none of this position.
        spool.lost = max(row_number(position.first) - 1, 0), f"{LOST}: {gone}"
    return MessageReader(arrival, source, spool)


def open_head(
    arrival: Arrival, source: Source, memory_bytes: int, base: str, scratch: Path
) -> tuple[ArrivalReader, bool]:
    """See :func:`featurestore_transforms.sources.reader.open_head`."""
    assert source.redis is not None
    position = Position.of(arrival.version)
    client = StreamKey(source.redis, source_environ())
    count, end = client.count(*position, MOST_ROWS)
    first = replace(arrival, version=str(position._replace(end=end)), content=str(Position(0, count)))
    return open_reader(first, source, memory_bytes, base), end == position.end


def row_number(number: int) -> int:
    """The number of the row of an id, in the order of ids; the same for all that are beyond what it can tell apart.

    >>> row_number(number_of("1704067200000-3")) == (1704067200000 << 20) + 3
    True
    """
    milliseconds, sequence = number >> 64, number & (1 << 64) - 1
    return (min(milliseconds, _MOST_TIME) << _SEQUENCE_BITS) + min(sequence, _MOST_SEQUENCE)


def _messages(client: StreamKey, redis: RedisStream, position: Position) -> Iterator[StreamMessage]:
    for some in client.messages(*position):
        for key, fields in some:
            number = number_of(key)
            milliseconds, sequence = number >> 64, number & (1 << 64) - 1
            is_told_apart = milliseconds < _MOST_TIME and sequence < _MOST_SEQUENCE
            why = f"the id {id_of(number)} is not read: it is beyond {_MOST_TIME}-{_MOST_SEQUENCE - 1}"
            time_us = milliseconds * 1000 if is_told_apart else None
            headers = tuple((name.decode(errors="replace"), value) for name, value in fields.items())
            value = _value(fields, redis.field)
            yield StreamMessage(
                row_number(number), time_us, key, value, headers, None if is_told_apart else why
            )


def _value(fields: Mapping[bytes, bytes], field: str | None) -> bytes | None:
    """The field that has the value, None if there is none; or all fields as an object of JSON."""
    if field is not None:
        return fields.get(field.encode())
    try:
        return json.dumps({name.decode(): value.decode() for name, value in fields.items()}).encode()
    except UnicodeDecodeError:
        return b"a field is not UTF-8: " + b" ".join(fields.values())
