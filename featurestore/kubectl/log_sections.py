"""``logs``: what was logged about a batch, or about other work, wherever it was run: by Jobs, and by workers that stay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from featurestore.kubectl.cluster import GROUP, JOB_LABEL, Cluster, KubectlFailed
from featurestore.timestamps import parse_us

Object = dict[str, Any]
NOTHING = "Nothing that is still there was logged about it: a log goes with its pod."
_MARK = re.compile(r"(?P<time>\S+) \S+ (?P<pipeline>\S+): batch (?P<number>\d+): (?P<what>.*)")
"""A worker's line about a batch, after the time that kubectl gives each line."""
_BEGINS = "begins"
_ENDS = re.compile(r" after [\d.]+ s$")


@dataclass(frozen=True)
class LogSection:
    """What one process logged about a piece of work. ``began_us``: its time, as UTC microseconds."""

    began_us: int
    work: str
    title: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((f"── {self.title}", *self.lines))


def logs_text(resource: Object, cluster: Cluster, batch: int | None) -> str:
    """The log of a batch, or of the newest work of a resource: each attempt at it, the oldest first.

    Raises:
        KubectlFailed: the user may not read logs.
    """
    name = resource["metadata"]["name"]
    jobs = {job["metadata"]["name"]: job for job in cluster.jobs(resource)}
    by_workers = list(_of_workers(resource, cluster)) if resource["kind"] == "DataPipeline" else []
    wanted = f"batch/{name}/{batch}" if batch is not None else _newest(jobs.values(), by_workers)
    sections = [section for section in by_workers if section.work == wanted]
    for pod in cluster.pods(resource):
        job = jobs.get((pod["metadata"].get("labels") or {}).get(JOB_LABEL, ""))
        if job is not None and _work(job) == wanted:
            sections.append(_of_job(job, pod, cluster))
    return "\n\n".join(map(str, sorted(sections, key=lambda section: section.began_us))) or NOTHING


def worker_sections(name: str, pod: str, log: str) -> Iterator[LogSection]:
    """The batches of a pipeline in a worker's log, whose lines begin with their time; a worker runs one at a time."""
    lines: list[str] | None = None
    began_us, number = 0, ""
    for line in log.splitlines():
        mark = _MARK.fullmatch(line)
        if mark is not None and mark["what"] == _BEGINS:
            if lines is not None:
                # Its process was killed, and another one follows in the same container.
                yield _of_batch(name, pod, number, began_us, lines)
            began_us, number = parse_us(mark["time"]), mark["number"]
            lines = [] if mark["pipeline"] == name else None
        if lines is not None:
            lines.append(_without_time(line))
            if mark is not None and _ENDS.search(mark["what"]):
                yield _of_batch(name, pod, number, began_us, lines)
                lines = None
    if lines is not None:
        yield _of_batch(name, pod, number, began_us, lines)


def _of_workers(resource: Object, cluster: Cluster) -> Iterator[LogSection]:
    name = resource["metadata"]["name"]
    for pod in cluster.worker_pods(resource):
        for log in _logs(pod, cluster):
            yield from worker_sections(name, pod["metadata"]["name"], log)


def _logs(pod: Object, cluster: Cluster) -> Iterator[str]:
    """Of the container that runs, and of the one before it, if it was started again."""
    started = [
        each.get("restartCount", 0) for each in (pod.get("status") or {}).get("containerStatuses") or ()
    ]
    for previous in (True, False) if any(started) else (False,):
        try:
            yield cluster.log(pod, previous=previous)
        except KubectlFailed as error:
            _require_may(error)
            cluster.refusals.append(f"the log of worker {pod['metadata']['name']}: {error}")


def _of_batch(name: str, pod: str, number: str, began_us: int, lines: list[str]) -> LogSection:
    return LogSection(began_us, f"batch/{name}/{number}", f"batch {number}, worker {pod}", tuple(lines))


def _of_job(job: Object, pod: Object, cluster: Cluster) -> LogSection:
    metadata = job["metadata"]
    attempt = (metadata.get("annotations") or {}).get(f"{GROUP}/attempt", "1")
    title = f"{_work(job)}, attempt {attempt}, pod {pod['metadata']['name']}"
    try:
        lines = tuple(map(_without_time, cluster.log(pod).splitlines())) or ("It has logged nothing.",)
    except KubectlFailed as error:
        _require_may(error)
        lines = (f"There is no log: {error}",)
    return LogSection(parse_us(metadata["creationTimestamp"]), _work(job), title, lines)


def _newest(jobs: Iterable[Object], sections: Iterable[LogSection]) -> str:
    """The work that was begun last; "" if there is none."""
    begun = [(parse_us(job["metadata"]["creationTimestamp"]), _work(job)) for job in jobs]
    begun += [(section.began_us, section.work) for section in sections]
    return max(begun, default=(0, ""))[1]


def _work(job: Object) -> str:
    """What a Job works at, without the spec and the turn that its step names as well.

    >>> _work({"metadata": {"annotations": {"featurestore.dev/step": "batch/flights/12/0f3a/0"}}})
    'batch/flights/12'
    """
    step: str = (job["metadata"].get("annotations") or {}).get(f"{GROUP}/step", "")
    return "/".join(step.split("/")[:3])


def _without_time(line: str) -> str:
    return line.partition(" ")[2]


def _require_may(error: KubectlFailed) -> None:
    """Raises KubectlFailed if that was what the API server said: no other log would be read either."""
    if "Forbidden" in str(error):
        raise error
