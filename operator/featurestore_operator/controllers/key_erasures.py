"""One Erasure in a cluster: a Job erases its keys, as often as it takes, and the signed record says when it is done.

The Job has all in its hands, with the credentials of the namespace; here is only whether its record is there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from featurestore.erasure.begin import requested_erasure
from featurestore.erasure.coverage import cover
from featurestore.erasure.record import ErasureRecord, read_erasure_record
from featurestore.errors import NotFound, RequestError
from featurestore.reconcile.conditions import Condition, false, true
from featurestore.reconcile.draft import PlanDraft
from featurestore.reconcile.job_pipeline import job_pipeline
from featurestore.reconcile.reasons import Reason
from featurestore.reconcile.steps import EraseKeys
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline
from featurestore.resources.key_erasure import KeyErasure, KeyReturn
from featurestore.storage import paths
from featurestore.timestamps import SECOND_US
from featurestore_operator.controllers.job_applier import JobApplier
from featurestore_operator.controllers.status_fields import time_of
from featurestore_operator.controllers.subject import ReconcileResult, Subject
from featurestore_operator.jobs.launcher import Launcher
from featurestore_operator.namespaces.open_store import OpenStore
from featurestore_operator.policies.permissions import NotAllowed, Policies

_AGAIN_US = 60 * SECOND_US
"""How often one is looked at that is under way, or lacks what it names."""


class KeyErasures:
    """``clock``: UTC microseconds now."""

    def __init__(self, policies: Policies, launcher: Launcher, clock: Callable[[], int]) -> None:
        self._policies, self._launcher, self._clock = policies, launcher, clock

    def look(self, subject: Subject[KeyErasure]) -> ReconcileResult:
        """Look, and start the Job if it is due.

        Raises:
            FeatureStoreError: storage or the API server did not answer.
        """
        store, spec = subject.store, subject.accepted.resource.spec
        namespace, name, uid = subject.namespace, subject.name, subject.owner.uid
        records = self._launcher.records(namespace, subject.jobs, subject.retry)
        begun = requested_erasure(store.storage, uid)
        record = read_erasure_record(store.storage, begun.number) if begun is not None else None
        if record is not None:
            self._launcher.settle(namespace, records, ())
            return _done(record, store)
        facts = {"number": begun.number} if begun is not None else {}
        try:
            secret = spec.keys.secret_ref or store.place.secret
            self._policies.of(namespace).check_uri(spec.keys.uri, "spec.keys.uri", secret=secret is not None)
            if begun is not None:
                names: Collection[str] = begun.pipelines
            else:
                names = cover(store.storage, entity=spec.entity, view=spec.view).pipelines
            pipeline = job_pipeline(_first(store, names), secret=spec.keys.secret_ref)
        except NotAllowed as error:
            return self._waits(false("Ready", Reason.NOT_ALLOWED, str(error)), facts)
        except (NotFound, RequestError) as error:
            return self._waits(false("Ready", Reason.RESOURCE_MISSING, str(error)), facts)
        step = EraseKeys(
            name=name,
            wish=uid,
            asked_by=f"Erasure {namespace}/{name}",
            uri=spec.keys.uri,
            entity=spec.entity,
            view=spec.view,
            allow_return=spec.may_return is KeyReturn.LATER_FILES,
        )
        now_us = self._clock()
        applier = JobApplier(
            self._launcher,
            store,
            subject.owner,
            records,
            lambda: pipeline,
            now_us,
            running=records.running,
        )
        draft = _drafted(step, applier, now_us)
        if draft.steps:
            applier.run(step)
            draft = _drafted(step, applier, now_us)
        self._launcher.settle(namespace, records, {step.key})
        ready = draft.unstarted() or draft.unready(
            Reason.ERASING, "Its keys are being erased, and stay away from when it has begun."
        )
        return ReconcileResult(
            (ready, draft.progressing(), draft.degraded()),
            facts,
            draft.failing,
            min([now_us + _AGAIN_US, *draft.wakes]),
        )

    def _waits(self, ready: Condition, facts: dict[str, Any]) -> ReconcileResult:
        idle = false("Progressing", Reason.WAITING, ready.message)
        return ReconcileResult((ready, idle), facts, None, self._clock() + _AGAIN_US)


def _drafted(step: EraseKeys, applier: JobApplier, now_us: int) -> PlanDraft:
    draft = PlanDraft(f"erasure/{step.name}", applier.observed({}), now_us)
    draft.add_step(step)
    return draft


def _first(store: OpenStore, names: Collection[str]) -> Accepted[DataPipeline]:
    """The first of these pipelines that is there: how its Jobs are is how the Job of the erasure is.

    Raises:
        NotFound: none is.
    """
    for name in sorted(names):
        pipeline = store.registry.current(DataPipeline, name)
        if pipeline is not None:
            return pipeline
    raise NotFound("none of the pipelines is there whose rows are to be erased", got=", ".join(sorted(names)))


def _done(record: ErasureRecord, store: OpenStore) -> ReconcileResult:
    rows = sum(table.rows for table in record.tables)
    sources = len({source.uri for source in record.sources})
    facts = {
        "number": record.number,
        "keys": record.keys,
        "rows": rows,
        "sources": sources,
        "finishTime": time_of(record.finished_us),
        "record": store.storage.uri(paths.erasure_record(record.number)),
        "keyId": record.key_id,
        "signature": record.signature,
    }
    left = f" {sources:,} source files still have them: its record names them." if sources else ""
    sentence = (
        true("Ready", Reason.UP_TO_DATE, f"Erasure {record.number} is done and signed.{left}"),
        false("Progressing", Reason.IDLE, "Nothing is to be done."),
        false("Degraded", Reason.NOTHING_FAILS, "Nothing fails."),
    )
    return ReconcileResult(sentence, facts, None, None)
