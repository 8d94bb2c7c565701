"""Text that is safe to print: names, values and messages from outside cannot control a terminal."""

from __future__ import annotations

import re


def printable(text: str) -> str:
    """The text with control characters and direction marks spelled out, so that a terminal does not obey them.

    >>> printable("a\\x1b[2Jb"), printable("two\\nlines")
    ('a\\\\x1b[2Jb', 'two\\nlines')
    """
    return _CONTROL.sub(lambda match: _spelled(match.group()), text)


def _spelled(character: str) -> str:
    # JSON has spelled out its own control characters, and knows the longer form alone.
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"


_CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")
