"""What became of a Job, from what the API server says of it and of its pods.

The last failed Job of a step is the record of its attempts: count, time and failure are read off it, so an operator
that restarts backs off where the last one stopped.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from featurestore.arrivals.crash import is_from_outside
from featurestore.arrivals.isolation import Isolation, Trial
from featurestore.failure import Failure
from featurestore.humanize import count, size
from featurestore.retry import FailureStreak
from featurestore.timestamps import SECOND_US, parse_us
from featurestore_operator.jobs.job_manifest import ATTEMPT, BATCH, CONTAINER, KILLED, STEP, TURN

_OUT_OF_MEMORY = "OOMKilled"
NO_NODE_US = 60 * SECOND_US
"""How long a cluster may take to find or make a node, before that is a fault."""
NO_START_US = 180 * SECOND_US
"""How long a node may take to start a container: an image of a gigabyte takes a minute or two."""


@dataclass(frozen=True, slots=True)
class Running:
    """The Job is under way. ``sentence``: human-readable. ``waiting``: its pod does not run, and the sentence says why.

    ``stuck``: the pod has a node and cannot start, and will not before somebody mends something. ``late``: it waits for
    longer than is usual.
    """

    sentence: str
    waiting: bool
    stuck: bool = False
    late: bool = False


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The Job completed."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The Job failed. ``killed``: OOM kills in a row up to now, this one included if it is one."""

    attempt: FailureStreak
    killed: int


JobOutcome = Running | Succeeded | Failed


def job_outcome(job: dict[str, Any], pods: list[dict[str, Any]], now_us: int) -> JobOutcome:
    """What became of the Job."""
    conditions = {
        condition["type"]: condition
        for condition in job.get("status", {}).get("conditions", ())
        if condition.get("status") == "True"
    }
    if "Complete" in conditions:
        return Succeeded()
    if "Failed" in conditions:
        return _failed(job, pods, conditions["Failed"], now_us)
    return _running(job, pods, now_us)


def annotation(job: dict[str, Any], name: str) -> str | None:
    """What the Job is annotated with under this name, if it is."""
    return (job["metadata"].get("annotations") or {}).get(name)


def step_of(job: dict[str, Any]) -> str:
    """Key of the step that the Job does; "" if it does not say."""
    return str(annotation(job, STEP) or "")


def attempt_of(job: dict[str, Any]) -> int:
    """Which attempt it is, from 1."""
    return _whole(annotation(job, ATTEMPT), 1)


def batch_of(job: dict[str, Any]) -> int:
    """Number of the batch that the Job runs; 0 if it runs none."""
    return _whole(job["metadata"]["labels"].get(BATCH), 0)


def piece_of(job: dict[str, Any]) -> int:
    """First batch of the piece of a rebuild that the Job runs; 0 if it runs none."""
    kind, _, rest = step_of(job).partition("/")
    return _whole(rest.split("/")[2], 0) if kind == "piece" else 0


def turn_of(job: dict[str, Any]) -> int:
    """Which attempt at its batch it makes, see :mod:`featurestore.arrivals.isolation`."""
    return _whole(annotation(job, TURN), 0)


def memory_limit(job: dict[str, Any]) -> int | None:
    """The bytes that its container may hold; None if the Job does not say so in bytes."""
    limit = (
        job["spec"]["template"]["spec"]["containers"][0].get("resources", {}).get("limits", {}).get("memory")
    )
    return int(limit) if limit and limit.isdigit() else None


def crash_trial(job: dict[str, Any], failed: Failed, isolation: Isolation, most_memory: int) -> Trial:
    """The trial that a Job was which crashed in the attempt that ``isolation`` calls for.

    ``most_memory``: bytes that an attempt may get at last.
    """
    failure, limit = failed.attempt.failure, memory_limit(job)
    return Trial(
        first=isolation.first,
        stop=isolation.stop,
        ended_us=failed.attempt.last_us,
        crash=failure,
        outside=is_from_outside(failure),
        wants_memory=failure.type == "OutOfMemory" and limit is not None and limit < most_memory,
    )


def lost(job: dict[str, Any], now_us: int) -> Failed:
    """The failure of a Job that completed and left no result: somebody removed it, or the Job wrote elsewhere."""
    failure = Failure(
        type="TransientError",
        problem="the Job succeeded, but its result is not in storage",
        where=f"Job {job['metadata']['name']}",
        wanted="what its commit left below ledger/ or features/",
        got="nothing",
        hint="It is run again: what is committed is found committed. Does the Job write to this storage root?",
        retryable=True,
    )
    ended = _time(job.get("status", {}).get("completionTime"))
    return Failed(FailureStreak(attempt_of(job), ended or now_us, failure), 0)


def _failed(
    job: dict[str, Any], pods: list[dict[str, Any]], condition: dict[str, Any], now_us: int
) -> Failed:
    before = _whole(annotation(job, KILLED), 0)
    ended_us = _time(condition.get("lastTransitionTime")) or now_us
    ended = _terminated(pods)
    oom = ended.get("reason") == _OUT_OF_MEMORY
    failure = _failure(job, condition, ended)
    return Failed(FailureStreak(attempt_of(job), ended_us, failure), before + 1 if oom else 0)


