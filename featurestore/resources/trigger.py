"""When a pipeline looks for arrivals, and how many of them a batch takes."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from featurestore.resources.model import Model
from featurestore.resources.notifications import Notifications
from featurestore.resources.quantity import Bytes, Duration, PositiveDuration

POLL, HINTED_POLL = timedelta(seconds=10), timedelta(minutes=10)
"""Time between two listings of a source that gives no notifications, and of one that does."""


class ArrivalOrder(StrEnum):
    """Which of the files that wait a batch takes, if they are more than fit into it."""

    OLDEST_FIRST = "OldestFirst"
    NEWEST_FIRST = "NewestFirst"


class ArrivalTrigger(Model):
    poll_interval: PositiveDuration | None = Field(
        None, description="Time between two listings. Default: 10s; 10m where notifications are on."
    )
    max_wait: Duration = Field(
        timedelta(seconds=2), description="A batch closes this long after its first arrival."
    )
    max_files: int = Field(500, ge=1, le=100_000, description="A batch closes at this many files.")
    max_bytes: Bytes = Field(2 * 1024**3, description="A batch closes at this many bytes.")
    order: ArrivalOrder = Field(
        ArrivalOrder.OLDEST_FIRST,
        description="Which files a batch takes if more wait than fit into it. NewestFirst: what comes now does not wait behind "
        "a backfill, which has the room that is left.",
    )


class Trigger(Model):
    arrivals: ArrivalTrigger = Field(ArrivalTrigger(), description="Run when files arrive.")
    notifications: Notifications | None = Field(
        None, description="Events that tell of new files before a listing finds them."
    )

    @property
    def poll_interval(self) -> timedelta:
        """Time between two listings.

        >>> hinted = Trigger.model_validate({"notifications": {"webhook": {}}})
        >>> str(Trigger().poll_interval), str(hinted.poll_interval)
        ('0:00:10', '0:10:00')
        """
        return self.arrivals.poll_interval or (POLL if self.notifications is None else HINTED_POLL)
