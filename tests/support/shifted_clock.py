"""Processes whose clock is wrong."""

from __future__ import annotations

import subprocess

from cluster.binaries import installed


def shifted_clock(by: str) -> dict[str, str]:
    """The environment of a process whose clock is wrong by this much, such as ``-1h``.

    Only what time it is: how long something takes, and when files were changed, is told as it is.

    Raises:
        MissingError: libfaketime is not installed.
    """
    command = [str(installed("faketime")), "-f", by, "printenv", "LD_PRELOAD"]
    library = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return {"LD_PRELOAD": library, "FAKETIME": by, "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
