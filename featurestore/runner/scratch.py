"""A temporary folder that is gone when its process is, however that ended.

Who uses a folder holds a lock on it, which the kernel lets go of with the process: a folder without one was left behind.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "featurestore-worker-"


class Scratch:
    """``path``: the folder, until :meth:`close`. What dead processes left beside it is deleted first."""

    def __init__(self) -> None:
        for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            if (lock := _locked(left)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            lock = _locked(self.path)
            # Another process may have taken it for one that was left.
            if lock is not None and self.path.is_dir():
                self._lock = lock
                return
            if lock is not None:
                os.close(lock)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _locked(folder: Path) -> int | None:
    """The folder, open and locked; None if a process has it, or it is gone or another user's."""
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        return None
    return opened
