"""A JSON file as a source: one object a line, or one array of objects. Empty lines are not rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import polars as pl

from featurestore.arrivals.arrival import Arrival
from featurestore.resources.text_format import JsonOptions
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.json_records import json_records, require_layout
from featurestore_transforms.sources.json_rows import JsonRows
from featurestore_transforms.sources.source_file import SourceFile
from featurestore_transforms.sources.stream import MARKS, FrameStream
from featurestore_transforms.sources.text_stream import TextStream


class JsonFile(SourceFile):
    """It is read twice: once for the keys of all rows and the types of their values, once for the rows."""

    def __init__(self, arrival: Arrival, options: JsonOptions, codec: str | None) -> None:
        self.arrival = arrival
        self._layout = options.layout
        self._text = TextStream(arrival, codec)
        require_layout(self._text, self._layout)
        self._rows = JsonRows(json_records(self._text, self._layout))
        self.names, self.schema = self._rows.names, self._rows.schema
        self.stream = FrameStream({**self.schema, **MARKS}, self._frames)

    def refuse(self, columns: Mapping[str, str]) -> None:
        self._rows.refuse(columns)

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        return self._rows.types(columns)

    def scan(self) -> pl.LazyFrame:
        return self.stream.scan()

    def rows(self) -> int:
        return self.stream.rows

    def _frames(self, wanted: Collection[str]) -> Iterator[pl.DataFrame]:
        first = 0
        for records in json_records(self._text, self._layout):
            frame = self._rows.frame(records, wanted)
            numbers = pl.int_range(first, first + frame.height, dtype=pl.Int64, eager=True)
            first += frame.height
            yield frame.with_columns(numbers.alias(ROW))
