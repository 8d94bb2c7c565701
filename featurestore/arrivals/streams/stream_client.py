"""What a source asks of a server of streams, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from featurestore.arrivals.position import Position
from featurestore.errors import StorageError

Found = int | StorageError
"""Where something is in a partition; or why that is not known."""


@dataclass(frozen=True, slots=True)
class Look:
    """A stream as it was at one time.

    ``uri``: names it; one of the same name that was made anew has another. ``begins``: partition to the first position
    that is still there. ``ends``: to the position after the last that may be read. ``counts``: where positions do not
    count messages, how many messages there were before the first and before the end, by partition.
    """

    uri: str
    begins: Mapping[int, Found]
    ends: Mapping[int, Found]
    counts: Mapping[int, Position] = field(default_factory=dict)

    @property
    def known(self) -> dict[int, Position]:
        """Partition to what is there of it, as far as it is known."""
        return {
            partition: Position(first, end)
            for partition, first in self.begins.items()
            if isinstance(first, int) and isinstance(end := self.ends[partition], int)
        }

    @property
    def failures(self) -> list[StorageError]:
        return [
            answer
            for answer in (*self.begins.values(), *self.ends.values())
            if isinstance(answer, StorageError)
        ]


class StreamClient(Protocol):
    """Asks about one stream. All methods raise StorageError if no server answers."""

    def look(self) -> Look | None:
        """What is there; None if there is no such stream."""

    def grown(self) -> Mapping[str, Found]:
        """URI of a partition to where it ends now: what is asked again and again."""

    def since(self, look: Look, partitions: Sequence[int], milliseconds: int) -> Mapping[int, Found]:
        """Partition to its first position of this time (since 1970) or later; -1 if there is none."""

    def count(self, first: int, end: int, most: int) -> tuple[int, int]:
        """How many messages to count there are of these positions, at most so many; and the position after the last."""

    def span(self, position: Position) -> str:
        """The position in words, such as ``offsets 2 to 5``."""
