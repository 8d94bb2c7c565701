"""Records of JSON as rows, wherever they come from: lines of a file, or messages. Anything but an object is malformed.

Numbers, strings and true or false are read as strings, so that no number loses a digit on the way to its type;
lists and objects are read as such. Of a key that an object has twice the last value counts, as in most readers. A key
that differs from another only in upper and lower case is the same column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore_transforms.sources.json_block import JsonBlock
from featurestore_transforms.sources.json_kind import JsonKind, arrow_type, shaper, strings
from featurestore_transforms.sources.reader import UnreadableArrival
from featurestore_transforms.sources.stream import LINE, MALFORMED
from featurestore_transforms.steps.column_names import ColumnNames

_MOST_KEYS = 10_000


class JsonRows:
    """Looks through all records to see which keys there are; then makes frames of them.

    ``barred``: keys, in lower case, that no record may have, and why.
    """

    def __init__(self, records: Iterable[list[bytes]], barred: Mapping[str, str] | None = None) -> None:
        self._keys: dict[str, str] = {}
        self._refused: Mapping[str, str] = {}
        self._objects = 0
        self._having: Counter[str] = Counter()
        self._barred = barred or {}
        kinds = self._look(records)
        self.names = ColumnNames.of(list(kinds))
        self._found = {name: kinds[own] for name, own in self.names.originals.items()}
        types = {name: kind.dtype() for name, kind in self._found.items()}
        self.schema: Mapping[str, pl.DataType] = {
            name: dtype if dtype.is_nested() else pl.String() for name, dtype in types.items()
        }

    def refuse(self, columns: Mapping[str, str]) -> None:
        """Take no record that has one of these columns, for the reasons given. Raises UnreadableArrival if all have one."""
        for own, why in columns.items():
            if self._having[own] == self._objects:
                raise UnreadableArrival("file:format", why)
        self._refused = columns

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        """Strings stay strings, also those that look like numbers: JSON knows the difference."""
        return {name: self._found[name].dtype() for name in columns}

    def frame(self, records: list[bytes], wanted: Collection[str]) -> pl.DataFrame:
        """``frame[<wanted columns>, __malformed, __line]`` of these records, one row for each."""
        names = {name: own for name, own in self.names.originals.items() if name in wanted}
        block = self._block(records)
        if self._refused:
            block.refuse({key: self._refused[own] for key, own in self._keys.items() if own in self._refused})
        owns = set(names.values())
        columns = block.columns({key: own for key, own in self._keys.items() if own in owns})
        nothing = [None] * len(records)
        series = [self._series(name, columns.get(own, nothing)) for name, own in names.items()]
        whys, lines = list[str | None](nothing), list[str | None](nothing)
        for place, why in block.whys.items():
            whys[place], lines[place] = why, records[place].decode(errors="replace")
        return pl.DataFrame(
            [*series, pl.Series(MALFORMED, whys, pl.String), pl.Series(LINE, lines, pl.String)]
        )

    def _look(self, records: Iterable[list[bytes]]) -> dict[str, JsonKind]:
        """The columns and their kinds; fills in which key is of which column."""
        kinds: dict[str, JsonKind] = {}
        folded: dict[str, str] = {}
        for some in records:
            block = self._block(some)
            self._objects += len(block.rows) - len(block.whys)
            for key, values in block.values():
                own = self._keys.get(key)
                if own is None:
                    own = self._keys[key] = folded.setdefault(key.lower(), key)
                    kinds.setdefault(own, JsonKind())
                    if len(self._keys) > _MOST_KEYS:
                        raise UnreadableArrival(
                            "file:format", f"more than {_MOST_KEYS:,} different keys: are they values?"
                        )
                self._having[own] += len(values) - values.count(None)
                kinds[own].add(values)
        return kinds

    def _block(self, records: list[bytes]) -> JsonBlock:
        block = JsonBlock.of(records)
        if self._barred:
            barred = {
                key: self._barred[key.lower()]
                for shape in block.shapes()
                for key in shape
                if key.lower() in self._barred
            }
            if barred:
                block.refuse(barred)
        return block

    def _series(self, name: str, values: list[Any]) -> pl.Series:
        dtype = self.schema[name]
        if dtype == pl.String():
            return strings(name, values)
        shape: Callable[[Any], Any] = shaper(dtype)
        made = pa.array([shape(value) for value in values], arrow_type(dtype))
        return pl.Series(name, made).cast(dtype)
