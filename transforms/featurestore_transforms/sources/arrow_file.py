"""An Arrow IPC file or stream as a source: which of the two it is stands in its first bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore.arrivals.arrival import Arrival
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.reader import UnreadableFile
from featurestore_transforms.sources.source_file import SourceFile, open_bytes
from featurestore_transforms.sources.stream import FrameStream
from featurestore_transforms.steps.column_names import ColumnNames, is_index

_FILE_MARK = b"ARROW1"
_STREAM_MARK = b"\xff\xff\xff\xff"


class ArrowFile(SourceFile):
    """Record batches are read one after the other."""

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        with open_bytes(arrival.uri) as file:
            start = file.read(len(_FILE_MARK))
            file.seek(max(0, arrival.size_bytes - len(_FILE_MARK)))
            end = file.read()
        self._is_stream = start.startswith(_STREAM_MARK)
        if not self._is_stream and start != _FILE_MARK:
            raise UnreadableFile(
                "file:format", "no Arrow file: it begins with neither ARROW1 nor a stream's message"
            )
        if not self._is_stream and end != _FILE_MARK:
            raise UnreadableFile("file:truncated", "the Arrow file does not end with ARROW1")
        with open_bytes(arrival.uri) as file:
            reader = self._open(file)
            self.names = ColumnNames.of([name for name in reader.schema.names if not is_index(name)])
            taken = pa.schema([reader.schema.field(own) for own in self.names.plain.values()])
            schema = pl.Schema(taken)
        self.schema: Mapping[str, pl.DataType] = {name: schema[own] for name, own in self.names.plain.items()}
        self.stream = FrameStream({**self.schema, ROW: pl.Int64()}, self._frames)

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        return {name: self.schema[name] for name in columns}

    def scan(self) -> pl.LazyFrame:
        return self.stream.scan()

    def rows(self) -> int:
        return self.stream.rows

    def _frames(self) -> Iterator[pl.DataFrame]:
        first = 0
        with open_bytes(self.arrival.uri) as file:
            for batch in _batches(self._open(file)):
                frame = pl.DataFrame(
                    {name: pl.Series(name, batch.column(own)) for name, own in self.names.plain.items()}
                ).cast(pl.Schema(self.schema))
                numbers = pl.int_range(first, first + frame.height, dtype=pl.Int64, eager=True)
                first += frame.height
                yield frame.with_columns(numbers.alias(ROW))

    def _open(self, file: Any) -> Any:
        return pa.ipc.open_stream(file) if self._is_stream else pa.ipc.open_file(file)


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchFileReader):
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)
    else:
        yield from reader
