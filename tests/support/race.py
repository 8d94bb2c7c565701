"""Processes that start at the same moment and write to the same storage."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def race(code: str, root: str, names: str) -> dict[str, Any]:
    """Name of each process to the JSON that it printed at its end.

    ``code`` is run with ``root`` and the name; it prints ``ready``, and goes on when it has read a line.
    """
    writers = {
        who: subprocess.Popen(
            [sys.executable, "-c", code, root, who],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in names
    }
    for writer in writers.values():
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers.values():
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    return {who: json.loads(writer.communicate(timeout=600)[0]) for who, writer in writers.items()}
