"""The most memory that this process held at once."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

_PROCESS = Path("/proc/self")


def peak_bytes() -> int:
    """Greatest resident size since :func:`forget_peak`; where there is no forgetting, since the process began.

    Not getrusage's where there is a better one: that begins at the peak of the process that started this one.
    """
    if sys.platform == "linux":
        status = (_PROCESS / "status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def forget_peak() -> None:
    """Let the peak begin at what is held now, so that a warm process tells what one request took."""
    # Other systems have no such file, and some containers may not write it: the peak is then the process's.
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5")
