"""The grammar of CSV (RFC 4180) over bytes: where records end, and which of them break it.

A quote may stand only around a whole value, and doubled inside one. ``a"b`` and ``"a"b`` are texts that readers
guess at, each in another way; here their line is malformed, and the lines after it are read as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from featurestore.resources.text_format import CsvOptions
from featurestore_transforms.sources.reader import UnreadableArrival

_OPEN_BYTES = 16 << 20
"""A value in quotes that is longer than this is taken for one whose quote is never closed."""
_NEWLINE = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class BrokenRecord:
    """``row``: its number among all records, from 0. ``line``: its bytes. ``why``: a human-readable reason."""

    row: int
    line: bytes
    why: str


@dataclass(slots=True)
class Records:
    """Records of a piece of a file: ``good`` ones as they stand, without the ``broken`` between them.

    ``rows``: how many there are of both. ``rest``: bytes whose record does not end in the piece.
    """

    good: bytes = b""
    broken: list[BrokenRecord] = field(default_factory=list)
    rows: int = 0
    rest: bytes = b""


@dataclass(frozen=True)
class CsvGrammar:
    """How bytes are told apart. ``columns``: how many values a record has; 0 while that is not known."""

    options: CsvOptions
    columns: int = 0

    @cached_property
    def _value(self) -> bytes:
        plain = self._except(b"\\r\\n", self.options.delimiter, self.options.quote, self.options.escape)
        escaped = re.escape(self.options.escape.encode())
        if escaped:
            plain = b"(?:" + plain + b"|" + escaped + b"[\\s\\S])"
        plain += b"*+"
        if not self.options.quote:
            return plain
        return b"(?>" + self._opened + re.escape(self.options.quote.encode()) + b"|" + plain + b")"

    @cached_property
    def _opened(self) -> bytes:
        """A value in quotes without the last one."""
        quote, escape = (re.escape(mark.encode()) for mark in (self.options.quote, self.options.escape))
        inside = self._except(b"", self.options.quote, self.options.escape)
        others = quote * 2 + (b"|" + escape + b"[\\s\\S]" if escape else b"")
        return quote + b"(?:" + inside + b"++|" + others + b")*+"

    @staticmethod
    def _except(others: bytes, *marks: str) -> bytes:
        return b"[^" + others + b"".join(re.escape(mark.encode()) for mark in marks) + b"]"

    @cached_property
    def _line(self) -> bytes:
        return self._value + b"(?:" + re.escape(self.options.delimiter.encode()) + self._value + b")*+"

    @cached_property
    def _record(self) -> re.Pattern[bytes]:
        # Empty lines and comments are not records.
        comment = re.escape(self.options.comment.encode())
        start = b"(?![\\r\\n" + comment + b"])"
        return re.compile(start + self._line + b"(?:\\r\\n|\\n|\\r)")

    @cached_property
    def _records(self) -> re.Pattern[bytes]:
        return re.compile(b"(?>" + self._record.pattern + b")*+")

    @cached_property
    def _whole_line(self) -> re.Pattern[bytes]:
        return re.compile(self._line)

    @cached_property
    def _unfinished(self) -> re.Pattern[bytes]:
        """A record that the end of the bytes cuts off."""
        delimiter = re.escape(self.options.delimiter.encode())
        opened = self._opened + b"|" if self.options.quote else b""
        return re.compile(b"(?:" + self._value + delimiter + b")*+(?:" + opened + self._value + b")\\r?\\Z")

    @cached_property
    def _values(self) -> re.Pattern[bytes]:
        return re.compile(b"(" + self._value + b")(?:" + re.escape(self.options.delimiter.encode()) + b"|$)")

    def read(self, data: bytes, *, final: bool) -> Records:
        """The records of these bytes. ``final``: nothing comes after them."""
        if final and data and data[-1:] not in (b"\n", b"\r"):
            data += b"\n"
        records, good, at = Records(), [], 0
        while at < len(data):
            end = self._records.match(data, at).end()  # type: ignore[union-attr]
            if end > at:
                good.append(self._decodable(data, at, end, records))
                at = end
            elif data[at] in b"\r\n":
                at += 1
            elif self._is_comment(data, at):
                newline = _NEWLINE.search(data, at)
                if newline is None:
                    break
                at = newline.end()
            elif not final and len(data) - at < _OPEN_BYTES and self._unfinished.match(data, at):
                break
            else:
                after = self._break(data, at, records, whole=final or len(data) - at >= _OPEN_BYTES)
                if after is None:
                    break
                at = after
        records.good, records.rest = b"".join(good), data[at:]
        return records

    def header(self, data: bytes, *, final: bool) -> tuple[list[str], int]:
        """The values of the first record, and how many bytes stand before the second.

        Raises:
            UnreadableArrival: there is none, or it breaks the grammar.
        """
        if final:
            data += b"\n"
        at = 0
        while at < len(data) and (data[at] in b"\r\n" or self._is_comment(data, at)):
            newline = _NEWLINE.search(data, at)
            at = newline.end() if newline else len(data)
        if at == len(data):
            raise UnreadableArrival("file:empty", "the file has no line")
        record = self._record.match(data, at)
        if record is None:
            records = Records()
            if not final and self._unfinished.match(data, at):
                raise UnreadableArrival("file:format", f"the first line is longer than {len(data):,} bytes")
            self._break(data, at, records, whole=True)
            raise UnreadableArrival("file:format", f"the first line: {records.broken[0].why}")
        if (why := self._why_not_text(record[0])) is not None:
            raise UnreadableArrival("file:format", f"the first line is {why}. See spec.source.csv.encoding")
        return self.split(record[0].rstrip(b"\r\n")), record.end()

    def split(self, record: bytes) -> list[str]:
        """The values of a record that keeps to the grammar, as texts.

        >>> CsvGrammar(CsvOptions()).split(b'a,"b, c",')
        ['a', 'b, c', '']
        """
        return [self._text(match[1].decode()) for match in self._matches(record)]

    def _matches(self, record: bytes) -> Iterator[re.Match[bytes]]:
        at = 0
        while match := self._values.match(record, at):
            yield match
            if match.end() == match.end(1):
                return
            at = match.end()

    def _text(self, value: str) -> str:
        quote, escape = self.options.quote, self.options.escape
        if quote and value.startswith(quote):
            value = value[1:-1].replace(quote * 2, quote)
        return re.sub(re.escape(escape) + r"([\s\S])", r"\1", value) if escape else value

    def _is_comment(self, data: bytes, at: int) -> bool:
        mark = self.options.comment.encode()
        return bool(mark) and data.startswith(mark, at)

    def _decodable(self, data: bytes, start: int, end: int, records: Records) -> bytes:
        """The records without those that are not text."""
        piece = data[start:end]
        if self._why_not_text(piece) is None:
            records.rows += self._count(piece)
            return piece
        good = []
        for record in self._record.finditer(piece):
            why = self._why_not_text(record[0])
            if why is None:
                good.append(record[0])
            else:
                records.broken.append(BrokenRecord(records.rows, record[0].rstrip(b"\r\n"), why))
            records.rows += 1
        return b"".join(good)

    def _count(self, piece: bytes) -> int:
        if (
            (self.options.quote and self.options.quote.encode() in piece)
            or self.options.escape
            or b"\r" in piece
        ):
            return sum(1 for _ in self._record.finditer(piece))
        return piece.count(b"\n")

    def _break(self, data: bytes, at: int, records: Records, *, whole: bool) -> int | None:
        """Where reading goes on after the record that breaks the grammar at this place.

        None if its line does not end yet, unless these bytes are the ``whole`` that there will be of it.

        Lines that it took into a value in quotes are records of their own if each of them looks like one. If not,
        they may be lines of that value, and are quarantined with it.
        """
        stopped = self._whole_line.match(data, at).end()  # type: ignore[union-attr]
        if self._unfinished.match(data, at):
            why, stopped = "a quote is never closed", len(data) - 1
        elif data[stopped - 1 : stopped] == self.options.quote.encode():
            why = "text after a closing quote"
        else:
            why = "a quote inside a value that does not begin with one"
        newline = _NEWLINE.search(data, stopped)
        if newline is None and not whole:
            return None
        end = newline.end() if newline else len(data)
        first = _NEWLINE.search(data, at)
        after = first.end() if first else end
        if after < end and self.columns > 1 and all(map(self._looks_whole, data[after:end].splitlines())):
            end = after
        records.broken.append(BrokenRecord(records.rows, data[at:end].rstrip(b"\r\n"), why))
        records.rows += 1
        return end

    def _looks_whole(self, line: bytes) -> bool:
        if not line:
            return True
        return bool(self._whole_line.fullmatch(line)) and sum(1 for _ in self._matches(line)) == self.columns

    def _why_not_text(self, data: bytes) -> str | None:
        if b"\x00" in data:
            return "not text: it holds a byte 0"
        if data.isascii():
            return None
        try:
            data.decode()
        except UnicodeDecodeError:
            return f"not {self.options.encoding.value}"
        return None
