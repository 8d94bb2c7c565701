"""Wait for other processes, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

SLOWER = 3
"""Deadlines are said for a quiet machine with two cores; one that is this many times slower meets them, too."""
LONGEST_S = 0.25
"""Who waits long asks less often: a twentieth of the time that has passed is not missed, and asking costs, too."""


def eventually(
    holds: Callable[[], object],
    timeout_s: float = 30.0,
    why: Callable[[], object] = str,
    *,
    each_s: float = 0.05,
) -> None:
    """Return once it holds, which is asked ``each_s`` or less often; fail after the deadline, saying ``why()``."""
    started = time.monotonic()
    while not holds():
        waited = time.monotonic() - started
        assert waited < SLOWER * timeout_s, f"not so after {SLOWER * timeout_s:g} s: {why()}"
        time.sleep(max(each_s, min(waited / 20, LONGEST_S)))
