"""What Jobs are asked to do, as the operator asks it."""

from __future__ import annotations

from featurestore.protocol import JobRequest
from featurestore.reconcile.steps import EngineStep, RunBatch

STEPS = [
    "after-dataset-commit",
    "after-result",
    "after-build-commit",
    "during-publish",
    "after-publish",
    "before-promote",
    "after-promote",
]
"""Where the process of a batch is killed, from its commit to the last of what its views do."""


def job_request(step: EngineStep, root: str, pipeline: str, time_limit_s: float | None = None) -> JobRequest:
    """What the Job of a step is asked to do."""
    return JobRequest(
        pipeline=pipeline, task=step.description, request=step.request(root), time_limit_s=time_limit_s
    )


def batch_job(root: str, pipeline: str, number: int, time_limit_s: float | None = None) -> JobRequest:
    """What the Job of a batch is asked to do."""
    return job_request(RunBatch(pipeline, number, "0f"), root, pipeline, time_limit_s)
