"""How Jobs are started in a cluster, and whose turn it is."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from featurestore.resources.model import Model
from featurestore.resources.pod_template import PodTemplate
from featurestore.resources.quantity import PositiveDuration
from featurestore.timestamps import MINUTE_US


class Priority(StrEnum):
    """Which Jobs of a namespace go first. None is passed over for ever by what comes later."""

    HIGH = "High"
    NORMAL = "Normal"
    LOW = "Low"

    @property
    def yields_us(self) -> int:
        """By how much it goes after what became due at the same time and has no priority."""
        return {Priority.HIGH: -10, Priority.NORMAL: 0, Priority.LOW: 10}[self] * MINUTE_US


class Job(Model):
    template: PodTemplate = Field(PodTemplate(), description="What its pods are like.")
    active_deadline: PositiveDuration = Field(
        timedelta(hours=1), description="A Job that runs longer is ended and retried."
    )
    priority: Priority = Field(
        Priority.NORMAL,
        description="Whose turn it is where Jobs of the namespace wait: High counts as if it had come ten minutes earlier, "
        "Low ten minutes later. Between namespaces it means nothing.",
    )
