"""A JSON file as a source: one object a line, or one array of objects. Anything but an object is a malformed row.

Numbers, texts and true or false are read as texts, so that no number loses a digit on the way to its type;
lists and objects are read as such. Of a key that an object has twice the last value counts, as in most readers. A key
that differs from another only in upper and lower case is the same column. Empty lines are not rows.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import polars as pl
import pyarrow as pa

from featurestore.arrivals.arrival import Arrival
from featurestore.expressions.run.spelling import WHOLE
from featurestore.resources.text_format import JsonOptions
from featurestore.storage.delta import ROW
from featurestore_transforms.sources.json_kind import Fraction, JsonKind, arrow_type, as_text, shaper
from featurestore_transforms.sources.json_records import json_records, nesting, require_layout
from featurestore_transforms.sources.reader import UnreadableFile
from featurestore_transforms.sources.source_file import SourceFile
from featurestore_transforms.sources.stream import LINE, MALFORMED, FrameStream
from featurestore_transforms.sources.text_stream import TextStream
from featurestore_transforms.sources.text_types import kinds
from featurestore_transforms.steps.column_names import ColumnNames, short

_DEEPEST = 32
"""Levels of lists and objects, the row itself among them: engines recurse into types."""
_MOST_KEYS = 10_000
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_DECODER = json.JSONDecoder(parse_float=Fraction, parse_constant=Fraction)
_NAMES = {list: "an array", str: "a string", int: "a number", Fraction: "a number", bool: "true or false"}


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
                raise UnreadableFile("file:format", why)
        self._refused = columns

    def types(self, columns: Collection[str]) -> Mapping[str, pl.DataType]:
        """Texts stay texts, also those that look like numbers: JSON knows the difference."""
        numbers = [name for name in columns if self._found[name].is_number]
        # 1 and 1.0 are the same number here, and not two texts.
        pointed = [
            pl.col(name).str.replace(WHOLE, "${0}.0") if self._found[name].fractions else pl.col(name)
            for name in numbers
        ]
        pieces = (frame.select(pointed) for frame in self.stream.frames(numbers))
        exact = kinds(numbers, pieces) if numbers else {}
        return {name: exact[name] if name in exact else self._found[name].dtype() for name in columns}

    def scan(self) -> pl.LazyFrame:
        return self.stream.scan()

    def rows(self) -> int:
        return self.stream.rows

    def _look(self) -> dict[str, JsonKind]:
        """The file's columns and their kinds; fills in which key is of which column."""
        found: dict[str, JsonKind] = {}
        folded: dict[str, str] = {}
        for block in json_records(self._text, self._layout):
            for record in block:
                row = _parsed(record)
                if isinstance(row, str):
                    continue
                self._objects += 1
                for key, value in row.items():
                    own = self._keys.get(key)
                    if own is None:
                        own = self._keys[key] = folded.setdefault(key.lower(), key)
                        found.setdefault(own, JsonKind())
                        if len(self._keys) > _MOST_KEYS:
                            raise UnreadableFile(
                                "file:format", f"more than {_MOST_KEYS:,} different keys: are they values?"
                            )
                    if value is not None:
                        self._having[own] += 1
                        found[own].add(value)
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
        columns: dict[str, list[Any]] = {own: [None] * len(records) for own in names.values()}
        whys: list[str | None] = [None] * len(records)
        for place, record in enumerate(records):
            row = _parsed(record)
            if isinstance(row, str):
                whys[place] = row
                continue
            for key, value in row.items():
                if value is None:
                    continue
                own = self._keys[key]
                if own in self._refused:
                    whys[place] = self._refused[own]
                if own in columns:
                    columns[own][place] = value
            if whys[place] is not None:
                for values in columns.values():
                    values[place] = None
        series = [self._series(name, columns[own], shapers[name]) for name, own in names.items()]
        lines = [
            None if why is None else record.decode(errors="replace")
            for why, record in zip(whys, records, strict=True)
        ]
        return pl.DataFrame(
            [*series, pl.Series(MALFORMED, whys, pl.String), pl.Series(LINE, lines, pl.String)]
        )

    def _series(self, name: str, values: list[Any], shape: Callable[[Any], Any]) -> pl.Series:
        dtype = self.schema[name]
        if dtype == pl.String():
            return pl.Series(name, list(map(as_text, values)), dtype)
        made = pa.array([shape(value) for value in values], arrow_type(dtype))
        return pl.Series(name, made).cast(dtype)


def _parsed(record: bytes) -> dict[str, Any] | str:
    """The object, or a human-readable reason why the line is not one."""
    if nesting(record, _DEEPEST):
        return f"nested deeper than {_DEEPEST} levels"
    try:
        row = _DECODER.decode(record.decode())
    except UnicodeDecodeError:
        return "not UTF-8"
    except json.JSONDecodeError as error:
        return f"not JSON: {error}"
    except ValueError:
        return "a number has more digits than any type holds"
    if not isinstance(row, dict):
        return f"wanted an object, got {_NAMES.get(type(row), 'null')}"
    return _fault(row, record) or row


def _fault(row: dict[str, Any], record: bytes) -> str | None:
    """Why an object cannot be a row."""
    if b"\\u" in record and _SURROGATE.search(record):
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            return f"half of a surrogate pair is not a character: \\u{ord(error.object[error.start]):04x}"
    if (alike := _alike(tuple(row))) is not None:
        return alike
    if b"[" not in record and record.count(b"{") == 1:
        return None  # neither list nor object inside, as in most
    for key, value in row.items():
        if type(value) in (dict, list) and (why := _inside(value)) is not None:
            return f"in {short(key)}: {why}"
    return None


def _inside(value: Any) -> str | None:
    """Why fields of structs could not be told apart."""
    kind = type(value)
    if kind is dict:
        if (why := _nameless(tuple(value)) or _alike(tuple(value))) is not None:
            return why
        value = value.values()
    elif kind is not list:
        return None
    for one in value:
        if type(one) in (dict, list) and (why := _inside(one)) is not None:
            return why
    return None


# Most objects of a file have the same keys.
@lru_cache(maxsize=4096)
def _alike(keys: tuple[str, ...]) -> str | None:
    counts = Counter(key.lower() for key in keys)
    alike = [key for key in keys if counts[key.lower()] > 1]
    if not alike:
        return None
    return f"two keys differ in upper and lower case only: {short(alike[0])} and {short(alike[1])}"


@lru_cache(maxsize=4096)
def _nameless(keys: tuple[str, ...]) -> str | None:
    for key in keys:
        if not key or "\0" in key:
            return f"a key is {'empty' if not key else f'{short(key)}, which holds a character 0'}"
    return None
