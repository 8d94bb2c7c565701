"""Statuses are small, and their conditions are typed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from featurestore.resources.status import DataPipelineStatus, FeatureViewStatus, KubernetesCondition

READY: dict[str, Any] = {
    "type": "Ready",
    "status": "True",
    "reason": "Fresh",
    "message": "Offline and online hold commit 7.",
    "lastTransitionTime": "2013-01-01T05:15:00Z",
    "observedGeneration": 3,
}


def test_a_status_is_what_kubernetes_shows() -> None:
    status = FeatureViewStatus.model_validate(
        {
            "observedGeneration": 3,
            "conditions": [READY],
            "rows": 7,
            "watermark": "2013-01-01T05:15:00.123456Z",
        }
    )
    assert status.model_dump(mode="json", by_alias=True, exclude_none=True)["conditions"] == [READY]


def test_a_condition_of_a_type_stands_once() -> None:
    with pytest.raises(ValidationError, match="Ready is repeated"):
        DataPipelineStatus.model_validate({"conditions": [READY, READY]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "not one word"),
        ("status", "Maybe"),
        ("reason", ""),
        ("message", "x" * 4097),
        ("lastTransitionTime", "2013-01-01 05:15:00"),
        ("lastTransitionTime", "2013-01-01T05:15:00+01:00"),
        ("observedGeneration", -1),
    ],
)
def test_a_condition_that_is_not_typed_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        KubernetesCondition.model_validate({**READY, field: value})
