"""When what a namespace's Jobs use was last found to answer again: what failed before that need not wait any longer."""

from __future__ import annotations

from collections.abc import Callable


class Recoveries:
    """Of storage and online stores that did not answer. Forgotten at a restart, which costs a wait. ``clock``: UTC
    microseconds now.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._last_us: dict[str, int] = {}

    def note(self, namespace: str) -> None:
        """One answers again."""
        self._last_us[namespace] = self._clock()

    def last_us(self, namespace: str) -> int:
        """UTC microseconds of the last time; 0 if there was none."""
        return self._last_us.get(namespace, 0)
