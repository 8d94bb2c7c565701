"""Where an arrival of a stream lies: offsets of one partition. They stand in its version, as ``120-480``.

The URI of such an arrival names the partition. A version freezes which offsets a batch takes, so that every run of the
batch reads the same ones. Offsets may have holes: a position says from where to where, and never how many rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from featurestore.arrivals.arrival import Arrival
from featurestore.arrivals.checkpoint import KnownArrival


class Position(NamedTuple):
    """The offsets ``first`` … ``end - 1``.

    >>> Position.of("120-480"), str(Position(120, 480))
    (Position(first=120, end=480), '120-480')
    """

    first: int
    end: int

    @classmethod
    def of(cls, version: str) -> Position:
        first, _, end = version.partition("-")
        return cls(int(first), int(end))

    def __str__(self) -> str:
        return f"{self.first}-{self.end}"

    @property
    def length(self) -> int:
        """How many offsets there are."""
        return self.end - self.first


def taken_until(known: Iterable[KnownArrival]) -> int | None:
    """Where the next position of a partition begins; None if none was taken yet.

    ``known``: what manifests say of its URI.
    """
    return max((Position.of(row.version).end for row in known), default=None)


def messages(arrival: Arrival) -> int:
    """How many messages it has at most: as counted where positions do not, else positions, holes among them.

    >>> messages(Arrival("kafka://t/id/0", "120-480", 0, 0)), messages(Arrival("redis://s/0/0", "9-9000", 0, 0, "3-7"))
    (360, 4)
    """
    return Position.of(arrival.content or arrival.version).length
