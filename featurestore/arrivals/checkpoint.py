"""All arrivals of batches 1 … n in one object: sorted, compressed, read in constant memory.

The object is gzip (``zcat`` shows it) of tab-separated lines ``uri batch file version action content``, sorted by
URI, then batch and file. It is made of gzip members of a thousand lines each, so that one URI is found by unpacking
one member. In URIs and versions, ``%``, tab and newline are percent-encoded; sorting is by the plain URI.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from featurestore.arrivals.manifest import Action, Entry
from featurestore.errors import StorageError

_HEADER = "uri\tbatch\tfile\tversion\taction\tcontent\n"
_LINES = 1000
_CHUNK = 1 << 16
_HINT = "Delete it: the next one is made from the manifests"


class KnownArrival(NamedTuple):
    """One entry of one manifest, as the ledger remembers it.

    ``replays`` as in :class:`Entry`, ``content`` as in :class:`Arrival`.
    """

    uri: str
    batch: int
    file: int
    version: str
    action: Action
    replays: tuple[int, int] | None = None
    content: str = ""

    @property
    def place(self) -> tuple[int, int]:
        """``(batch, file index)``: which entry it is."""
        return self.batch, self.file

    @classmethod
    def of(cls, entry: Entry, batch: int, file: int) -> KnownArrival:
        arrival = entry.arrival
        return cls(arrival.uri, batch, file, arrival.version, entry.action, entry.replays, arrival.content)


class Checkpoint:
    """Reads the bytes of a checkpoint, which stay compressed in memory: about 40 bytes for each arrival."""

    __slots__ = ("_data", "_first", "_starts", "_unpacked", "_where")

    def __init__(self, data: bytes = b"", where: str = "") -> None:
        self._data = memoryview(data)
        self._where = where
        self._starts: list[int] = []
        self._first: list[str] = []
        self._unpacked = (-1, "")

    def __iter__(self) -> Iterator[KnownArrival]:
        """All that is known, sorted by URI, then batch and file.

        Raises:
            StorageError: the bytes are not a checkpoint.
        """
        return (parse(line) for _, line in self.lines())

    def lines(self) -> Iterator[tuple[str, str]]:
        """URI and line of all that is known, in the same order: parsing is most of the work of reading."""
        for _, text in self._members():
            for line in text.split("\n"):
                if line:
                    yield _unescape(line[: line.index("\t")]), line

    def find(self, uri: str) -> list[KnownArrival]:
        """What is known of one URI, by batch and file."""
        if not self._starts:
            self._index()
        # Its lines may begin in the last member that begins before it, and go on over several.
        begin = max(bisect_left(self._first, uri) - 1, 0)
        end = bisect_right(self._first, uri)
        wanted = escape(uri) + "\t"
        return [row for start in self._starts[begin:end] for row in self._search(start, wanted)]

    def _search(self, start: int, wanted: str) -> Iterator[KnownArrival]:
        if start != self._unpacked[0]:
            # Looked up in the order of URIs, one member answers many times.
            self._unpacked = (start, self._member(start)[1])
        text = self._unpacked[1]
        at = 0 if text.startswith(wanted) else text.find(f"\n{wanted}") + 1
        while text.startswith(wanted, at):
            end = text.index("\n", at)
            yield parse(text[at:end])
            at = end + 1

    def _index(self) -> None:
        for start, text in self._members():
            self._starts.append(start)
            self._first.append(parse(text[: text.index("\n")]).uri)

    def _members(self) -> Iterator[tuple[int, str]]:
        start = 0
        while start < len(self._data):
            end, text = self._member(start)
            if start:
                yield start, text
            elif text != _HEADER:
                raise StorageError("the ledger's checkpoint has an unknown form", where=self._where)
            start = end

    def _member(self, start: int) -> tuple[int, str]:
        decoder = zlib.decompressobj(wbits=31)
        parts: list[bytes] = []
        end = start
        try:
            while not decoder.eof:
                chunk = self._data[end : end + _CHUNK]
                if not chunk:
                    raise StorageError("the ledger's checkpoint is cut short", where=self._where, hint=_HINT)
                parts.append(decoder.decompress(chunk))
                end += len(chunk)
        except zlib.error as error:
            raise StorageError(
                "the ledger's checkpoint is damaged",
                where=self._where,
                got=str(error),
                hint=_HINT,
            ) from error
        return end - len(decoder.unused_data), b"".join(parts).decode()


def pack(rows: Iterable[KnownArrival]) -> bytes:
    """The bytes of a checkpoint of ``rows``, which are sorted."""
    packed = bytearray(_compress(_HEADER))
    lines: list[str] = []
    for row in rows:
        lines.append(_format(row))
        if len(lines) == _LINES:
            packed += _compress("".join(lines))
            lines.clear()
    if lines:
        packed += _compress("".join(lines))
    return bytes(packed)


def escape(text: str) -> str:
    """The text without tabs and newlines.

    >>> escape("100%\\tsure")
    '100%25%09sure'
    """
    if "%" in text or "\t" in text or "\n" in text:
        return text.replace("%", "%25").replace("\t", "%09").replace("\n", "%0A")
    return text


def _unescape(text: str) -> str:
    if "%" in text:
        return text.replace("%0A", "\n").replace("%09", "\t").replace("%25", "%")
    return text


def _format(row: KnownArrival) -> str:
    action = (
        row.action.value if row.replays is None else f"{row.action.value}:{row.replays[0]}:{row.replays[1]}"
    )
    return f"{escape(row.uri)}\t{row.batch}\t{row.file}\t{escape(row.version)}\t{action}\t{row.content}\n"


def parse(line: str) -> KnownArrival:
    """What a line says."""
    uri, batch, file, version, action, content = line.split("\t")
    uri, version = _unescape(uri), _unescape(version)
    if action == "Take":
        return KnownArrival(uri, int(batch), int(file), version, Action.TAKE, None, content)
    name, *target = action.split(":")
    replays = (int(target[0]), int(target[1])) if target else None
    return KnownArrival(uri, int(batch), int(file), version, Action(name), replays, content)


def version_of(line: str) -> str:
    """The version in a line.

    >>> version_of("s3://raw/a.csv\\t1\\t0\\tv1\\tTake\\t")
    'v1'
    """
    return _unescape(line.split("\t", 4)[3])


def _compress(text: str) -> bytes:
    encoder = zlib.compressobj(level=1, wbits=31)
    return encoder.compress(text.encode()) + encoder.flush()
