"""Workers that stay, as the API server takes them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from featurestore.resources import DataPipeline
from featurestore.resources.data_pipeline import DataPipelineSpec
from featurestore.resources.pod_template import QUEUE_LABEL
from featurestore_operator.jobs.job_manifest import JobContext
from featurestore_operator.jobs.worker_manifest import worker_objects

PLACE = JobContext("prod", "s3://features/prod", "jobs:1", "jobs", secret="s3", online_secret="redis")
SOURCE = {"uri": "s3://raw/*.parquet", "format": "Parquet"}


def spec(**more: Any) -> DataPipelineSpec:
    full = {"metadata": {"name": "flights"}, "spec": {"source": SOURCE, "execution": "Warm", **more}}
    return DataPipeline.model_validate(full).spec


def rendered(versions: tuple[str, ...] = ("1",), replicas: int = 2, **more: Any) -> dict[str, Any]:
    """By kind."""
    objects = worker_objects(
        "default", spec(**more), replicas, {"uid": "u"}, PLACE, list(versions), "operators"
    )
    return {each["kind"]: each for each in objects}


def pod(**more: Any) -> dict[str, Any]:
    made: dict[str, Any] = rendered(**more)["Deployment"]["spec"]["template"]["spec"]
    return made


def test_a_worker_has_no_token_is_not_root_and_writes_nowhere_but_to_its_scratch() -> None:
    made = pod()
    [container] = made["containers"]
    assert made["automountServiceAccountToken"] is False
    assert made["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["volumeMounts"] == [{"name": "scratch", "mountPath": "/scratch"}]


def test_it_has_the_image_the_secrets_and_the_memory_of_a_job() -> None:
    secret = {"secretRef": {"name": "raw"}}
    made = pod(
        source={**SOURCE, **secret},
        resources={"memory": "1Gi"},
        job={"template": {"image": "mine:7", "cpu": "2", "nodeSelector": {"pool": "batch"}}},
    )
    [container] = made["containers"]
    assert (container["image"], made["nodeSelector"]) == ("mine:7", {"pool": "batch"})
    assert container["envFrom"] == [
        {"secretRef": {"name": "s3"}},
        {"secretRef": {"name": "redis"}},
        {"prefix": "FEATURESTORE_SOURCE_", "secretRef": {"name": "raw"}},
    ]
    assert container["resources"]["limits"] == {"memory": str(2**30)}
    assert container["resources"]["requests"]["cpu"] == "2"


def test_only_the_operator_is_let_in() -> None:
    [rule] = rendered()["NetworkPolicy"]["spec"]["ingress"]
    [peer] = rule["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "operators"}
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "featurestore-operator"}


def test_pipelines_whose_pods_are_alike_have_the_same_workers_and_others_their_own() -> None:
    name = rendered()["Deployment"]["metadata"]["name"]
    alike = rendered(deduplicate={"keys": ["k"]}, trigger={"arrivals": {"maxFiles": 5}})
    assert alike["Deployment"]["metadata"]["name"] == name
    others: tuple[dict[str, Any], ...] = (
        {"job": {"template": {"image": "mine:7"}}},
        {"resources": {"memory": "1Gi"}},
        {"source": {**SOURCE, "secretRef": {"name": "raw"}}},
    )
    assert name not in [rendered(**more)["Deployment"]["metadata"]["name"] for more in others]


def test_other_versions_of_secrets_make_other_pods() -> None:
    templates = [rendered(versions=(each,))["Deployment"]["spec"]["template"] for each in ("1", "2")]
    assert templates[0] != templates[1]


def test_a_queue_of_kueue_goes_with_jobs_alone() -> None:
    queued = {"template": {"labels": {QUEUE_LABEL: "batch"}}}
    with pytest.raises(ValidationError, match="a queue of Kueue admits Jobs"):
        spec(job=queued)
    assert spec(job=queued, execution="Job").execution == "Job"
