"""When a file that was seen is taken to be finished: it has been quiet for long enough.

Object storage shows whole objects only. In a local folder a file may still be being written, and nothing says
so for sure. What is known: a writer changes size or time; a Parquet or Arrow file ends with a mark that is
written last; lines end with a newline. So a file is settled at the first of

- 0.2 s after it was first seen as it is now, if it ends as a finished file does
- 2 s after it was first seen as it is now
- 10 s after its time of change

The last one needs no second look: a backlog is taken at once. Nor does a file that was pushed: it is given its name when it
is whole. Writers that pause for longer should write under a temporary name and rename, which every rule here respects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.manifest import Entry
from featurestore.resources.data_pipeline import Compression, Format, Source
from featurestore.resources.location import locate

QUIET_WHOLE_US = 200_000
QUIET_US = 2_000_000
OLD_US = 10_000_000
_FORGET_US = 600_000_000
_MARKS = {
    Format.PARQUET: (b"PAR1", b"PARE"),
    Format.ARROW: (b"ARROW1",),
    Format.CSV: (b"\n",),
    Format.JSON: (b"\n",),
}
_COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True, slots=True)
class FileObservation:
    """A file as it has looked since ``since_us``. ``whole``: it ends as a finished file does."""

    arrival: Arrival
    since_us: int
    whole: bool

    @property
    def settles_us(self) -> int:
        """When it is settled, if it does not change until then."""
        quiet_us = QUIET_WHOLE_US if self.whole else QUIET_US
        return min(self.since_us + quiet_us, self.arrival.modified_us + OLD_US)


class StableFiles:
    """What was seen of a source's files that are not old yet.

    ``ends_whole``: whether an arrival ends as a finished file does, say :func:`ends_whole` of its source.
    ``appears_whole``: whether it was so since there was a file of its name.
    """

    __slots__ = ("_appears_whole", "_ends_whole", "_seen", "_waiting")

    def __init__(
        self,
        ends_whole: Callable[[Arrival], bool],
        appears_whole: Callable[[Arrival], bool] = lambda _: False,
    ) -> None:
        self._ends_whole, self._appears_whole = ends_whole, appears_whole
        self._seen: dict[str, FileObservation] = {}
        # Of thousands of sources most have none: an empty set takes three times the memory.
        self._waiting: dict[str, None] = {}

    def admit(self, entries: Iterable[Entry], now_us: int) -> Iterator[Entry]:
        """Those entries whose files are settled now. Look again at the others when they are due."""
        self._forget(now_us)
        for entry in entries:
            uri = entry.arrival.uri
            if self._settles_us(entry.arrival, now_us) <= now_us:
                self._waiting.pop(uri, None)
                yield entry
            else:
                self._waiting[uri] = None

    def due_us(self) -> int | None:
        """When the next file that was not admitted may be settled; None if there is none."""
        return min((self._seen[uri].settles_us for uri in self._waiting), default=None)

    def due(self, now_us: int) -> list[str]:
        """URIs to look at again now, each once: a file that is gone does not come back here."""
        due = sorted(uri for uri in self._waiting if self._seen[uri].settles_us <= now_us)
        for uri in due:
            del self._waiting[uri]
        return due

    def _settles_us(self, arrival: Arrival, now_us: int) -> int:
        if "://" in arrival.uri or arrival.modified_us + OLD_US <= now_us or self._appears_whole(arrival):
            return now_us
        observation = self._seen.get(arrival.uri)
        if observation is None or observation.arrival != arrival:
            observation = FileObservation(arrival, now_us, self._ends_whole(arrival))
            self._seen[arrival.uri] = observation
        return observation.settles_us

    def _forget(self, now_us: int) -> None:
        for uri, observation in list(self._seen.items()):
            is_old = (
                min(observation.arrival.modified_us + OLD_US, observation.since_us + _FORGET_US) <= now_us
            )
            if is_old and uri not in self._waiting:
                del self._seen[uri]


def ends_whole(source: Source, arrival: Arrival, base: str | None = None) -> bool:
    """True if a local file ends as a finished file of the source's format does. ``base``: where relative ones begin.

    False says little: a last line may lack its newline, and compressed files have no mark.
    """
    compressed = source.compression in (Compression.GZIP, Compression.ZSTD) or (
        source.compression is Compression.AUTO and arrival.uri.lower().endswith(_COMPRESSED)
    )
    if source.format not in (Format.PARQUET, Format.ARROW) and compressed:
        return False
    marks = _MARKS[source.format or Format.PARQUET]
    try:
        with open(locate(arrival.uri, base), "rb") as file:
            length = max(map(len, marks))
            file.seek(max(0, arrival.size_bytes - length))
            return file.read(length).endswith(marks)
    except OSError:
        # Gone or not readable: whoever takes it will say so.
        return False
