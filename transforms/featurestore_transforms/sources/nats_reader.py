"""The messages of a stream of JetStream, as far as a position goes.

A consumer that nobody keeps reads them, and nothing is acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.nats.jetstream import StreamOfNats
from featurestore.arrivals.position import Position
from featurestore.arrivals.streams.stream_source import LOST
from featurestore.errors import StorageError
from featurestore.resources.data_pipeline import Source
from featurestore.storage.credentials import source_environ
from featurestore_transforms.sources.message_reader import MessageReader, first_positions
from featurestore_transforms.sources.message_spool import MessageSpool, StreamMessage
from featurestore_transforms.sources.reader import ArrivalReader, UnreadableArrival

_PATIENCE_S = 30.0
"""So long may a fetch bring nothing. Then the batch is tried again later."""
_AT_ONCE = 500
_WAIT_S = 2.0


def open_reader(arrival: Arrival, source: Source, memory_bytes: int, base: str) -> ArrivalReader:
    """See :func:`featurestore_transforms.sources.reader.open_reader`. All of the position is fetched.

    Raises:
        UnreadableArrival: the stream is gone, or all of the position is.
        StorageError: the servers did not bring all of it.
    """
    assert source.nats is not None
    client, position = StreamOfNats(source.nats, source_environ()), Position.of(arrival.version)
    name = arrival.uri.rpartition("/")[0]
    spool = MessageSpool()
    begin = _begin(client, name, position)
    if begin > position.first:
        gone = client.span(position._replace(end=begin))
        spool.lost = position.first, f"{LOST}: {gone} were deleted before they were read"
    spool.fill(_messages(client, source.nats.stream, position._replace(first=begin)))
    _begin(client, name, position._replace(end=begin + 1))
    return MessageReader(arrival, source, spool)


def open_head(
    arrival: Arrival, source: Source, memory_bytes: int, base: str, scratch: Path
) -> tuple[ArrivalReader, bool]:
    """See :func:`featurestore_transforms.sources.reader.open_head`."""
    first, is_all = first_positions(arrival)
    return open_reader(first, source, memory_bytes, base), is_all


def _begin(client: StreamOfNats, name: str, position: Position) -> int:
    """Where what is left of the position begins."""
    look = client.look()
    if look is None or look.uri != name:
        raise UnreadableArrival("stream:gone", "the stream was deleted before these messages were read")
    begin = look.begins[0]
    assert isinstance(begin, int)
    if begin >= position.end:
        raise UnreadableArrival(LOST, f"{client.span(position)} were deleted before they were read")
    return max(begin, position.first)


def _messages(client: StreamOfNats, stream: str, position: Position) -> Iterator[StreamMessage]:
    """Messages until the position ends; a hole at its end shows by what comes after it, or by the end of what there is."""
    where = client.where

    async def subscribed(nats: Any) -> Any:
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        subscription = client.reader
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=position.first,
            ack_policy=AckPolicy.NONE,
            filter_subject=subscription.get("filter_subject"),
            inactive_threshold=60.0,
            mem_storage=True,
            num_replicas=1,
        )
        js = nats.jetstream(timeout=10)
        return await js.pull_subscribe(subscription.get("filter_subject") or "", stream=stream, config=config)

    subscription = client.connection.run(subscribed, where)
    try:
        at, until_s = position.first, time.monotonic() + _PATIENCE_S
        while at < position.end:

            async def fetched(_: Any, most: int = min(_AT_ONCE, position.end - at)) -> list[Any]:
                with suppress(TimeoutError):
                    # It waits until so many are there: no more than can be left.
                    return list(await subscription.fetch(most, timeout=_WAIT_S))
                return []

            async def waiting(_: Any) -> int:
                return int((await subscription.consumer_info()).num_pending)

            messages = client.connection.run(fetched, where)
            for message in messages:
                number, time_us, pending = _told(message.reply)
                if number < position.end:
                    yield _message(message, number, time_us)
                at = position.end if not pending else max(at, number + 1)
                if at >= position.end:
                    break
            if messages:
                until_s = time.monotonic() + _PATIENCE_S
            elif not client.connection.run(waiting, where):
                return
            elif time.monotonic() > until_s:
                raise StorageError(
                    f"the servers brought no message for {_PATIENCE_S:.0f} s",
                    where=where,
                    wanted=client.span(position),
                    got=f"those to {at - 1}",
                )
    finally:

        async def left(_: Any) -> None:
            await subscription.unsubscribe()

        with suppress(StorageError):
            client.connection.run(left, where)


def _told(reply: str) -> tuple[int, int, int]:
    """Sequence number, time in microseconds, and how many messages come after it.

    https://docs.nats.io/reference/reference-protocols/nats_api_reference#acknowledging-messages: ``$JS.ACK.``, then of
    newer servers domain and account, then stream, consumer, deliveries, sequence, that of the consumer, time, pending.

    >>> _told("$JS.ACK.s.c.1.7.3.1704067200000000000.2")
    (7, 1704067200000000, 2)
    """
    tokens = reply.split(".")
    own = tokens[2:] if len(tokens) == 9 else tokens[4:]
    return int(own[3]), int(own[5]) // 1000, int(own[6])


def _message(message: Any, number: int, time_us: int) -> StreamMessage:
    headers = tuple((name, str(value).encode()) for name, value in (message.headers or {}).items())
    # There is no other way to say that what a subject stood for is gone.
    return StreamMessage(number, time_us, message.subject.encode(), message.data or None, headers)
