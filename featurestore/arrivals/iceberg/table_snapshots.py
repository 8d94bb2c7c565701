"""Where an arrival of an Iceberg table lies: snapshots of one table. They stand in its version.

It is ``5-6@<id of table>/<id of snapshot>``. Sequence numbers order the snapshots of a table. The id tells those from each
other that got the same number where a table was put back from a copy, or that are not of its history any more.
"""

from __future__ import annotations

from dataclasses import dataclass

_ALL = "*"


@dataclass(frozen=True, slots=True)
class TableSnapshots:
    """The snapshots with numbers ``first`` … ``end - 1``. Or, if ``is_whole``, all rows after the last of them.

    ``last_id``: of the last of them; None if there is none. ``first == end``: no snapshot, but where the next begins.

    >>> TableSnapshots.of("5-6@a1/77"), str(TableSnapshots("a1", 0, 8, 78, is_whole=True))
    (TableSnapshots(table_id='a1', first=5, end=6, last_id=77, is_whole=False), '*-8@a1/78')
    """

    table_id: str
    first: int
    end: int
    last_id: int | None
    is_whole: bool = False

    @classmethod
    def of(cls, version: str) -> TableSnapshots:
        span, _, ids = version.partition("@")
        first, _, end = span.partition("-")
        table_id, _, last_id = ids.rpartition("/")
        is_whole = first == _ALL
        return cls(
            table_id, 0 if is_whole else int(first), int(end), int(last_id) if last_id else None, is_whole
        )

    def __str__(self) -> str:
        last_id = "" if self.last_id is None else self.last_id
        return f"{_ALL if self.is_whole else self.first}-{self.end}@{self.table_id}/{last_id}"

    @property
    def position(self) -> str:
        """What counts the snapshots: see :func:`featurestore.arrivals.position.messages`."""
        return f"{self.first}-{self.end}"

    @property
    def words(self) -> str:
        """As people read it.

        >>> TableSnapshots("a1", 5, 6, 77).words, TableSnapshots("a1", 5, 9, None).words
        ('snapshot 77 (number 5)', 'snapshots 5 to 8')
        """
        last = self.end - 1
        if self.is_whole or last <= self.first:
            return f"snapshot {self.last_id} (number {last})" if self.last_id else f"snapshot {last}"
        return f"snapshots {self.first} to {last}"
