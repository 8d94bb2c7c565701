"""The messages of one position, fetched once and kept in a file without a name until they were read.

What is read twice must be the same twice, while the servers may compact and delete. Memory does not grow with the position:
neither of what is fetched nor of what is read again.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from featurestore_transforms.sources.reopened_file import ReopenedFile

_PIECE_BYTES = 4 << 20
_SCHEMA = pa.schema(
    {
        "number": pa.int64(),
        "timestamp": pa.int64(),
        "key": pa.binary(),
        "value": pa.binary(),
        "headers": pa.list_(pa.struct({"name": pa.string(), "value": pa.binary()})),
        "why": pa.string(),
    }
)


class StreamMessage(NamedTuple):
    """``number``: of its row. ``timestamp_us``: since 1970. ``why``: it cannot be taken, whatever its value is."""

    number: int
    timestamp_us: int | None
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    why: str | None = None

    @property
    def size_bytes(self) -> int:
        return (
            len(self.key or b"")
            + len(self.value or b"")
            + sum(len(value or b"") for _, value in self.headers)
        )


@dataclass(frozen=True, slots=True)
class Messages:
    """Some messages, side by side. ``headers``: name to the last value."""

    numbers: Sequence[int]
    timestamps_us: Sequence[int | None]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Mapping[str, bytes | None]]
    whys: Sequence[str | None]


class MessageSpool:
    """Holds the messages of one position, in its order.

    ``lost``: number and reason of a row that stands for those that were deleted before they were fetched; else None.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self.rows = 0
        self.lost: tuple[int, str] | None = None
        # Without a name at once: whatever ends this process, the file is gone.
        self._file = tempfile.TemporaryFile(prefix="featurestore-")  # noqa: SIM115 - as long as the spool
        weakref.finalize(self, self._file.close)

    def fill(self, messages: Iterable[StreamMessage]) -> None:
        """Keep these."""
        with pa.ipc.new_file(self._file, _SCHEMA) as sink:
            piece: list[StreamMessage] = []
            size_bytes = 0
            for message in messages:
                piece.append(message)
                self.size_bytes += message.size_bytes
                self.rows += 1
                size_bytes += message.size_bytes + 64
                if size_bytes >= _PIECE_BYTES:
                    _write(sink, piece)
                    piece, size_bytes = [], 0
            _write(sink, piece)
        self._file.flush()

    def read(self) -> Iterator[Messages]:
        """The messages in their order, some at a time."""
        with pa.ipc.open_file(pa.PythonFile(ReopenedFile(self._file.fileno()), mode="r")) as source:
            for place in range(source.num_record_batches):
                piece = source.get_batch(place)
                yield Messages(
                    piece.column("number").to_pylist(),
                    piece.column("timestamp").to_pylist(),
                    piece.column("key").to_pylist(),
                    piece.column("value").to_pylist(),
                    [
                        {one["name"]: one["value"] for one in headers}
                        for headers in piece.column("headers").to_pylist()
                    ],
                    piece.column("why").to_pylist(),
                )


def _write(sink: pa.RecordBatchWriter, messages: Sequence[StreamMessage]) -> None:
    if messages:
        columns = list(zip(*messages, strict=True))
        columns[4] = tuple(
            [{"name": name, "value": value} for name, value in headers] for headers in columns[4]
        )
        arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
        sink.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
