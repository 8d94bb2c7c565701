"""How batches are run in a cluster: by a pod for each, or by workers that stay."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from featurestore.resources.model import Model
from featurestore.resources.quantity import PositiveDuration


class Execution(StrEnum):
    """Who runs a batch. ``Warm``: a worker that has started before; a Job, where none is ready or it fails."""

    JOB = "Job"
    WARM = "Warm"


class Workers(Model):
    """The workers of pipelines with execution: Warm."""

    max_workers: int = Field(
        2, ge=1, le=100, description="Most workers at once, of pipelines whose pods are alike."
    )
    idle_timeout: PositiveDuration = Field(
        timedelta(minutes=10), description="Without a batch for this long, they end."
    )
