"""Numbers, times and failures in a person's words."""

from __future__ import annotations

from featurestore.failure import Failure
from featurestore.timestamps import from_us


def format_time(us: int) -> str:
    """UTC, to the second.

    >>> format_time(1357034400000000)
    '2013-01-01T10:00:00Z'
    """
    return from_us(us).strftime("%Y-%m-%dT%H:%M:%SZ")


def sentence(failure: Failure) -> str:
    """The failure as one line of text: what, where, wanted, got, and what to do."""
    parts = [
        f"{word} {part}"
        for word, part in (("in", failure.where), ("wanted", failure.wanted), ("got", failure.got))
        if part
    ]
    message = failure.problem + (": " + ", ".join(parts) if parts else "")
    return f"{message}. {failure.hint}" if failure.hint else message


def count(number: int, noun: str) -> str:
    """How many, in words.

    >>> count(1, "file"), count(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


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
