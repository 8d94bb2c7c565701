"""Starts Jobs, and lets Jobs go whose outcome is recorded elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from featurestore.errors import Conflict, SpecError
from featurestore.failure import as_failure
from featurestore.reconcile.steps import EngineStep
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline
from featurestore.retry import FailureStreak
from featurestore_operator.informer.cache import Cache
from featurestore_operator.jobs.attempts import JobAttempt, JobAttempts, NextAttempt
from featurestore_operator.jobs.job_manifest import SPEC, Attempt, JobContext, Owner, job
from featurestore_operator.jobs.job_outcome import annotation, job_outcome
from featurestore_operator.jobs.memory import Learned, memory
from featurestore_operator.kube.api import Api, Exists
from featurestore_operator.kube.api_resources import JOB
from featurestore_operator.metrics import Metrics
from featurestore_operator.policies.permissions import Policies

KEPT_S = 600
"""How long a Job is kept after its outcome is in storage, so that its log can be read."""


class Launcher:
    """``clock``: UTC microseconds now."""

    def __init__(
        self, cache: Cache, api: Api, policies: Policies, metrics: Metrics, clock: Callable[[], int]
    ) -> None:
        self._cache, self._api, self._policies = cache, api, policies
        self._metrics, self._clock = metrics, clock
        self._refused: dict[tuple[str, str], FailureStreak] = {}

    def records(self, namespace: str, jobs: Iterable[dict[str, Any]]) -> JobAttempts:
        """What these Jobs say."""
        now_us = self._clock()
        return JobAttempts(
            JobAttempt(
                each,
                job_outcome(each, self._cache.pods(namespace, each["metadata"]["name"]), now_us),
            )
            for each in jobs
        )

    def start(
        self,
        work: EngineStep,
        due: NextAttempt,
        pipeline: Accepted[DataPipeline],
        owner: Owner,
        place: JobContext,
        learned: Learned | None,
        bytes_in: int,
    ) -> str | FailureStreak:
        """What is under way now, as a sentence; or the refusal of the API server or of a policy, which stands for a while.

        A Job of this name that is there already is the one that is wanted.

        Raises:
            TransientError: the API server did not answer.
        """
        now_us, refused = self._clock(), self._refused.get((place.namespace, work.key))
        if refused is not None and refused.next_us > now_us:
            return refused
        asked = memory(pipeline.resource.spec.resources, learned, bytes_in, due.killed)
        wanted = job(work, Attempt(due.number, due.killed, asked), pipeline, owner, place)
        try:
            template = pipeline.resource.spec.job.template
            self._policies.of(place.namespace).check_template(template, "spec.job.template")
            self._cache.put(JOB, self._created(wanted))
        except SpecError as error:
            # A missing permission or policy, a quota, a template that is no pod: others mend it, and it is tried again.
            failure = as_failure(error).model_copy(update={"retryable": True})
            refused = FailureStreak.after(refused, now_us, failure)
            self._refused[place.namespace, work.key] = refused
            return refused
        self._refused.pop((place.namespace, work.key), None)
        return f"Job {wanted['metadata']['name']} is started"

    def _created(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """The Job, to be known at once: until a late watch told of it, a view would start what this Job goes on with."""
        try:
            return self._api.create(JOB, wanted)
        except Exists:
            return self._api.get(JOB, wanted["metadata"]["namespace"], wanted["metadata"]["name"])

    def withdraw(self, namespace: str, records: JobAttempts, spec: str) -> JobAttempts:
        """What is left after deleting the Jobs that still wait under an older spec of the pipeline.

        ``spec``: digest of the accepted one.

        It may be for an image that is mended by now. A Job that runs is left to its end: two at the same work
        would do it twice, and one of them for nothing.
        """
        outdated = [
            attempt for attempt in records.all if attempt.waits and annotation(attempt.job, SPEC) != spec
        ]
        for record in outdated:
            # Another Job may have its name by now.
            with suppress(Conflict):
                self._api.delete(JOB, namespace, record.name, record.job["metadata"]["uid"])
        return JobAttempts(attempt for attempt in records.all if attempt not in outdated)

    def settle(self, namespace: str, records: JobAttempts, planned: Iterable[str]) -> None:
        """Let Kubernetes remove, after a while, Jobs that nobody needs to know of any more."""
        for record in records.settled(planned):
            if record.job["spec"].get("ttlSecondsAfterFinished") is None:
                patch = {"spec": {"ttlSecondsAfterFinished": KEPT_S}}
                self._api.patch(JOB, namespace, record.name, patch)
                self._metrics.job_ended(record.subject, record.outcome_label)
