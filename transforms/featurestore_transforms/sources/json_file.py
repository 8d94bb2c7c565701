"""A JSON file as a source: one object a line, or one array of objects. Anything but an object is a malformed row.

Numbers, texts and true or false are read as texts, so that no number loses a digit on the way to its type;
lists and objects are read as such. Of a key that an object has twice the last value counts, as in most readers. A key
that differs from another only in upper and lower case is the same column. Empty lines are not rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore.arrivals.arrival import Arrival
from featurestore.resources.text_format import JsonOptions
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.json_block import JsonBlock
from featurestore_transforms.sources.json_kind import JsonKind, arrow_type, shaper, texts
from featurestore_transforms.sources.json_records import json_records, require_layout
from featurestore_transforms.sources.reader import UnreadableArrival
from featurestore_transforms.sources.source_file import SourceFile
from featurestore_transforms.sources.stream import LINE, MALFORMED, FrameStream
from featurestore_transforms.sources.text_stream import TextStream
from featurestore_transforms.steps.column_names import ColumnNames

_MOST_KEYS = 10_000


class JsonFile(SourceFile):
    """Read twice: once to see which keys there are in all rows, once for the rows."""

    def __init__(self, arrival: Arrival, options: JsonOptions, codec: str | None) -> None:
        self.arrival = arrival
        self._layout = options.layout
        self._text = TextStream(arrival, codec)
        require_layout(self._text, self._layout)
        self._keys: dict[str, str] = {}
        self._refused: Mapping[str, str] = {}
        self._objects = 0
        self._having: Counter[str] = Counter()
        found = self._look()
        self.names = ColumnNames.of(list(found))
        self._found = {name: found[own] for name, own in self.names.plain.items()}
        types = {name: kind.dtype() for name, kind in self._found.items()}
        self.schema: Mapping[str, pl.DataType] = {
            name: dtype if dtype.is_nested() else pl.String() for name, dtype in types.items()
        }
        texts = {ROW: pl.Int64(), MALFORMED: pl.String(), LINE: pl.String()}
        self.stream = FrameStream({**self.schema, **texts}, self._frames)

    def refuse(self, columns: Mapping[str, str]) -> None:
        for own, why in columns.items():
            if self._having[own] == self._objects:
                raise UnreadableArrival("file:format", why)
        self._refused = columns

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        """Texts stay texts, also those that look like numbers: JSON knows the difference."""
        return {name: self._found[name].dtype() for name in columns}

    def scan(self) -> pl.LazyFrame:
        return self.stream.scan()

    def rows(self) -> int:
        return self.stream.rows

    def _look(self) -> dict[str, JsonKind]:
        """The file's columns and their kinds; fills in which key is of which column."""
        found: dict[str, JsonKind] = {}
        folded: dict[str, str] = {}
        for records in json_records(self._text, self._layout):
            block = JsonBlock.of(records)
            self._objects += len(block.rows) - len(block.whys)
            for key, values in block.values():
                own = self._keys.get(key)
                if own is None:
                    own = self._keys[key] = folded.setdefault(key.lower(), key)
                    found.setdefault(own, JsonKind())
                    if len(self._keys) > _MOST_KEYS:
                        raise UnreadableArrival(
                            "file:format", f"more than {_MOST_KEYS:,} different keys: are they values?"
                        )
                self._having[own] += len(values) - values.count(None)
                found[own].add(values)
        return found

    def _frames(self, wanted: Collection[str]) -> Iterator[pl.DataFrame]:
        first = 0
        names = {name: own for name, own in self.names.plain.items() if name in wanted}
        shapers = {name: shaper(self.schema[name]) for name in names}
        for block in json_records(self._text, self._layout):
            frame = self._frame(block, names, shapers)
            numbers = pl.int_range(first, first + frame.height, dtype=pl.Int64, eager=True)
            first += frame.height
            yield frame.select(*names, numbers.alias(ROW), MALFORMED, LINE)

    def _frame(
        self, records: list[bytes], names: Mapping[str, str], shapers: Mapping[str, Callable[[Any], Any]]
    ) -> pl.DataFrame:
        block = JsonBlock.of(records)
        if self._refused:
            block.refuse({key: self._refused[own] for key, own in self._keys.items() if own in self._refused})
        wanted = set(names.values())
        columns = block.columns({key: own for key, own in self._keys.items() if own in wanted})
        nothing = [None] * len(records)
        series = [self._series(name, columns.get(own, nothing), shapers[name]) for name, own in names.items()]
        whys, lines = list[str | None](nothing), list[str | None](nothing)
        for place, why in block.whys.items():
            whys[place], lines[place] = why, records[place].decode(errors="replace")
        return pl.DataFrame(
            [*series, pl.Series(MALFORMED, whys, pl.String), pl.Series(LINE, lines, pl.String)]
        )

    def _series(self, name: str, values: list[Any], shape: Callable[[Any], Any]) -> pl.Series:
        dtype = self.schema[name]
        if dtype == pl.String():
            return texts(name, values)
        made = pa.array([shape(value) for value in values], arrow_type(dtype))
        return pl.Series(name, made).cast(dtype)
