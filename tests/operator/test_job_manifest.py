"""The Job as the API server takes it."""

from __future__ import annotations

from typing import Any

from job_request import batch_job

from featurestore.protocol import JobRequest
from featurestore.reconcile.steps import BuildView, RunBatch
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline
from featurestore_operator.jobs.job_manifest import Attempt, JobContext, Owner, job, job_name
from featurestore_operator.jobs.memory import MemoryRequest

PLACE = JobContext("prod", "s3://features/prod", "jobs:1", "jobs", secret="s3", online_secret="redis")
OWNER = Owner("DataPipeline", "flights", "uid-1")
MEMORY = MemoryRequest(2**29, 2**30)
FIRST = Attempt(1, 0, MEMORY)
BATCH = RunBatch("flights", 12, "0f")


def pipeline(**spec: Any) -> Accepted[DataPipeline]:
    full = {
        "source": {"uri": "s3://raw/*.parquet", "format": "Parquet", "secretRef": {"name": "raw"}},
        **spec,
    }
    value = {"metadata": {"name": "flights"}, "spec": full}
    return Accepted("0f", DataPipeline.model_validate(value))


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["spec"]["template"]["spec"]["containers"][0]


def test_equal_work_has_one_name_and_any_difference_another() -> None:
    name = job_name(BATCH, FIRST, OWNER)
    assert name == job_name(RunBatch("flights", 12, "0f"), Attempt(1, 0, MEMORY), OWNER)
    others = {
        job_name(RunBatch("flights", 13, "0f"), FIRST, OWNER),
        job_name(RunBatch("flights", 12, "1e"), FIRST, OWNER),
        job_name(BATCH, Attempt(2, 0, MEMORY), OWNER),
        job_name(BATCH, Attempt(1, 0, MemoryRequest(2**30, 2**31)), OWNER),
        job_name(BATCH, FIRST, Owner("DataPipeline", "flights", "made anew")),
        job_name(BuildView("flights", "a", 1, "0f"), FIRST, OWNER),
        job_name(BuildView("flights", "a", 2, "0f"), FIRST, OWNER),
    }
    assert len(others | {name}) == 8


def test_a_name_has_room_in_a_label_whatever_the_resource_is_called() -> None:
    name = job_name(RunBatch("p" * 63, 10**9, "0f"), FIRST, Owner("DataPipeline", "p" * 63, "u"))
    assert len(name) <= 63
    assert "-1000000000-" in name


def test_the_pod_is_asked_to_do_exactly_the_batch() -> None:
    manifest = job(BATCH, FIRST, pipeline(), OWNER, PLACE)
    flag, text = container(manifest)["args"]
    assert flag == "--job"
    assert JobRequest.model_validate_json(text) == batch_job(
        "s3://features/prod", "flights", 12, time_limit_s=3600
    )


def test_credentials_come_from_secrets_those_of_the_source_apart() -> None:
    sources = container(job(BATCH, FIRST, pipeline(), OWNER, PLACE))["envFrom"]
    assert sources == [
        {"secretRef": {"name": "s3"}},
        {"secretRef": {"name": "redis"}},
        {"prefix": "FEATURESTORE_SOURCE_", "secretRef": {"name": "raw"}},
    ]


def test_kubernetes_tries_once_disruptions_do_not_count_and_permanent_failures_end_it() -> None:
    spec = job(BATCH, FIRST, pipeline(), OWNER, PLACE)["spec"]
    assert spec["backoffLimit"] == 0
    disruption, permanent = spec["podFailurePolicy"]["rules"]
    assert disruption == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    assert permanent["action"] == "FailJob"
    assert permanent["onExitCodes"]["values"] == [2, 3, 5]


def test_the_pod_meets_the_restricted_security_standard() -> None:
    pod = job(BATCH, FIRST, pipeline(), OWNER, PLACE)["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_a_template_says_where_and_how_the_pod_runs() -> None:
    template = {
        "image": "mine:2",
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "env": [{"name": "A", "value": "1"}],
        "volumes": [{"name": "cache", "emptyDir": {}}],
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
        "cpu": "2",
        "labels": {"team": "flights"},
    }
    manifest = job(BATCH, FIRST, pipeline(job={"template": template}), OWNER, PLACE)
    pod, it = manifest["spec"]["template"]["spec"], container(manifest)
    assert it["image"] == "mine:2"
    assert pod["nodeSelector"] == {"disk": "fast"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert {"name": "A", "value": "1"} in it["env"]
    assert {"name": "cache", "mountPath": "/cache"} in it["volumeMounts"]
    assert [volume["name"] for volume in pod["volumes"]] == ["scratch", "cache"]
    assert it["resources"]["requests"]["cpu"] == "2"
    assert manifest["spec"]["template"]["metadata"]["labels"]["team"] == "flights"


def test_a_job_that_says_nothing_of_cpus_asks_for_half_of_one_and_is_not_bounded() -> None:
    resources = container(job(BATCH, FIRST, pipeline(), OWNER, PLACE))["resources"]
    assert resources["requests"]["cpu"] == "500m"
    assert "cpu" not in resources["limits"]


def test_a_job_for_a_queue_waits_until_the_queue_lets_it_start() -> None:
    template = {"labels": {"kueue.x-k8s.io/queue-name": "night"}}
    assert job(BATCH, FIRST, pipeline(job={"template": template}), OWNER, PLACE)["spec"]["suspend"] is True
    assert "suspend" not in job(BATCH, FIRST, pipeline(), OWNER, PLACE)["spec"]
