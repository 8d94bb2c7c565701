"""Numbers, times and failures in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featurestore.printable import printable
from featurestore.timestamps import from_us

if TYPE_CHECKING:
    # What kubectl runs by itself has no pydantic.
    from featurestore.failure import Failure

_SKEW_S = 60


def format_time(us: int) -> str:
    """UTC, to the second, of any year.

    >>> format_time(1357034400000000), format_time(1704067200000000000)
    ('2013-01-01T10:00:00Z', '55969-09-28T00:00:00Z')
    """
    cycles = (us - _FIRST_US) // _CYCLE_US if not _FIRST_US <= us < _END_US else 0
    moment = from_us(us - cycles * _CYCLE_US)
    return f"{moment.year + 400 * cycles:04d}{moment:-%m-%dT%H:%M:%SZ}"


_FIRST_US, _END_US = -62_135_596_800_000_000, 253_402_300_800_000_000
"""The years 1 to 9999, which are those of Python's times."""
_CYCLE_US = 146_097 * 86_400_000_000
"""400 years, after which the calendar repeats itself."""


def sentence(failure: Failure) -> str:
    """The failure as one line of text: what, where, wanted, got, and what to do."""
    parts = [
        f"{word} {part}"
        for word, part in (("in", failure.where), ("wanted", failure.wanted), ("got", failure.got))
        if part
    ]
    message = failure.problem + (": " + ", ".join(parts) if parts else "")
    return printable(f"{message}. {failure.hint}" if failure.hint else message)


def count(number: int, noun: str) -> str:
    """How many, in words.

    >>> count(1, "file"), count(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def entity_count(number: int) -> str:
    """How many, in words.

    >>> entity_count(1), entity_count(2000)
    ('1 entity', '2,000 entities')
    """
    return "1 entity" if number == 1 else f"{number:,} entities"


def size(size_bytes: int) -> str:
    """How large, in words.

    >>> size(0), size(1500), size(2 * 1024**3)
    ('0 B', '1.5 KiB', '2.0 GiB')
    """
    rest = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if rest < 1024:
            return f"{size_bytes} B" if unit == "B" else f"{rest:.1f} {unit}"
        rest /= 1024
    return f"{rest:.1f} TiB"


def age(seconds: float | None) -> str:
    """A length of time, to two places, as kubectl says it.

    >>> age(42), age(200), age(90_000), age(400 * 86400), age(-7200), age(None)
    ('42s', '3m20s', '25h', '400d', 'in 120m', '-')
    """
    if seconds is None:
        return "-"
    if seconds < -_SKEW_S:
        # Clocks differ a little; what is farther ahead is a mistake that somebody has to see.
        return f"in {age(-seconds)}"
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    if whole < 600:
        return f"{whole // 60}m" + (f"{whole % 60}s" if whole % 60 else "")
    if whole < 3 * 3600:
        return f"{whole // 60}m"
    if whole < 48 * 3600:
        return f"{whole // 3600}h"
    days = whole // 86400
    return f"{days}d" if days < 730 else f"{days // 365}y{days % 365}d"


_SHOWN = 24


def shown_value(value: Any) -> str:
    """A value in few characters.

    >>> shown_value(1234), shown_value(0.123456), shown_value("a" * 99), shown_value(None)
    ('1,234', '0.1235', 'aaaaaaaaaaaaaaaaaaaaaaa…', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if len(value) <= _SHOWN else f"{value[: _SHOWN - 1]}…"
