"""Jobs of a resource, as attempts at its work: which, when, and how each ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from featurestore.cli.output import columns, screen_width
from featurestore.humanize import age
from featurestore.kubectl.cluster import GROUP, JOB_LABEL
from featurestore.timestamps import SECOND_US, parse_us

Object = dict[str, Any]
_MARGIN = 2


def jobs_table(jobs: Sequence[Object], pods: Iterable[Object], now_us: int) -> str:
    """Jobs in the order given. ``pods``: of any of them."""
    by_job: dict[str, list[Object]] = {}
    for pod in pods:
        by_job.setdefault((pod["metadata"].get("labels") or {}).get(JOB_LABEL, ""), []).append(pod)
    rows: list[list[object]] = []
    for job in jobs:
        name, made = job["metadata"]["name"], job["metadata"].get("creationTimestamp")
        annotations = job["metadata"].get("annotations") or {}
        ended = _ended(job)
        rows.append(
            [
                name,
                annotations.get(f"{GROUP}/step"),
                annotations.get(f"{GROUP}/attempt"),
                age((now_us - parse_us(made)) / SECOND_US) if made else None,
                age((parse_us(ended) - parse_us(made)) / SECOND_US) if made and ended else None,
                outcome(job, by_job.get(name, ())),
            ]
        )
    width = screen_width()
    header = ["JOB", "WORK", "ATTEMPT", "AGE", "TOOK", "OUTCOME"]
    return columns(header, rows, None if width is None else width - _MARGIN)


def outcome(job: Object, pods: Iterable[Object]) -> str:
    """How a Job ended, in its process' own words where they are still there; or what its pod does.

    >>> outcome({"status": {"conditions": [{"type": "Complete", "status": "True"}]}}, [])
    'succeeded'
    """
    conditions = {
        condition["type"]: condition for condition in _conditions(job) if condition.get("status") == "True"
    }
    if "Complete" in conditions:
        return "succeeded"
    if "Failed" in conditions:
        return "failed: " + (
            _last_words(pods) or conditions["Failed"].get("message") or conditions["Failed"].get("reason", "")
        )
    if (job.get("spec") or {}).get("suspend"):
        return "waits in its queue"
    for pod in pods:
        waiting = _waits(pod)
        if waiting:
            return f"waits: {waiting}"
    return "running" if (job.get("status") or {}).get("active") else "has no pod yet"


def _conditions(job: Object) -> list[Object]:
    return (job.get("status") or {}).get("conditions") or []


def _ended(job: Object) -> str | None:
    status = job.get("status") or {}
    ends = [
        condition.get("lastTransitionTime")
        for condition in _conditions(job)
        if condition["type"] in ("Complete", "Failed")
    ]
    return status.get("completionTime") or next((end for end in ends if end), None)


def _last_words(pods: Iterable[Object]) -> str:
    """What the last container that failed left in its termination log."""
    ends = [
        container["state"]["terminated"]
        for pod in pods
        for container in (pod.get("status") or {}).get("containerStatuses") or ()
        if (container.get("state") or {}).get("terminated", {}).get("exitCode")
    ]
    if not ends:
        return ""
    end = max(ends, key=lambda ended: ended.get("finishedAt") or "")
    try:
        failure = json.loads(end.get("message") or "")
        parts = [f"{word} {failure[part]}" for word, part in _PARTS if failure.get(part)]
        return str(failure["problem"]) + (": " + ", ".join(parts) if parts else "")
    except (ValueError, KeyError, TypeError, AttributeError):
        why = end.get("reason", "Error")
        return f"{why}, exit code {end['exitCode']}"


_PARTS = (("in", "where"), ("wanted", "wanted"), ("got", "got"))


def _waits(pod: Object) -> str:
    """Why a pod does not run; "" if it does."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    if status.get("phase") == "Pending":
        for condition in status.get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return f"no node: {condition.get('message', '')}"
    return ""
