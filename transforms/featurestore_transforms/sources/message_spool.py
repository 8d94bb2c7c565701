"""The messages of one position, fetched once and kept in a file without a name until they were read.

What is read twice must be the same twice, while the brokers may compact and delete. Memory does not grow with the position:
neither of what is fetched nor of what is read again.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Semaphore
from typing import Any

import pyarrow as pa

from featurestore.arrivals.kafka.topic import TopicClient, answering, options
from featurestore.arrivals.position import Position
from featurestore.errors import StorageError
from featurestore.resources.kafka import Kafka
from featurestore_transforms.sources.reader import UnreadableArrival

_PATIENCE_S = 30.0
"""So long may a fetch bring nothing. Then the batch is tried again later."""
_AT_ONCE = 1000
_PIECE_BYTES = 4 << 20
_LEAST_KIB, _MOST_KIB = 1024, 16 << 10
_FETCHING = Semaphore(2)
"""Each client has fetched messages in memory that nobody asked for yet."""
_SCHEMA = pa.schema(
    {
        "offset": pa.int64(),
        "timestamp": pa.int64(),
        "key": pa.binary(),
        "value": pa.binary(),
        "headers": pa.list_(pa.struct({"name": pa.string(), "value": pa.binary()})),
    }
)


@dataclass(frozen=True, slots=True)
class Messages:
    """Some messages, side by side. ``timestamps``: milliseconds since 1970. ``headers``: name to the last value."""

    offsets: Sequence[int]
    timestamps: Sequence[int | None]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Mapping[str, bytes | None]]


class MessageSpool:
    """``lost``: the first offsets of the position, if they were deleted before they were fetched; else None."""

    def __init__(self, kafka: Kafka, uri: str, position: Position, memory_bytes: int) -> None:
        self.size_bytes = 0
        self.lost: Position | None = None
        self._kafka, self._position = kafka, position
        self._memory_bytes = memory_bytes
        self._name, _, partition = uri.rpartition("/")
        self._partition = int(partition)
        self._where = f"{kafka.place}, partition {partition}"
        # Without a name at once: whatever ends this process, the file is gone.
        self._file = tempfile.TemporaryFile(prefix="featurestore-")  # noqa: SIM115 - as long as the spool
        weakref.finalize(self, self._file.close)

    def fill(self, client: TopicClient, login: Mapping[str, str] | None) -> None:
        """Fetch what is there of the position.

        Raises:
            UnreadableArrival: the topic is gone, or all of the position is.
            StorageError: the brokers did not bring all of it.
        """
        with pa.ipc.new_file(self._file, _SCHEMA) as sink:
            if self._position.length:
                with _FETCHING:
                    self._require_topic(client)
                    self._fetch(sink, self._begin(client), login)
                    self._require_topic(client)
        self._file.flush()

    def read(self) -> Iterator[Messages]:
        """The messages in the order of their offsets, some at a time."""
        with pa.ipc.open_file(pa.PythonFile(_Reopened(self._file.fileno()), mode="r")) as source:
            for place in range(source.num_record_batches):
                piece = source.get_batch(place)
                yield Messages(
                    piece.column("offset").to_pylist(),
                    piece.column("timestamp").to_pylist(),
                    piece.column("key").to_pylist(),
                    piece.column("value").to_pylist(),
                    [
                        {one["name"]: one["value"] for one in headers}
                        for headers in piece.column("headers").to_pylist()
                    ],
                )

    def _require_topic(self, client: TopicClient) -> None:
        topic = client.topic()
        if topic is None or f"kafka://{topic.name}/{topic.id}" != self._name:
            raise UnreadableArrival("stream:gone", "the topic was deleted before these messages were read")

    def _begin(self, client: TopicClient) -> int:
        begin = client.begins((self._partition,))[self._partition]
        if isinstance(begin, StorageError):
            raise begin
        first, end = self._position
        if begin >= end:
            raise UnreadableArrival(
                "stream:lost", f"offsets {first} to {end - 1} were deleted before they were read"
            )
        if begin > first:
            self.lost = Position(first, begin)
        return max(begin, first)

    def _fetch(self, sink: pa.RecordBatchWriter, begin: int, login: Mapping[str, str] | None) -> None:
        from confluent_kafka import Consumer, TopicPartition

        kib = min(max(self._memory_bytes >> 16, _LEAST_KIB), _MOST_KIB)
        consumer = Consumer(
            {
                **options(self._kafka, login),
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
            pieces = _Pieces(sink)
            for message in self._messages(consumer):
                self.size_bytes += pieces.add(message)
            pieces.write()
        finally:
            consumer.close()

    def _messages(self, consumer: Any) -> Iterator[Any]:
        """Messages until the position ends; a hole at its end shows by what comes after it, or by the partition's end."""
        at, until_s = self._position.first, time.monotonic() + _PATIENCE_S
        while at < self._position.end:
            with answering("messages cannot be fetched", self._where):
                fetched = consumer.consume(_AT_ONCE, timeout=1.0)
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


class _Pieces:
    """Gathers messages, and writes them when they are some MiB."""

    def __init__(self, sink: pa.RecordBatchWriter) -> None:
        self._sink = sink
        self._rows: list[tuple[Any, ...]] = []
        self._size_bytes = 0

    def add(self, message: Any) -> int:
        """Take a message; its size in bytes."""
        kind, milliseconds = message.timestamp()
        headers = [{"name": name, "value": value} for name, value in message.headers() or ()]
        key, value = message.key(), message.value()
        size = len(key or b"") + len(value or b"") + sum(len(header["value"] or b"") for header in headers)
        self._rows.append((message.offset(), milliseconds if kind else None, key, value, headers))
        self._size_bytes += size + 64
        if self._size_bytes >= _PIECE_BYTES:
            self.write()
        return size

    def write(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
            self._sink.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
        self._rows, self._size_bytes = [], 0


class _Reopened(io.RawIOBase):
    """A file that is open, from its start: each reader has a place of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._at = descriptor, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence)
        self._at = offset + (os.fstat(self._descriptor).st_size if begin is None else begin)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            size = os.fstat(self._descriptor).st_size - self._at
        data = os.pread(self._descriptor, size, self._at)
        self._at += len(data)
        return data
