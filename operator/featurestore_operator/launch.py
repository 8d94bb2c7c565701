"""Starts Jobs, and lets those go whose outcome is known from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from featurestore.registry import Accepted
from featurestore.resources import DataPipeline
from featurestore_operator.api import Api
from featurestore_operator.informer import Cache
from featurestore_operator.job_manifest import Owner, Place, Try, Work, job
from featurestore_operator.memory import Learned, memory
from featurestore_operator.record import Due, JobRecord, Records
from featurestore_operator.verdict import verdict

KEPT_S = 600
"""So long is a Job kept for people who look for its log, after its outcome stands in storage."""


class Launcher:
    """``clock``: UTC microseconds now."""

    def __init__(self, cache: Cache, api: Api, clock: Callable[[], int]) -> None:
        self._cache = cache
        self._api = api
        self._clock = clock

    def records(self, namespace: str, jobs: Iterable[dict[str, Any]]) -> Records:
        """What these Jobs tell."""
        now_us = self._clock()
        return Records(
            JobRecord(it, verdict(it, self._cache.pods(namespace, it["metadata"]["name"]), now_us))
            for it in jobs
        )

    def start(
        self,
        work: Work,
        due: Due,
        pipeline: Accepted[DataPipeline],
        owner: Owner,
        place: Place,
        learned: Learned | None,
        bytes_in: int,
    ) -> str:
        """What is under way now, as a sentence. A Job of this name that is there already is the one that is wanted.

        Raises:
            FeatureStoreError: the API server refused it, or did not answer.
        """
        asked = memory(pipeline.resource.spec.resources, learned, bytes_in, due.killed)
        wanted = job(work, Try(due.number, due.killed, asked), pipeline, owner, place)
        self._api.create(wanted)
        more = ""
        if due.killed:
            most = ", which is spec.resources.memoryLimit" if asked.final else ""
            more = f" with {asked.limit_bytes >> 20} MiB after it ran out of memory{most}"
        return f"Job {wanted['metadata']['name']} is started{more}"

    def settle(self, namespace: str, records: Records, planned: Iterable[str]) -> None:
        """Let Kubernetes remove, after a while, Jobs that nobody needs to know of any more."""
        for record in records.settled(planned):
            if record.job["spec"].get("ttlSecondsAfterFinished") is None:
                patch = {"spec": {"ttlSecondsAfterFinished": KEPT_S}}
                self._api.patch("batch/v1", "Job", namespace, record.name, patch)
