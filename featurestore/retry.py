"""When a failed step is tried again: exponentially later, and much later if the same attempt cannot help."""

from __future__ import annotations

from dataclasses import dataclass

from featurestore.failure import Failure
from featurestore.timestamps import MINUTE_US, SECOND_US


@dataclass(frozen=True, slots=True)
class FailureStreak:
    """``count`` attempts at one step have failed in a row, the last one at ``last_us`` with ``failure``."""

    count: int
    last_us: int
    failure: Failure

    @classmethod
    def after(cls, before: FailureStreak | None, now_us: int, failure: Failure) -> FailureStreak:
        """One more failure in a row; ``before``: those until now, None if there was none."""
        return cls(before.count + 1 if before is not None else 1, now_us, failure)

    @property
    def next_us(self) -> int:
        """Time of the next attempt, UTC microseconds."""
        return self.last_us + delay_us(self.count, self.failure.retryable)


def delay_us(count: int, retryable: bool) -> int:
    """Wait after the ``count``-th failure: 1 s, 2 s, 4 s … 45 s: within a minute of healing, it is noticed.

    A failure of the spec, the data or the code will repeat itself, and a changed spec is tried at once
    anyway; so it waits 10 min, 20 min … 6 h, for what may heal outside: a package that gets installed.

    >>> [delay_us(n, True) // SECOND_US for n in (1, 2, 3, 99)]
    [1, 2, 4, 45]
    >>> [delay_us(n, False) // MINUTE_US for n in (1, 2, 99)]
    [10, 20, 360]
    """
    first, most = (SECOND_US, 45 * SECOND_US) if retryable else (10 * MINUTE_US, 360 * MINUTE_US)
    return min(most, first << min(count - 1, 30))
