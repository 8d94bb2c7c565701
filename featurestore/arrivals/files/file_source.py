"""Files as a source of arrivals: those that a glob names, in a folder or in object storage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from threading import Event

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.files.content import Reading, content_digest, standing_digests
from featurestore.arrivals.files.glob import Pattern
from featurestore.arrivals.files.listing import explain_empty, find_pinned, list_arrivals, look
from featurestore.arrivals.files.object_url import named
from featurestore.arrivals.files.overwrites import decide
from featurestore.arrivals.files.settling import StableFiles, ends_whole
from featurestore.arrivals.files.watch import watch
from featurestore.arrivals.files.web_index import WebIndex
from featurestore.arrivals.manifest import Entry
from featurestore.arrivals.push_name import is_push_name
from featurestore.errors import StorageError
from featurestore.resources.data_pipeline import Source
from featurestore.resources.location import locate
from featurestore.resources.model import shared

# A file up to this size is read at once: handing it to another thread would take longer.
_AT_ONCE_BYTES = 16 << 20
_UNKNOWN = "?"


class FileSource:
    """See :class:`featurestore.arrivals.source.ArrivalSource`.

    ``base``: what relative paths are relative to; None for the working folder. ``environ``: has the credentials;
    None for the process's own environment.
    """

    noun = "file"
    most_messages = None
    __slots__ = ("_base", "_environ", "_index", "_reading", "_source", "_stable")

    def __init__(
        self, source: Source, base: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        # There may be thousands of these.
        self._source = source.model_copy(update={"csv": shared(source.csv), "json_": shared(source.json_)})
        self._base, self._environ = base, environ
        self._reading: Reading | None = None
        self._index = None if source.index is None else WebIndex(source.index)
        self._stable = StableFiles(partial(ends_whole, self._source, base=base), self._is_pushed)

    def arrivals(self) -> Iterator[Arrival]:
        return list_arrivals(self._source, self._base, self._environ, self._index)

    def look(self, uris: Iterable[str]) -> list[Arrival]:
        return look(self._source, self._base, uris, self._environ)

    def find(self, arrival: Arrival) -> Arrival | None:
        return find_pinned(arrival, self._environ, self._base)

    def is_same(
        self, arrival: Arrival, known: Sequence[KnownArrival], patience_s: float = inf
    ) -> bool | None:
        standing = standing_digests(known, arrival.version)
        if not standing:
            return False
        content = self._content(arrival, patience_s)
        return None if content is _UNKNOWN else content in standing

    def pin(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        if Pattern.of(self._source, self._base).is_local:
            reading = Reading([self._file(entry.arrival) for entry in entries])
            reading.wait()
            for entry, content in zip(entries, reading.digests, strict=True):
                if content is not None:
                    yield replace(entry, arrival=replace(entry.arrival, content=content))
        else:
            yield from entries

    def _is_pushed(self, arrival: Arrival) -> bool:
        return self._source.push is not None and is_push_name(arrival.uri.rpartition("/")[2])

    def _content(self, arrival: Arrival, patience_s: float) -> str | None:
        """Digest of a file; ``_UNKNOWN`` if it is still being read, or another one is."""
        file = self._file(arrival)
        if arrival.size_bytes <= _AT_ONCE_BYTES:
            return content_digest(*file)
        if self._reading is None:
            self._reading = Reading([file])
        reading = self._reading
        try:
            is_read = reading.wait(patience_s)
        except StorageError:
            self._reading = None
            raise
        if not is_read:
            return _UNKNOWN
        self._reading = None
        return reading.digests[0] if reading.files[0] == file else _UNKNOWN

    def _file(self, arrival: Arrival) -> tuple[str, str]:
        return locate(arrival.uri, self._base), arrival.version

    def decide(self, arrival: Arrival, known: Sequence[KnownArrival]) -> Entry | None:
        return decide(arrival, known, self._source.on_overwrite)

    def admit(self, entries: Iterable[Entry], now_us: int) -> Iterator[Entry]:
        return self._stable.admit(entries, now_us)

    def due_us(self) -> int | None:
        return self._stable.due_us()

    def due(self, now_us: int) -> list[str]:
        return self._stable.due(now_us)

    def named(self, urls: Iterable[str]) -> list[str]:
        return named(Pattern.of(self._source, self._base), urls)

    def watch(self, stop: Event) -> Iterator[frozenset[str]]:
        return watch(self._source, self._base, stop)

    def explain_empty(self) -> str:
        return explain_empty(self._source, self._base, self._environ)
