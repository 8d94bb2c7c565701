"""Starts Jobs, and lets Jobs go whose outcome is recorded elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from featurestore.errors import Conflict, SpecError
from featurestore.failure import as_failure
from featurestore.reconcile.job_pipeline import NO_URI
from featurestore.reconcile.steps import EngineStep, RunBatch
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline
from featurestore.resources.execution import Execution
from featurestore.resources.pod_template import QUEUE_LABEL
from featurestore.retry import FailureStreak
from featurestore_operator.informer.cache import Cache
from featurestore_operator.jobs.attempts import JobAttempt, JobAttempts, NextAttempt
from featurestore_operator.jobs.job_manifest import SPEC, Attempt, JobContext, Owner, job
from featurestore_operator.jobs.job_outcome import annotation, job_outcome
from featurestore_operator.jobs.memory import Learned, memory
from featurestore_operator.jobs.recoveries import Recoveries
from featurestore_operator.jobs.turns import Queued, Turns
from featurestore_operator.jobs.workers import BatchWorkers
from featurestore_operator.kube.api import Api, Exists
from featurestore_operator.kube.api_resources import JOB
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics
from featurestore_operator.policies.permissions import Policies

KEPT_S = 600
"""How long a Job is kept after its outcome is in storage, so that its log can be read."""


class Launcher:
    """``most_each``: Jobs at once of a namespace of which no policy says so. ``clock``: UTC microseconds now."""

    def __init__(
        self,
        cache: Cache,
        api: Api,
        policies: Policies,
        turns: Turns,
        workers: BatchWorkers,
        most_each: int,
        metrics: Metrics,
        clock: Callable[[], int],
        recoveries: Recoveries,
    ) -> None:
        self._recoveries = recoveries
        self._cache, self._api, self._policies = cache, api, policies
        self._turns, self._most_each, self.workers = turns, most_each, workers
        self._metrics, self._clock = metrics, clock
        self._refused: dict[tuple[str, str, str], FailureStreak] = {}

    def records(self, namespace: str, jobs: Iterable[dict[str, Any]], retry: str = "") -> JobAttempts:
        """What these Jobs say. ``retry``: what the annotation of their resource asks for."""
        now_us = self._clock()
        attempts = (
            JobAttempt(
                each,
                job_outcome(each, self._cache.pods(namespace, each["metadata"]["name"]), now_us),
            )
            for each in jobs
        )
        return JobAttempts(attempts, retry, self._recoveries.last_us(namespace))

    def start(
        self,
        work: EngineStep,
        due: NextAttempt,
        pipeline: Accepted[DataPipeline],
        owner: Owner,
        place: JobContext,
        learned: Learned | None,
        bytes_in: int,
    ) -> str | Queued | FailureStreak:
        """What is under way now, as a sentence; or that it waits for its turn; or the refusal of the API server or of a
        policy, which stands for a while.

        A Job of this name that is there already is the one that is wanted.

        Raises:
            TransientError: the API server did not answer.
        """
        now_us, what = self._clock(), (place.namespace, work.key, due.retry)
        refused = self._refused.get(what)
        if refused is not None and refused.next_us > now_us:
            return refused
        asked = memory(pipeline.resource.spec.resources, learned, bytes_in, due.killed)
        wanted = job(work, Attempt(due.number, due.killed, asked, due.retry), pipeline, owner, place)
        try:
            permissions, template = self._policies.of(place.namespace), pipeline.resource.spec.job.template
            permissions.check_template(template, "spec.job.template")
            source = pipeline.resource.spec.source
            if work.uri_field and source.uri and source.uri != NO_URI:
                permissions.check_uri(source.uri, work.uri_field, secret=source.secret_ref is not None)
            sentence = self._warm(work, due, pipeline, place)
            if sentence is not None:
                return sentence
            if QUEUE_LABEL in template.labels:
                # It gets no pod before Kueue lets it.
                self._cache.put(JOB, self._created(wanted))
            else:
                most = permissions.most_jobs or self._most_each
                key, priority = (
                    Key(owner.kind, place.namespace, owner.name),
                    pipeline.resource.spec.job.priority,
                )
                with self._turns.turn(key, work, most, priority) as queued:
                    if queued is not None:
                        return queued
                    self._cache.put(JOB, self._created(wanted))
        except SpecError as error:
            # A missing permission or policy, a quota, a template that is no pod: others mend it, and it is tried again.
            failure = as_failure(error).model_copy(update={"retryable": True})
            refused = FailureStreak.after(refused, now_us, failure)
            self._refused[what] = refused
            return refused
        self._refused.pop(what, None)
        return f"Job {wanted['metadata']['name']} is started"

    def _warm(
        self, work: EngineStep, due: NextAttempt, pipeline: Accepted[DataPipeline], place: JobContext
    ) -> str | None:
        """What a worker that stays does of the work; None if it is a Job's: all but the first attempt at a batch is."""
        spec = pipeline.resource.spec
        if spec.execution is Execution.JOB or not isinstance(work, RunBatch):
            return None
        if work.turn or due.killed or due.number > 1:
            return None
        return self.workers.take(place.namespace, work, spec)

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
        return records.without(outdated)

    def settle(self, namespace: str, records: JobAttempts, planned: Iterable[str]) -> None:
        """Let Kubernetes remove, after a while, Jobs that nobody needs to know of any more."""
        for record in records.settled(planned):
            if record.job["spec"].get("ttlSecondsAfterFinished") is None:
                patch = {"spec": {"ttlSecondsAfterFinished": KEPT_S}}
                self._api.patch(JOB, namespace, record.name, patch)
                self._metrics.job_ended(record.subject, record.outcome_label)