def _failure(job: dict[str, Any], condition: dict[str, Any], ended: dict[str, Any]) -> Failure:
    where = f"Job {job['metadata']['name']}"
    limit = _limit(job)
    if ended.get("reason") == _OUT_OF_MEMORY:
        return Failure(
            type="OutOfMemory",
            problem="the Job ran out of memory and was killed",
            where=where,
            wanted=f"at most {limit}",
            got=f"{_OUT_OF_MEMORY}, exit code {ended.get('exitCode', 137)}",
            hint="It is run again with twice as much, up to spec.resources.memoryLimit; "
            "a smaller spec.trigger.arrivals.maxBytes makes batches smaller",
            retryable=True,
        )
    if condition.get("reason") == "DeadlineExceeded":
        return Failure(
            # A Job that waited for a node or an image until then has not run.
            type="OutOfTime" if ended else "TransientError",
            problem="the Job did not finish in time",
            where=where,
            wanted=f"an end within {job['spec'].get('activeDeadlineSeconds')} s (spec.job.activeDeadline)",
            got=str(condition.get("message", "")),
            hint="Nothing is lost or doubled. Raise spec.job.activeDeadline, or make batches smaller",
            retryable=True,
        )
    failure = _reported_failure(ended)
    if failure is not None:
        return failure
    got = _exit(ended["exitCode"]) if "exitCode" in ended else str(condition.get("reason", "no pod"))
    words = str(ended.get("message", "") or condition.get("message", "")).strip()
    return Failure(
        type="WorkerKilled" if "exitCode" in ended else "TransientError",
        problem="the Job died without saying why",
        where=where,
        got=got + (f"; its last words: {words[-1000:]}" if words else ""),
        hint=f"kubectl logs job/{job['metadata']['name']} says more while its pod is kept",
        retryable=True,
    )


def _exit(code: int) -> str:
    """The exit code, and the signal that it stands for.

    >>> _exit(139), _exit(1)
    ('exit code 139, signal SIGSEGV', 'exit code 1')
    """
    with suppress(ValueError):
        return f"exit code {code}, signal {signal.Signals(code - 128).name}"
    return f"exit code {code}"


def _reported_failure(ended: dict[str, Any]) -> Failure | None:
    """The failure that the process wrote to its termination log; None if it wrote something else."""
    try:
        return Failure.model_validate_json(ended.get("message", ""))
    except ValidationError:
        return None


def _running(job: dict[str, Any], pods: list[dict[str, Any]], now_us: int) -> Running:
    name = job["metadata"]["name"]
    killed = _whole(annotation(job, KILLED), 0)
    if killed:
        name += f", with {_limit(job)} after {count(killed, 'OOM kill')},"
    if job["spec"].get("suspend"):
        return Running(f"Job {name} waits in its queue", waiting=True)
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    for pod in alive:
        status = pod.get("status", {})
        for container in status.get("containerStatuses", ()):
            waiting = container.get("state", {}).get("waiting")
            if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                why = f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
                return Running(f"Job {name} cannot start its container: {why}", waiting=True, stuck=True)
        # What once found no node may have found one; the condition is only told anew while it looks for one.
        for condition in status.get("conditions", ()) if status.get("phase") == "Pending" else ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                late = _lasts(condition.get("lastTransitionTime"), NO_NODE_US, now_us)
                why = f"Job {name} finds no node: {condition.get('message', '')}"
                return Running(why, waiting=True, late=late)
        if status.get("phase") == "Pending" and _lasts(status.get("startTime"), NO_START_US, now_us):
            # What the kubelet waits for, such as a network or a volume, is in Events only.
            pod_name = pod["metadata"]["name"]
            why = f"Job {name} has not started its container since {status['startTime']}"
            hint = f": kubectl describe pod {pod_name} says why"
            return Running(why + hint, waiting=True, late=True)
    if not alive:
        lost = _disruption(pods)
        if lost:
            return Running(f"Job {name} lost its pod and gets another one: {lost}", waiting=True)
        return Running(f"Job {name} has no pod yet", waiting=True)
    return Running(f"Job {name} is running", waiting=False)


def _lasts(since: str | None, most_us: int, now_us: int) -> bool:
    since_us = _time(since)
    return since_us is not None and now_us - since_us > most_us


def _disruption(pods: list[dict[str, Any]]) -> str:
    """Why Kubernetes ended a pod that did nothing wrong: eviction, a drained node, preemption; "" if it did not."""
    for pod in pods:
        for condition in pod.get("status", {}).get("conditions", ()):
            if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
                return str(condition.get("message") or condition.get("reason", ""))
    return ""


def _terminated(pods: list[dict[str, Any]]) -> dict[str, Any]:
    """How the last container ended; {} if no pod says."""
    ends = [
        container["state"]["terminated"]
        for pod in pods
        for container in pod.get("status", {}).get("containerStatuses", ())
        if container.get("name") == CONTAINER and "terminated" in container.get("state", {})
    ]
    return max(ends, key=lambda end: end.get("finishedAt") or "", default={})


def _limit(job: dict[str, Any]) -> str:
    container = job["spec"]["template"]["spec"]["containers"][0]
    limit = container.get("resources", {}).get("limits", {}).get("memory")
    # As we wrote it, in bytes; whoever changes the Job may write it in another way.
    return size(int(limit)) if limit and limit.isdigit() else str(limit or "no limit")


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdigit() else otherwise


def _time(text: str | None) -> int | None:
    """RFC 3339 to UTC microseconds."""
    return parse_us(text) if text else None
