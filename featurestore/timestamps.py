"""Times as integers, so that none is rounded: UTC microseconds since 1970; durations in microseconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def current_us() -> int:
    """The time now."""
    return time.time_ns() // 1000


def to_us(timestamp: datetime) -> int:
    """Microseconds since 1970. A time without a zone is UTC.

    >>> to_us(datetime(1970, 1, 1, 0, 0, 1)), to_us(datetime.fromisoformat("1970-01-01T01:00:00+01:00"))
    (1000000, 0)
    """
    # Through UTC: Python subtracts two times of one zone by their wall clocks, which is wrong by an hour in autumn.
    utc = timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp.astimezone(UTC)
    return int((utc - EPOCH) // _MICROSECOND)


def from_us(us: int) -> datetime:
    """The time in UTC.

    >>> from_us(1_000_000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return EPOCH + us * _MICROSECOND


def parse_us(text: str) -> int:
    """Microseconds since 1970 of a time in ISO 8601, as Kubernetes and Delta Lake write it.

    >>> parse_us("1970-01-01T00:00:01Z")
    1000000
    """
    return to_us(datetime.fromisoformat(text))


def duration_us(duration: timedelta) -> int:
    """Microseconds, exactly.

    >>> duration_us(timedelta(minutes=1)) == MINUTE_US
    True
    """
    return duration // _MICROSECOND
