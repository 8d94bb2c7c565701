"""Where the records of a JSON file begin and end: its lines, or the items of its one array.

Items are told apart by brackets, quotes and commas alone, so that one that is not JSON does not hide those after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from featurestore.resources.text_format import Layout
from featurestore_transforms.sources.foreign import foreign
from featurestore_transforms.sources.reader import UnreadableArrival
from featurestore_transforms.sources.text_stream import TextStream
from featurestore_transforms.steps.column_names import short

_LONGEST_BYTES = 64 << 20
_START_BYTES = 1 << 20
_SPACE = b" \t\r\n"
_STRING = rb'"[^"\\]*+(?:\\[\s\S][^"\\]*+)*+"'
_TOKEN = re.compile(_STRING + rb'|[\[\]{},"]')
_BRACKET = re.compile(_STRING + rb"|[\[\]{}]")


def _whole_value(levels: int) -> bytes:
    """A pattern of a list or an object that has so many levels, brackets in pairs."""
    inner = b"" if levels == 1 else b"|" + _whole_value(levels - 1)
    inside = rb'(?:[^{}\[\]"]++|' + _STRING + inner + b")*+"
    return rb"\{" + inside + rb"\}|\[" + inside + rb"\]"


_SHALLOW = re.compile(rb"\s*+(?:" + _whole_value(4) + rb")\s*+(?=[,\]])")
"""Nearly all items, found without a look at each of their brackets."""


def json_records(text: TextStream, layout: Layout) -> Iterator[list[bytes]]:
    """The records of the file, some at a time.

    Raises:
        UnreadableArrival: it has another layout, or its array does not end.
    """
    return _lines(text) if layout is Layout.LINES else _items(text)


def require_layout(text: TextStream, layout: Layout) -> None:
    """Raise UnreadableArrival if the text is another format, or JSON of another layout.

    Raises:
        UnreadableArrival: it is; the reason says what it is and how to declare it.
    """
    start, whole = text.start(_START_BYTES)
    start = start.lstrip()
    if not start.startswith((b"{", b"[")) and (what := foreign(start)) is not None:
        raise UnreadableArrival("file:format", f"not JSON: {what}")
    first, _, rest = start.partition(b"\n")
    if layout is Layout.LINES:
        alone = _is_json(first)
        if start.startswith(b"[") and (not alone or (whole and not rest.strip())):
            raise UnreadableArrival(
                "file:format",
                "a JSON array, wanted one object a line. Set spec.source.json.layout: Array",
            )
        if first.strip() == b"{":
            raise UnreadableArrival(
                "file:format",
                "an object over several lines, wanted one object a line. Set spec.source.json.layout: Array",
            )
    elif start.startswith(b"{") and rest.lstrip().startswith(b"{") and _is_json(first):
        raise UnreadableArrival(
            "file:format",
            "one object a line, wanted an array (spec.source.json.layout). Set it to Lines",
        )
    elif not start.startswith((b"{", b"[")):
        raise UnreadableArrival(
            "file:format", f"wanted a JSON array, got text that begins with {_start(first)}"
        )


def _start(data: bytes) -> str:
    return short(data.decode(errors="replace"))


def nesting(record: bytes, limit: int) -> bool:
    """Whether the record is nested deeper than the limit. Nothing is parsed for it, so no depth can do harm."""
    if record.count(b"[") + record.count(b"{") <= limit:
        return False
    depth = 0
    for token in _BRACKET.finditer(record):
        if token[0] in (b"[", b"{"):
            depth += 1
            if depth > limit:
                return True
        elif token[0] in (b"]", b"}"):
            depth -= 1
    return False


def _is_json(text: bytes) -> bool:
    if nesting(text, 100):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _lines(text: TextStream) -> Iterator[list[bytes]]:
    """Lines that are not empty."""
    rest = b""
    for chunk, final in text.chunks(0):
        lines = (rest + chunk).split(b"\n")
        rest = b"" if final else lines.pop()
        if len(rest) > _LONGEST_BYTES:
            raise UnreadableArrival("file:format", f"a line is longer than {_LONGEST_BYTES >> 20} MiB")
        yield [line for line in lines if line.strip(_SPACE)]


def _items(text: TextStream) -> Iterator[list[bytes]]:
    data, opened, closed, empty = b"", False, False, True
    ends = _ItemEnds()
    for chunk, final in text.chunks(0):
        data += chunk
        items: list[bytes] = []
        at = 0
        if not opened:
            data = data.lstrip()
            if not data.startswith(b"["):
                if not final:
                    _require_bounded(data)
                    continue
                yield [data]
                return
            opened, at = True, 1
        while not closed and (end := ends.next(data, at)) is not None:
            closed = data[end] in b"]"
            item = data[at:end].strip(_SPACE)
            if item or not (closed and empty):
                items.append(item)
            empty = False
            at = end + 1
        data = data[at:]
        if closed and data.strip():
            raise UnreadableArrival(
                "file:corrupt", f"text after the end of the array: {_start(data.strip())}"
            )
        _require_bounded(data)
        yield items
    if not closed:
        raise UnreadableArrival("file:truncated", "the array does not end")


def _require_bounded(item: bytes) -> None:
    if len(item) > _LONGEST_BYTES:
        raise UnreadableArrival("file:format", f"an item is longer than {_LONGEST_BYTES >> 20} MiB")


class _ItemEnds:
    """Finds where items end, and goes on within one that more bytes were needed for: each bracket is seen once."""

    def __init__(self) -> None:
        self._depth = 0
        self._seen = 0

    def next(self, data: bytes, at: int) -> int | None:
        """Where the comma or bracket after the item stands that begins here; None if it is not there yet.

        If it is not, the next call is for the same item, from byte 0 of longer data.
        """
        if not self._seen:
            shallow = _SHALLOW.match(data, at)
            if shallow is not None:
                return shallow.end()
        for token in _TOKEN.finditer(data, at + self._seen):
            mark = token[0]
            if mark in (b"[", b"{"):
                self._depth += 1
            elif mark == b'"':
                self._seen = token.start() - at
                return None
            elif self._depth == 0 and mark in (b"]", b","):
                self._seen = 0
                return token.start()
            elif mark in (b"]", b"}"):
                self._depth = max(0, self._depth - 1)
        self._seen = len(data) - at
        return None
