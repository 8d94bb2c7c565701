"""The messages of a topic, as far as a position goes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Semaphore
from typing import Any

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.kafka.topic import TopicClient, answering, options
from featurestore.arrivals.manifest import Action, Entry
from featurestore.arrivals.position import Position
from featurestore.arrivals.streams.stream_source import LOST
from featurestore.errors import FeatureStoreError, StorageError
from featurestore.resources.data_pipeline import Source
from featurestore.resources.kafka import Kafka
from featurestore.storage.credentials import source_environ
from featurestore_transforms.sources.message_reader import MessageReader, first_positions
from featurestore_transforms.sources.message_spool import MessageSpool, StreamMessage
from featurestore_transforms.sources.reader import ArrivalReader, UnreadableArrival

logger = logging.getLogger(__name__)
_PATIENCE_S = 30.0
"""So long may a fetch bring nothing. Then the batch is tried again later."""
_AT_ONCE = 1000
_LEAST_KIB, _MOST_KIB = 1024, 16 << 10
_FETCHING = Semaphore(2)
"""Each client has fetched messages in memory that nobody asked for yet."""


class _Fetch:
    """Fetches a position of a partition into a spool."""

    def __init__(self, kafka: Kafka, uri: str, position: Position, memory_bytes: int) -> None:
        self._kafka, self._position = kafka, position
        self._memory_bytes = memory_bytes
        self._name, _, partition = uri.rpartition("/")
        self._partition = int(partition)
        self._where = f"{kafka.place}, partition {partition}"

    def into(self, spool: MessageSpool, client: TopicClient, login: Mapping[str, str] | None) -> None:
        """Fetch what is there of the position.

        Raises:
            UnreadableArrival: the topic is gone, or all of the position is.
            StorageError: the brokers did not bring all of it.
        """
        if not self._position.length:
            spool.fill(())
            return
        with _FETCHING:
            self._require_topic(client)
            spool.fill(self._fetch(self._begin(client, spool), login))
            self._require_topic(client)

    def _require_topic(self, client: TopicClient) -> None:
        topic = client.topic()
        if topic is None or topic.uri != self._name:
            raise UnreadableArrival("stream:gone", "the topic was deleted before these messages were read")

    def _begin(self, client: TopicClient, spool: MessageSpool) -> int:
        begin = client.begins((self._partition,))[self._partition]
        if isinstance(begin, StorageError):
            raise begin
        first, end = self._position
        if begin >= end:
            raise UnreadableArrival(LOST, f"offsets {first} to {end - 1} were deleted before they were read")
        if begin > first:
            why = f"{LOST}: offsets {first} to {begin - 1} were deleted before they were read"
            spool.lost = first, why
        return max(begin, first)

    def _fetch(self, begin: int, login: Mapping[str, str] | None) -> Iterator[StreamMessage]:
        from confluent_kafka import Consumer, TopicPartition

        kib = min(max(self._memory_bytes >> 16, _LEAST_KIB), _MOST_KIB)
        consumer = Consumer(
            {
                **options(self._kafka.bootstrap_servers, self._kafka.place, login),
                # Needed by the client, and never joined: partitions are assigned, and nothing is committed.
                "group.id": self._kafka.consumer_group or "featurestore",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "queued.max.messages.kbytes": kib,
                "fetch.max.bytes": kib << 10,
                "message.max.bytes": min(kib << 10, 1_000_000_000),
            }
        )
        try:
            consumer.assign([TopicPartition(self._kafka.topic, self._partition, begin)])
            yield from map(_message, self._messages(consumer))
        finally:
            consumer.close()

    def _messages(self, consumer: Any) -> Iterator[Any]:
        """Messages until the position ends; a hole at its end shows by what comes after it, or by the partition's end."""
        at, until_s = self._position.first, time.monotonic() + _PATIENCE_S
        while at < self._position.end:
            with answering("messages cannot be fetched", self._where):
                # It waits until so many are there: no more than can be left.
                fetched = consumer.consume(min(_AT_ONCE, self._position.end - at), timeout=1.0)
            for message in fetched:
                error = message.error()
                if error is None and message.offset() < self._position.end:
                    yield message
                elif error is not None and error.name() != "_PARTITION_EOF":
                    self._require_passing(error)
                    continue
                at = max(at, message.offset() + (error is None))
            if any(message.error() is None for message in fetched):
                until_s = time.monotonic() + _PATIENCE_S
            elif time.monotonic() > until_s and at < self._position.end:
                raise StorageError(
                    f"the brokers brought no message for {_PATIENCE_S:.0f} s",
                    where=self._where,
                    wanted=f"offsets to {self._position.end - 1}",
                    got=f"those to {at - 1}",
                )

    def _require_passing(self, error: Any) -> None:
        """Nothing, if the client goes on by itself."""
        if error.fatal() or not (error.retriable() or error.name().startswith("_")):
            raise StorageError("messages cannot be fetched", where=self._where, got=error.str())
        if error.name() == "_AUTO_OFFSET_RESET":
            raise StorageError(
                "messages cannot be fetched from where the position begins",
                where=self._where,
                got=error.str(),
            )


def _message(message: Any) -> StreamMessage:
    kind, milliseconds = message.timestamp()
    headers = tuple((name, value) for name, value in message.headers() or ())
    return StreamMessage(
        message.offset(), milliseconds * 1000 if kind else None, message.key(), message.value(), headers
    )


def open_reader(arrival: Arrival, source: Source, memory_bytes: int, base: str) -> ArrivalReader:
    """See :func:`featurestore_transforms.sources.reader.open_reader`. All of the position is fetched.

    Raises:
        UnreadableArrival: the topic is gone, or all of the position is.
        StorageError: the brokers did not bring all of it.
    """
    kafka, environ = source.kafka, source_environ()
    assert kafka is not None
    spool = MessageSpool()
    fetch = _Fetch(kafka, arrival.uri, Position.of(arrival.version), memory_bytes)
    fetch.into(spool, TopicClient(kafka, environ), environ)
    return MessageReader(arrival, source, spool)


def open_head(
    arrival: Arrival, source: Source, memory_bytes: int, base: str, scratch: Path
) -> tuple[ArrivalReader, bool]:
    """See :func:`featurestore_transforms.sources.reader.open_head`."""
    first, is_all = first_positions(arrival)
    return open_reader(first, source, memory_bytes, base), is_all


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
