"""One Job as the API server takes it: named by what it does, so that two operators make one.

A Job is tried once by Kubernetes (``backoffLimit: 0``): when to try again, with how much memory, and what to tell
people meanwhile is decided by the operator, with a Job of its own per attempt. Jobs are the record of attempts.
https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from featurestore.digest import digest
from featurestore.protocol import JobRequest
from featurestore.reconcile.steps import BuildView, EngineStep, PromoteRebuild, RunBatch, RunPiece
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline
from featurestore.resources.kinds import KINDS
from featurestore.resources.metadata import SecretRef
from featurestore.resources.pod_template import QUEUE_LABEL, PodTemplate
from featurestore_operator.jobs.memory import MemoryRequest
from featurestore_operator.jobs.restricted_pod import pod_and_container, secrets_of
from featurestore_operator.kube.api_resources import MANAGED, PIPELINE_LABEL

BATCH = "featurestore.dev/batch"
REBUILD_LABEL = "featurestore.dev/rebuild"
"""Which rebuild of its pipeline the Job works for; it has no batch then."""
STEP, WORK = "featurestore.dev/step", "featurestore.dev/work"
SPEC = "featurestore.dev/spec"
"""Digest of the pipeline that says how the Job's pod is to be."""
TURN = "featurestore.dev/turn"
"""Which attempt at its batch or build, or a part of it, the Job makes."""
ATTEMPT, KILLED = "featurestore.dev/attempt", "featurestore.dev/oom-kills"
RETRY = "featurestore.dev/retry"
"""Which request of the resource for another attempt the Job has met."""
PERMANENT = (2, 3, 5)
"""Exit codes after which the same attempt cannot help; see ``featurestore.errors``."""
JOB_NAME = "featurestore-job"
"""What the pods of Jobs are, by the label ``app.kubernetes.io/name``."""
CONTAINER = "job"
START_S = 60
"""How long a pod may take to find its node and its image, on top of the time for its work."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """``number``: 1, 2, 3 …; ``killed``: OOM kills of this step in a row before it. ``retry``: the last request for one."""

    number: int
    killed: int
    memory: MemoryRequest
    retry: str = ""


@dataclass(frozen=True, slots=True)
class JobContext:
    """What is the same for all Jobs of a store.

    ``root``: the storage root. ``secret``: with the store's credentials. ``online_secret``: with those of its
    online store. ``image``, ``service_account``: of Jobs whose pipeline names none.
    """

    namespace: str
    root: str
    image: str
    service_account: str
    secret: str | None = None
    online_secret: str | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """The resource that a Job belongs to, and is removed with."""

    kind: str
    name: str
    uid: str


def job(
    work: EngineStep, attempt: Attempt, pipeline: Accepted[DataPipeline], owner: Owner, place: JobContext
) -> dict[str, Any]:
    """The Job that does this work."""
    spec = pipeline.resource.spec
    template = spec.job.template
    labels = {**MANAGED, "app.kubernetes.io/name": JOB_NAME, **_labels(work, pipeline)}
    queued = QUEUE_LABEL in template.labels
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(work, attempt, owner),
            "namespace": place.namespace,
            "labels": {**template.labels, **labels},
            "annotations": {
                STEP: work.key,
                WORK: work_digest(work),
                SPEC: pipeline.digest,
                **({TURN: str(work.turn)} if isinstance(work, RunBatch | RunPiece | BuildView) else {}),
                ATTEMPT: str(attempt.number),
                KILLED: str(attempt.killed),
                **({RETRY: attempt.retry} if attempt.retry else {}),
            },
            "ownerReferences": [
                {
                    "apiVersion": "featurestore.dev/v1alpha1",
                    "kind": owner.kind,
                    "name": owner.name,
                    "uid": owner.uid,
                    "controller": True,
                }
            ],
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            # Whoever manages the queue lets it start.
            **({"suspend": True} if queued else {}),
            # The process ends itself in time, and says where it was; this is for one that never began.
            "activeDeadlineSeconds": max(1, spec.job.active_deadline // timedelta(seconds=1)) + START_S,
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": CONTAINER,
                            "operator": "In",
                            "values": list(PERMANENT),
                        },
                    },
                ]
            },
            "template": {
                "metadata": {
                    "labels": {**template.labels, **labels},
                    "annotations": dict(template.annotations),
                },
                "spec": _pod(
                    _request(work, pipeline, place), spec.source.credentials, template, attempt, place
                ),
            },
        },
    }


def job_name(work: EngineStep, attempt: Attempt, owner: Owner) -> str:
    """The Job's name, at most 63 characters: whose, which, and a digest of everything that would make it another Job."""
    match work:
        case RunBatch():
            number = f"-{work.number}"
        case RunPiece():
            number = f"-r{work.rebuild}-{work.number}"
        case PromoteRebuild():
            number = f"-r{work.rebuild}"
        case _:
            number = ""
    identity = {
        "work": work_digest(work),
        "attempt": attempt.number,
        "memory": attempt.memory.limit_bytes,
        "owner": owner.uid,
    }
    tail = f"{number}-{digest(identity)[:10]}"
    return owner.name[: 63 - len(tail)].rstrip("-.") + tail


def work_digest(work: EngineStep) -> str:
    """Names the work: another version to build up to is other work, though the same step."""
    return digest([type(work).__name__, asdict(work)])


def _labels(work: EngineStep, pipeline: Accepted[DataPipeline]) -> dict[str, str]:
    labels = {PIPELINE_LABEL: pipeline.resource.metadata.name}
    if isinstance(work, RunBatch):
        return {**labels, BATCH: str(work.number)}
    if isinstance(work, RunPiece | PromoteRebuild):
        return {**labels, REBUILD_LABEL: str(work.rebuild)}
    noun, name = work.subject
    return {**labels, next(kind.label for kind in KINDS.values() if kind.noun == noun): name}


def _request(work: EngineStep, pipeline: Accepted[DataPipeline], place: JobContext) -> str:
    return JobRequest(
        pipeline=pipeline.resource.metadata.name,
        task=work.description,
        request=work.request(place.root),
        time_limit_s=pipeline.resource.spec.job.active_deadline.total_seconds(),
    ).model_dump_json()


def source_secret(credentials: SecretRef | None) -> list[dict[str, Any]]:
    """The Secret with the credentials of a source, if it has one, as variables of a container."""
    if credentials is None:
        return []
    return [{"prefix": "FEATURESTORE_SOURCE_", "secretRef": {"name": credentials.name}}]


def _pod(
    request: str, credentials: SecretRef | None, template: PodTemplate, attempt: Attempt, place: JobContext
) -> dict[str, Any]:
    pod, container = pod_and_container(template, CONTAINER, place.image, place.service_account)
    sources = [*secrets_of(place.secret, place.online_secret), *source_secret(credentials)]
    memory = attempt.memory
    resources = {
        "requests": {"memory": str(memory.request_bytes), **container["resources"]["requests"]},
        "limits": {"memory": str(memory.limit_bytes)},
    }
    own = {
        "args": ["--job", request],
        "envFrom": [*sources, *container["envFrom"]],
        "resources": resources,
    }
    return {"restartPolicy": "Never", **pod, "containers": [{**container, **own}]}
