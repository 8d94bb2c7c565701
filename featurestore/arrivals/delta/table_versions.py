"""Where an arrival of a Delta table lies: versions of one table. They stand in its version, as ``5-6@<id of the table>``.

What was deleted and made again has another id, so its versions, which begin at 0 again, are not those that were read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.manifest import Action

_ALL = "*"


@dataclass(frozen=True, slots=True)
class TableVersions:
    """The commits ``first`` … ``end - 1``. Or, if ``snapshot``, all rows that the table has after commit ``end - 1``.

    ``table_id``: empty if the log does not tell it any more. ``first == end``: no commit, but where the next begins.

    >>> TableVersions.of("5-6@a1"), str(TableVersions("a1", 0, 8, snapshot=True))
    (TableVersions(table_id='a1', first=5, end=6, snapshot=False), '*-8@a1')
    """

    table_id: str
    first: int
    end: int
    snapshot: bool = False

    @classmethod
    def of(cls, version: str) -> TableVersions:
        span, _, table_id = version.partition("@")
        first, _, end = span.partition("-")
        return cls(table_id, 0 if first == _ALL else int(first), int(end), first == _ALL)

    def __str__(self) -> str:
        return f"{_ALL if self.snapshot else self.first}-{self.end}@{self.table_id}"

    @property
    def position(self) -> str:
        """What counts the commits: see :func:`featurestore.arrivals.position.messages`."""
        return f"{self.first}-{self.end}"

    @property
    def words(self) -> str:
        """As people read it.

        >>> TableVersions("a1", 5, 6).words, TableVersions("a1", 5, 9).words
        ('version 5', 'versions 5 to 8')
        """
        last = self.end - 1
        return (
            f"version {last}" if self.snapshot or last <= self.first else f"versions {self.first} to {last}"
        )


def taken_last(known: Sequence[KnownArrival]) -> TableVersions | None:
    """The versions that were taken last; None if none were. ``known``: what manifests say of the table, by batch."""
    own = [row for row in known if row.action is not Action.REPLAY]
    return TableVersions.of(own[-1].version) if own else None
