"""The folder in which the processes of one server share generations: made and removed by whoever starts them."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = "FEATURESTORE_SHARED_GENERATIONS"
"""Names the folder to the processes."""
_PREFIX, _ALIVE = "featurestore-generations-", "alive"


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A new one, of this user alone, which is gone afterwards. First goes what servers that were killed have left."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Who lives holds the lock; the folders of other users do not open.
        with suppress(OSError), (left / _ALIVE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        folder = Path(name)
        with (folder / _ALIVE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
