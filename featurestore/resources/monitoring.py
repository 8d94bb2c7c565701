"""What a view is compared with, and what is done if it differs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from featurestore.resources.metadata import Name
from featurestore.resources.model import Model
from featurestore.resources.rule import Unique


class DriftMetric(StrEnum):
    PSI = "PSI"
    KS = "KS"
    JENSEN_SHANNON = "JensenShannon"


class DriftThreshold(Model):
    metric: DriftMetric = Field(
        description="How far distributions lie apart. PSI: population stability index; KS: Kolmogorov-Smirnov statistic, of "
        "numbers alone; JensenShannon: distance to base 2."
    )
    above: float = Field(gt=0, le=1000, description="A feature with a greater value has drifted.")


class OnDrift(StrEnum):
    ALERT = "Alert"
    HOLD_PUBLISH = "HoldPublish"


class DriftReference(Model):
    training_set: Name = Field(
        description="TrainingSet whose newest version recent values are compared with."
    )


class Monitoring(Model):
    reference: DriftReference = Field(description="What values are compared with.")
    drift: Annotated[tuple[DriftThreshold, ...], Unique("metric")] = Field(
        min_length=1, max_length=3, description="When a feature has drifted."
    )
    on_drift: OnDrift = Field(
        OnDrift.ALERT,
        description="Alert: the condition Drifted says so. HoldPublish: also, the online store keeps what it has.",
    )
