"""One TrainingSet in a cluster: observe its versions; reconcile; start a Job that makes the next one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from featurestore.reconcile.apply import converge
from featurestore.reconcile.state import Desired, Observed
from featurestore.reconcile.training_version import NO_LABELS_URI, observe_training_set
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline, TrainingSet
from featurestore.timestamps import SECOND_US
from featurestore_operator.controllers.job_applier import JobApplier
from featurestore_operator.controllers.pipelines import ReconcileResult
from featurestore_operator.controllers.rebuild_request import requested
from featurestore_operator.jobs.job_manifest import RETRY, Owner
from featurestore_operator.jobs.launcher import Launcher
from featurestore_operator.kube.api_resources import TRAINING_SET_LABEL
from featurestore_operator.namespaces.open_store import OpenStore

_ROUNDS = 4
_LATE_US = 60 * SECOND_US
"""How often a training set is looked at while a Job is under way for it."""


class TrainingSets:
    """Remembers nothing: the state of a training set is a few small objects."""

    def __init__(self, launcher: Launcher, clock: Callable[[], int]) -> None:
        self._launcher, self._clock = launcher, clock

    def look(
        self,
        found: dict[str, Any],
        accepted: Accepted[TrainingSet],
        store: OpenStore,
        jobs: Collection[dict[str, Any]],
    ) -> ReconcileResult:
        """Look, and do what is to be done.

        Raises:
            FeatureStoreError: storage or the API server did not answer.
        """
        namespace, name = found["metadata"]["namespace"], found["metadata"]["name"]
        own = [it for it in jobs if it["metadata"]["labels"].get(TRAINING_SET_LABEL) == name]
        records = self._launcher.records(namespace, own, requested(found, RETRY))
        records = self._launcher.withdraw(namespace, records, accepted.digest)
        now_us = self._clock()
        owner = Owner("TrainingSet", name, found["metadata"]["uid"])
        pod = pod_of(accepted)
        applier = JobApplier(
            self._launcher, store, owner, records, lambda: pod, now_us, running=records.running
        )
        observed = observe_training_set(store.storage, accepted)

        def observe() -> Observed:
            return Observed(
                {"trainingsets": {name: observed}},
                applier.attempts,
                applier.running,
                records.waiting,
                applier.queued,
                records.stuck,
            )

        desired = Desired({"trainingsets": {name: accepted}})
        plan = converge(desired, observe, applier, lambda: now_us, _ROUNDS)
        again_us = now_us + _LATE_US if applier.running or records.waiting else None
        self._launcher.settle(namespace, records, applier.attempts if plan.failing else ())
        return ReconcileResult(
            plan.conditions["trainingsets"][name],
            observed.facts,
            plan.failing.get(f"trainingsets/{name}"),
            min((us for us in (plan.wake_us, again_us) if us is not None), default=None),
        )


def pod_of(accepted: Accepted[TrainingSet]) -> Accepted[DataPipeline]:
    """What its Jobs are like, as of a pipeline: of the one that has its labels, else of its own name."""
    spec, name = accepted.resource.spec, accepted.resource.metadata.name
    source = {
        "uri": spec.labels.uri or NO_LABELS_URI,
        "format": "Parquet",
        "secretRef": spec.labels.secret_ref,
    }
    pipeline = DataPipeline.model_validate(
        {
            "metadata": {"name": spec.labels.pipeline or name},
            "spec": {"source": source, "resources": spec.resources, "job": spec.job},
        }
    )
    return Accepted(accepted.digest, pipeline)
