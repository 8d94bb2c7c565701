"""An Arrow IPC file or stream as a source: which of the two it is stands in its first bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore.arrivals.arrival import Arrival
from featurestore_transforms.sources.arrow_values import ColumnTypes
from featurestore_transforms.sources.columnar_file import ColumnarFile
from featurestore_transforms.sources.foreign import instead
from featurestore_transforms.sources.reader import UnreadableArrival
from featurestore_transforms.sources.source_file import open_bytes
from featurestore_transforms.steps.column_names import ColumnNames

_FILE_MARK = b"ARROW1"
_STREAM_MARK = b"\xff\xff\xff\xff"
_START_BYTES = 1024
_ROOM = 4
"""The part of the memory that the values of one column of one batch may take: 1 / _ROOM."""
_PIECE_ROWS = 65_536


class ArrowFile(ColumnarFile):
    """Record batches are read one after the other, and only the columns that are asked for."""

    def __init__(self, arrival: Arrival, memory_bytes: int) -> None:
        self.arrival = arrival
        self._room_bytes = memory_bytes // _ROOM
        with open_bytes(arrival.uri, arrival.size_bytes, arrival.version) as file:
            start = file.read(len(_FILE_MARK))
            file.seek(max(0, arrival.size_bytes - len(_FILE_MARK)))
            end = file.read()
            # Before Arrow 0.15 a stream began with the length of its first message.
            length = int.from_bytes(start[:4], "little")
            self._is_stream = start.startswith(_STREAM_MARK) or 0 < length < arrival.size_bytes
            if not self._is_stream and start != _FILE_MARK:
                file.seek(0)
                what = (
                    instead(file.read(_START_BYTES)) or "it begins with neither ARROW1 nor a stream's message"
                )
                raise UnreadableArrival("file:format", f"not an Arrow file: {what}")
            if not self._is_stream and end != _FILE_MARK:
                raise UnreadableArrival("file:truncated", "the Arrow file does not end with ARROW1")
            file.seek(0)
            schema = self._open(file, None).schema
        self._fields: list[str] = schema.names
        self.names = ColumnNames.of(schema.names)
        self._take(ColumnTypes.of(schema, self.names.originals, {}))

    def _frames(self, columns: Collection[str]) -> Iterator[pl.DataFrame]:
        first = 0
        with open_bytes(self.arrival.uri, self.arrival.size_bytes, self.arrival.version) as file:
            for batch in _batches(self._open(file, columns)):
                for start in range(0, batch.num_rows, _PIECE_ROWS):
                    piece = batch.slice(start, _PIECE_ROWS)
                    yield self._types.frame(piece, columns, first, self._room_bytes, {})
                    first += piece.num_rows

    def _open(self, file: Any, columns: Collection[str] | None) -> Any:
        """``columns``: those to read; None for the schema alone."""
        included = None
        if columns is not None:
            own = {self.names.originals[name] for name in self._types.taken if name in columns}
            # No field at all would mean all of them.
            included = [place for place, name in enumerate(self._fields) if name in own] or [0]
        options = pa.ipc.IpcReadOptions(included_fields=included)
        opened = pa.ipc.open_stream if self._is_stream else pa.ipc.open_file
        return opened(file, options=options)


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchFileReader):
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)
    else:
        yield from reader
