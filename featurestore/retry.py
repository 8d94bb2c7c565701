"""When a failed step is tried again: exponentially later, within a minute if its cause lies outside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from featurestore.failure import Failure
from featurestore.timestamps import MINUTE_US, SECOND_US


class Cause(Enum):
    """Where the cause of a failure lies, which says how soon another attempt makes sense."""

    OUTSIDE = "a server, a network, a package, a permission: it may heal at any time, and within a minute it is noticed"
    WORK = (
        "the work takes more than it is given, or meets a defect: each attempt costs as much as the last one"
    )
    SPEC = "a spec or data: it repeats itself until one of them is changed, and then it is tried at once"


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
        return self.last_us + delay_us(self.count, cause_of(self.failure))


def cause_of(failure: Failure) -> Cause:
    """Where the cause of a failure lies."""
    if failure.type in ("OutOfMemory", "OutOfTime", "WorkerKilled", "Unforeseen"):
        return Cause.WORK
    # Drains do not wait for a package or for what is not there yet, but it may come at any time.
    heals = failure.retryable or failure.type in ("CodeError", "NotFound")
    return Cause.OUTSIDE if heals else Cause.SPEC


def delay_us(count: int, cause: Cause) -> int:
    """The wait after the ``count``-th failure: twice as long each time, up to a limit.

    >>> [delay_us(n, Cause.OUTSIDE) // SECOND_US for n in (1, 2, 3, 99)]
    [1, 2, 4, 45]
    >>> [delay_us(n, Cause.WORK) / SECOND_US for n in (1, 2, 3, 99)]
    [0.2, 0.4, 0.8, 600.0]
    >>> [delay_us(n, Cause.SPEC) // MINUTE_US for n in (1, 2, 99)]
    [10, 20, 360]
    """
    first, most = _WAITS_US[cause]
    return min(most, first << min(count - 1, 30))


_WAITS_US = {
    Cause.OUTSIDE: (SECOND_US, 45 * SECOND_US),
    # What crashes by itself crashes at once again, and is found by that.
    Cause.WORK: (SECOND_US // 5, 10 * MINUTE_US),
    Cause.SPEC: (10 * MINUTE_US, 360 * MINUTE_US),
}
