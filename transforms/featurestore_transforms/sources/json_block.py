"""Records of JSON, a block at a time: the rows that they are, why others are none, and rows as columns.

Nearly all rows of a file have the same keys, and values of a key are of one kind. So a block is taken apart by key, and
nothing is done for each value where it can be done for all of them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from featurestore_transforms.sources.json_kind import Fraction
from featurestore_transforms.sources.json_records import nesting
from featurestore_transforms.steps.column_names import short

_DEEPEST = 32
"""Levels of lists and objects, the row itself among them: engines recurse into types."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_DECODER = json.JSONDecoder(parse_float=str.encode, parse_constant=str.encode)
_NAMES = {list: "an array", str: "a string", int: "a number", Fraction: "a number", bool: "true or false"}
_SPARSE = 4
"""Rows that have fewer than one in so many of the keys of their block are not taken apart by key."""


@dataclass(slots=True)
class JsonBlock:
    """``rows``: by place in the block, empty where the record is none. ``whys``: place to a human-readable reason."""

    rows: list[dict[str, Any]]
    whys: dict[int, str]

    @classmethod
    def of(cls, records: list[bytes]) -> JsonBlock:
        rows = _flat(records)
        block = cls(rows or [], {})
        for place, record in enumerate(records if rows is None else ()):
            row = _parsed(record)
            if isinstance(row, str):
                block.whys[place] = row
                row = {}
            block.rows.append(row)
        block.refuse_rows({keys: why for keys in block.shapes() if (why := _alike(keys)) is not None})
        return block

    def shapes(self) -> dict[tuple[str, ...], None]:
        """The different keys that rows have, in the order of the rows."""
        return dict.fromkeys(map(tuple, self.rows))

    def refuse(self, keys: Mapping[str, str]) -> None:
        """Take no row that has a value for one of these keys, for the reasons given."""
        for place, row in enumerate(self.rows):
            for key in row.keys() & keys.keys():
                if row[key] is not None:
                    self._refuse(place, keys[key])

    def refuse_rows(self, shapes: Mapping[tuple[str, ...], str]) -> None:
        """Take no row that has just these keys, for the reasons given."""
        if shapes:
            for place, row in enumerate(self.rows):
                if (why := shapes.get(tuple(row))) is not None:
                    self._refuse(place, why)

    def _refuse(self, place: int, why: str) -> None:
        self.whys[place] = why
        self.rows[place] = {}

    def values(self) -> Iterator[tuple[str, list[Any]]]:
        """Each key with its values, in the order of the rows; rows without it may be left out, or be None."""
        shapes = self.shapes()
        if len(shapes) == 1:
            for key in next(iter(shapes)):
                yield key, list(map(itemgetter(key), self.rows))
        elif self._is_dense(shapes):
            for key in dict.fromkeys(chain.from_iterable(shapes)):
                yield key, [row.get(key) for row in self.rows]
        else:
            columns: dict[str, list[Any]] = {}
            for row in self.rows:
                for key, value in row.items():
                    columns.setdefault(key, []).append(value)
            yield from columns.items()

    def columns(self, names: Mapping[str, str]) -> dict[str, list[Any]]:
        """Name of a column to its values, one for each row. ``names``: key to the name of its column."""
        columns: dict[str, list[Any]] = {}
        shapes = self.shapes()
        if self._is_dense(shapes):
            for key in dict.fromkeys(chain.from_iterable(shapes)):
                if (name := names.get(key)) is None:
                    continue
                values = [row.get(key) for row in self.rows]
                known = columns.get(name)
                columns[name] = values if known is None else _either(known, values)
            return columns
        for place, row in enumerate(self.rows):
            for key, value in row.items():
                if value is not None and (name := names.get(key)) is not None:
                    columns.setdefault(name, [None] * len(self.rows))[place] = value
        return columns

    def _is_dense(self, shapes: Mapping[tuple[str, ...], None]) -> bool:
        if len(shapes) == 1:
            return True
        keys = set(chain.from_iterable(shapes))
        return len(keys) * len(self.rows) <= _SPARSE * sum(map(len, self.rows))


def _either(some: list[Any], others: list[Any]) -> list[Any]:
    """Values of two keys of one column, of which no row has both."""
    return [other if one is None else one for one, other in zip(some, others, strict=True)]


def _flat(records: list[bytes]) -> list[dict[str, Any]] | None:
    """The rows, if each record plainly is an object without lists and objects inside; else None.

    They are decoded as one list. No record could pass for another number of them: there are as many braces as objects
    came out of it, so each object begins with the only brace that opens in its record and ends with the only one that
    closes there.
    """
    if b"[" in (lines := b"\n".join(records)) or not (lines.startswith(b"{") and lines.endswith(b"}")):
        return None
    n = len(records)
    if not (lines.count(b"{") == lines.count(b"}") == n == lines.count(b"}\n{") + 1):
        return None
    if b"\\u" in lines and _SURROGATE.search(lines):
        return None
    try:
        rows = _decoded(f"[{b','.join(records).decode()}]")
    except ValueError:
        return None
    return rows if len(rows) == n and set(map(type, rows)) == {dict} else None


def _parsed(record: bytes) -> dict[str, Any] | str:
    """The object, or a human-readable reason why the record is not one."""
    opened = record.count(b"{") + record.count(b"[")
    if opened > _DEEPEST and nesting(record, _DEEPEST):
        return f"nested deeper than {_DEEPEST} levels"
    try:
        row = _decoded(record.decode())
    except UnicodeDecodeError:
        return "not UTF-8"
    except json.JSONDecodeError as error:
        return f"not JSON: {error}"
    except ValueError:
        return "a number has more digits than any type holds"
    if not isinstance(row, dict):
        return f"wanted an object, got {_NAMES.get(type(row), 'null')}"
    if b"\\u" in record and (why := _surrogate(row, record)) is not None:
        return why
    # Most have neither list nor object inside.
    return row if opened == 1 else _fault(row) or row


def _decoded(text: str) -> Any:
    """What the text is. Most are a value and nothing else, which the scanner behind the decoder tells sooner."""
    try:
        value, end = _DECODER.scan_once(text, 0)  # type: ignore[attr-defined]
    except StopIteration:
        end = -1
    return value if end == len(text) else _DECODER.decode(text)


def _surrogate(row: dict[str, Any], record: bytes) -> str | None:
    if _SURROGATE.search(record):
        try:
            json.dumps(row, ensure_ascii=False, default=bytes.decode).encode()
        except UnicodeEncodeError as error:
            return f"half of a surrogate pair is not a character: \\u{ord(error.object[error.start]):04x}"
    return None


def _fault(row: dict[str, Any]) -> str | None:
    """Why an object cannot be a row."""
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
            return f"a key is {'empty' if not key else f'{short(key)}, which has a zero character'}"
    return None
