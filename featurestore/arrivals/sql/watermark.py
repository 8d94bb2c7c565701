"""Where an arrival of a database lies: a range of watermarks. It stands in its version, as ``17..42``: after 17, up to 42.

Watermarks are texts: integers, or times to the microsecond, with a ``Z`` at the end if the column has a zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from featurestore.arrivals.checkpoint import KnownArrival
from featurestore.arrivals.manifest import Action
from featurestore.timestamps import from_us, parse_us

_NUMBER = re.compile(r"-?[0-9]+")
_LATE = re.compile(r"late:([0-9]+):")


@dataclass(frozen=True, slots=True)
class WatermarkRange:
    """The watermarks greater than ``first``, up to ``last``. ``first`` is empty where there is no bound, ``last`` where
    there was no row yet.

    >>> WatermarkRange.of("17..42"), str(WatermarkRange("", "42"))
    (WatermarkRange(first='17', last='42'), '..42')
    """

    first: str
    last: str

    @classmethod
    def of(cls, version: str) -> WatermarkRange:
        first, _, last = version.partition("..")
        return cls(first, last)

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"

    @property
    def words(self) -> str:
        """As people read it.

        >>> WatermarkRange("17", "42").words, WatermarkRange("", "42").words
        ('after 17 and up to 42', 'up to 42')
        """
        return f"after {self.first} and up to {self.last}" if self.first else f"up to {self.last}"

    @property
    def is_empty(self) -> bool:
        """Whether no row can be in it."""
        return not self.last or (bool(self.first) and rank(self.last) <= rank(self.first))


def text_of(value: Any) -> str:
    """The text of a watermark.

    >>> from datetime import UTC
    >>> text_of(17), text_of(datetime(2024, 1, 1, 0, 0, 0, 5, UTC)), text_of(datetime(2024, 1, 1))
    ('17', '2024-01-01T00:00:00.000005Z', '2024-01-01T00:00:00.000000')
    """
    if not isinstance(value, datetime):
        return str(value)
    return value.isoformat(timespec="microseconds").replace("+00:00", "Z")


def kind_of(text: str) -> str:
    """The type of the column in PostgreSQL, as far as the text of a watermark tells it.

    >>> kind_of("17"), kind_of("2024-01-01T00:00:00.000005Z"), kind_of("2024-01-01T00:00:00.000000")
    ('bigint', 'timestamptz', 'timestamp')
    """
    if _NUMBER.fullmatch(text):
        return "bigint"
    return "timestamptz" if text.endswith("Z") else "timestamp"


def rank(text: str) -> int:
    """What watermarks of one type are compared by: the integer, or microseconds since 1970."""
    return int(text) if _NUMBER.fullmatch(text) else parse_us(text)


def just_before(text: str, kind: str) -> str:
    """The greatest watermark of this type that is less.

    >>> just_before("17", "bigint"), just_before("2024-01-01T00:00:00Z", "timestamp")
    ('16', '2023-12-31T23:59:59.999999')
    """
    if kind == "bigint":
        return str(int(text) - 1)
    before = from_us(parse_us(text) - 1)
    return text_of(before if kind == "timestamptz" else before.replace(tzinfo=None))


def literal(text: str) -> str:
    """The watermark in SQL.

    >>> literal("-5"), literal("2024-01-01T00:00:00.000005Z")
    ('(-5)', "timestamptz '2024-01-01T00:00:00.000005Z'")
    """
    if kind_of(text) == "bigint":
        return f"({text})"
    datetime.fromisoformat(text)
    return f"{kind_of(text)} '{text}'"


def ranges_taken(known: Iterable[KnownArrival]) -> list[KnownArrival]:
    """Those that say how far rows were taken, by batch. ``known``: what manifests say of the rows."""
    return [row for row in known if row.action in (Action.TAKE, Action.SKIP)]


def told_late(known: Iterable[KnownArrival]) -> int:
    """How many rows that came too late these entries tell of."""
    return sum(int(match[1]) for row in known if (match := _LATE.match(row.version)))
