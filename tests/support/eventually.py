"""Wait for other processes, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(holds: Callable[[], object], timeout_s: float = 30.0, why: Callable[[], object] = str) -> None:
    """Return once it holds; fail after the deadline, saying ``why()``."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not so after {timeout_s:g} s: {why()}"
        time.sleep(0.05)
