"""Wait for other processes, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

SLOWER = 3
"""Deadlines are said for a quiet machine with two cores; one that is this many times slower meets them, too."""


def eventually(
    holds: Callable[[], object],
    timeout_s: float = 30.0,
    why: Callable[[], object] = str,
    *,
    each_s: float = 0.05,
) -> None:
    """Return once it holds, which is asked ``each_s``; fail after the deadline, saying ``why()``."""
    deadline = time.monotonic() + SLOWER * timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not so after {SLOWER * timeout_s:g} s: {why()}"
        time.sleep(each_s)
