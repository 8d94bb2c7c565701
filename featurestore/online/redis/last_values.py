"""What a Redis answered last, for reads while it does not answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import islice

from featurestore.errors import StorageError

_KEPT = 100_000
"""Values of one reader: some tens of megabytes. The ones that were first asked for go first."""


class LastValues:
    """The packed value of each key that was read, None for one that was not there. Safe to use from several threads."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._values: dict[bytes, bytes | None] = {}
        self._lock = threading.Lock()

    def keep(self, names: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """These were answered now."""
        with self._lock:
            self._values.update(zip(names, values, strict=True))
            excess = len(self._values) - self._kept
            if excess > 0:
                for name in list(islice(self._values, excess)):
                    del self._values[name]

    def find(self, names: Sequence[bytes], failure: StorageError) -> list[bytes | None]:
        """What was answered last for these keys.

        Raises:
            StorageError: the failure, if one of them was never answered, or not kept so long.
        """
        with self._lock:
            try:
                return [self._values[name] for name in names]
            except KeyError:
                raise failure from failure.__cause__
