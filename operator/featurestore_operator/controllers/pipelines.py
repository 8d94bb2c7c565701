"""One DataPipeline in a cluster: observe its source, ledger and Jobs; reconcile; close batches and start Jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from featurestore.arrivals.backlog import Backlog
from featurestore.arrivals.crash import is_crash
from featurestore.arrivals.lag import offsets
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Action
from featurestore.arrivals.notifications.pending_hints import PendingHints
from featurestore.arrivals.notifications.receiver import PATH, SHORTEST_TOKEN
from featurestore.arrivals.notifications.subscriptions import Subscriptions
from featurestore.arrivals.result import BatchResult
from featurestore.arrivals.source_kinds import open_source
from featurestore.errors import NotFound, TransientError
from featurestore.reconcile.apply import converge
from featurestore.reconcile.conditions import Condition, false, true
from featurestore.reconcile.observe import observe_pipeline
from featurestore.reconcile.reasons import Reason
from featurestore.reconcile.state import Desired, Observed, ObservedPipeline
from featurestore.reconcile.steps import RunBatch
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline
from featurestore.resources.data_pipeline import Suspend
from featurestore.resources.notifications import TOKEN_KEY, Carrier, Notifications
from featurestore.retry import FailureStreak
from featurestore_operator.controllers.job_applier import JobApplier
from featurestore_operator.controllers.last_batches import last_batches
from featurestore_operator.controllers.pipeline_rebuild import (
    AGAIN_US,
    RefusedRebuild,
    begin_rebuild,
    due_step,
    rebuilt,
    record_crash,
    request_of,
    under_way,
)
from featurestore_operator.controllers.rebuild_request import REFRESH, requested
from featurestore_operator.controllers.status_fields import facts_of, time_of
from featurestore_operator.controllers.subject import ReconcileResult, Subject
from featurestore_operator.jobs.attempts import JobAttempts, is_stuck
from featurestore_operator.jobs.job_manifest import BATCH, REBUILD_LABEL
from featurestore_operator.jobs.job_outcome import Failed, Running, batch_of, crash_trial, turn_of
from featurestore_operator.jobs.launcher import Launcher
from featurestore_operator.jobs.memory import Learned
from featurestore_operator.kube.object_key import Key
from featurestore_operator.metrics import Metrics
from featurestore_operator.namespaces.open_store import SECRET_US, OpenStore, Stores
from featurestore_operator.namespaces.webhook_tokens import WebhookTokens, token_secret
from featurestore_operator.policies.permissions import NotAllowed, Permissions, Policies

_ROUNDS = 4
"""A closed batch runs at once; a fixed point is reached long before this."""


@dataclass(frozen=True, slots=True)
class _OpenBacklog:
    """A backlog, and what it was made of: another spec or other credentials need another one."""

    digest: str
    environ: Mapping[str, str] | None
    backlog: Backlog


@dataclass(slots=True)
class KnownPipeline:
    """What is remembered of a pipeline between looks. It saves work, and may be forgotten at any time."""

    store: OpenStore
    ledger: Ledger
    backlog: _OpenBacklog | None = None
    observed: ObservedPipeline | None = None
    result: BatchResult | None = None
    refused: RefusedRebuild | None = None
    asked: tuple[str, str] | None = None
    permissions: Permissions | None = None
    secret: str | None = None
    unheard: Reason | None = None


class Pipelines:
    """Keeps one :class:`KnownPipeline` per pipeline. A pipeline is in the hands of one thread at a time.

    ``receives``: whether this process listens for notifications.
    """

    def __init__(
        self,
        stores: Stores,
        policies: Policies,
        launcher: Launcher,
        metrics: Metrics,
        clock: Callable[[], int],
        *,
        receives: bool = False,
    ) -> None:
        self._stores, self._policies, self._launcher = stores, policies, launcher
        self._metrics, self._clock, self._receives = metrics, clock, receives
        # Whoever has the keys of pipelines says what is done with what is heard.
        self.subscriptions = Subscriptions(lambda address, urls: None)
        self._tokens, self._hints = WebhookTokens(stores, clock), PendingHints[tuple[str, str]]()
        self._known: dict[tuple[str, str], KnownPipeline] = {}
        self._lock = threading.Lock()

    def forget(self, namespace: str, name: str) -> None:
        with self._lock:
            self._known.pop((namespace, name), None)
        self.subscriptions.attend(f"{namespace}/{name}", None, None)
        self._hints.take((namespace, name))

    def token(self, namespace: str, name: str) -> str | None:
        """What senders of a pipeline's notifications must show; None if it takes none, as far as is known.

        Raises:
            TransientError: it was not looked at yet, or the API server did not answer.
        """
        known = self._known.get((namespace, name))
        if known is None or known.observed is None:
            raise TransientError("the pipeline was not looked at yet", where=f"{namespace}/{name}")
        return self._tokens.token(namespace, known.secret) if known.secret else None

    def hint(self, namespace: str, name: str, urls: Iterable[str]) -> bool:
        """Have the next look look at these objects, if they are of the pipeline's source; whether one is."""
        known = self._known.get((namespace, name))
        if known is None or known.backlog is None:
            return False  # It is suspended, and lists its source when it goes on.
        uris = known.backlog.backlog.source.named(urls)
        if uris:
            self._metrics.hints_dropped(self._hints.add((namespace, name), uris))
        return bool(uris)

    def observed(self, namespace: str, name: str, store: OpenStore) -> ObservedPipeline:
        """A pipeline as it was last looked at, or as storage has it.

        Raises:
            StorageError: storage did not answer.
        """
        known = self._known.get((namespace, name))
        if known is not None and known.store is store and known.observed is not None:
            return known.observed
        ledger = Ledger(store.storage, name)
        return observe_pipeline(ledger, ledger.last_result(), None)

    def rests(self, namespace: str, name: str) -> int | None:
        """When to look again at the source of a pipeline that rests; None: it no longer rests."""
        known = self._known.get((namespace, name))
        if known is None or known.backlog is None:
            return None
        if known.permissions is not None and not self._policies.are_current(known.permissions):
            return None
        backlog = known.backlog.backlog
        return backlog.next_us if backlog.rests(self._clock()) else None

    def look(self, subject: Subject[DataPipeline]) -> ReconcileResult:
        """Look, and do what is to be done.

        Raises:
            FeatureStoreError: storage or the API server did not answer.
        """
        obj, accepted, store = subject.obj, subject.accepted, subject.store
        namespace, name = subject.namespace, subject.name
        known = self._open(namespace, name, store)
        known.secret = token_secret(name, accepted.resource.spec)
        known.permissions = self._policies.of(namespace)
        known.unheard = self._subscribe(accepted, store)
        jobs = [job for job in subject.jobs if {BATCH, REBUILD_LABEL} & job["metadata"]["labels"].keys()]
        attempts = self._launcher.records(namespace, jobs, subject.retry)
        attempts = self._launcher.withdraw(namespace, attempts, accepted.digest)
        self._record_crashes(known.ledger, attempts, accepted)
        record_crash(known.ledger, attempts, accepted.resource.spec.resources.most_memory)
        looked_up = self._looked_up(namespace, accepted, store)
        now_us = self._clock()
        try:
            backlog = self._backlog(known, accepted, store)
        except NotFound as error:
            return _cannot_list(obj, Reason.SECRET_MISSING, str(error), now_us)
        except NotAllowed as error:
            return _cannot_list(obj, Reason.NOT_ALLOWED, str(error), now_us)
        asked = requested(obj, REFRESH), subject.retry
        if backlog is not None:
            if known.asked not in (None, asked):
                backlog.refresh()
            known.asked = asked
            backlog.look(now_us, self._hints.take((namespace, name)))
            known.refused = begin_rebuild(
                known.ledger, backlog.source, request_of(obj, accepted.digest), known.refused, now_us
            )
        applier = JobApplier(
            self._launcher,
            store,
            subject.owner,
            attempts,
            lambda: accepted,
            now_us,
            running=_under_way(attempts, accepted, known.ledger, waiting=False),
            ledger=known.ledger,
            backlog=backlog,
            learned=learned(obj),
        )
        waiting = _under_way(attempts, accepted, known.ledger, waiting=True)
        of_stuck = JobAttempts(attempt for attempt in attempts.all if is_stuck(attempt.outcome))
        stuck = _under_way(of_stuck, accepted, known.ledger, waiting=True)

        def observe() -> Observed:
            result = known.ledger.last_result(known.result)
            observed = observe_pipeline(known.ledger, result, backlog)
            self._count(obj, known, result)
            known.observed, known.result = observed, result
            running = dict(applier.running)
            step = due_step(name, observed.rebuild, observed.done)
            sentence = under_way(attempts, step, observed.rebuild.rebuild if observed.rebuild else None)
            if step is not None and sentence:
                running[step.key] = sentence
            return Observed(
                {"pipelines": {**looked_up, name: observed}},
                applier.attempts,
                running,
                waiting,
                applier.queued,
                stuck,
            )

        plan = converge(Desired({"pipelines": {name: accepted}}), observe, applier, lambda: now_us, _ROUNDS)
        observed = known.observed
        assert observed is not None
        pending = RunBatch(name, observed.done + 1, accepted.digest, observed.isolation.turn).key
        due = due_step(name, observed.rebuild, observed.done)
        planned = {pending} if observed.head > observed.done else set()
        self._launcher.settle(namespace, attempts, planned | ({due.key} if due is not None else set()))
        again_us = known.refused.streak.next_us if known.refused else None
        next_us = [
            us for us in (plan.wake_us, again_us, backlog.next_us if backlog else None) if us is not None
        ]
        rebuild_condition, rebuild = rebuilt(
            known.ledger,
            requested(obj),
            known.refused,
            observed.rebuild,
            applier.attempts.get(due.key) if due is not None else None,
            suspended=backlog is None,
        )
        if rebuild_condition is not None and rebuild_condition.reason == Reason.WAITING:
            again_us = now_us + AGAIN_US
            next_us.append(again_us)
        facts = _facts(obj, known, observed, backlog)
        if accepted.resource.spec.source.is_stream and backlog is not None:
            facts["lag"] = _lag(known.ledger, observed, backlog)
        return ReconcileResult(
            (
                *plan.pipelines[name],
                *self._notified(obj, known, accepted.resource.spec.trigger.notifications),
                *((rebuild_condition,) if rebuild_condition is not None else ()),
            ),
            {**facts, "rebuild": rebuild},
            plan.failing.get(f"pipelines/{name}"),
            min(next_us, default=None),
            rests=not any(
                (
                    plan.steps,
                    plan.failing,
                    applier.running,
                    applier.queued,
                    waiting,
                    plan.wake_us,
                    due,
                    again_us,
                )
            ),
        )

    def _subscribe(self, accepted: Accepted[DataPipeline], store: OpenStore) -> Reason | None:
        """Subscribe to what tells of a pipeline's objects; why not, if that may not be."""
        spec, namespace = accepted.resource.spec, store.place.namespace
        carrier = spec.trigger.notifications.carrier if spec.trigger.notifications else None
        address = f"{namespace}/{accepted.resource.metadata.name}"
        if carrier is None or spec.suspend is Suspend.SUSPENDED:
            self.subscriptions.attend(address, None, None)
            return None
        try:
            permissions = self._policies.of(namespace)
            for uri in carrier.opened:
                permissions.check_uri(
                    uri, "spec.trigger.notifications", secret=carrier.secret_ref is not None
                )
            # Without a Secret nobody logs in: what the operator has in its environment is its own.
            environ = self._stores.credentials(namespace, carrier.secret_ref) or {}
        except (NotFound, NotAllowed) as error:
            self.subscriptions.attend(address, None, None)
            return Reason.NOT_ALLOWED if isinstance(error, NotAllowed) else Reason.SECRET_MISSING
        self.subscriptions.attend(address, carrier, environ)
        return None

    def _notified(
        self, obj: dict[str, Any], known: KnownPipeline, wanted: Notifications | None
    ) -> Iterator[Condition]:
        """Whether notifications are taken; nothing of a pipeline that wants none."""
        key = obj["metadata"]["namespace"], obj["metadata"]["name"]
        if wanted is not None and wanted.carrier is not None:
            yield self._heard("/".join(key), known.unheard, wanted.carrier)
        if known.secret is None:
            return
        if not self._receives:
            why = (
                "The operator does not listen for notifications: files are found by listing its source only."
            )
            yield false("Notified", Reason.NOT_RECEIVING, why)
        elif self._tokens.token(key[0], known.secret) is None:
            token = f"{TOKEN_KEY!r} of at least {SHORTEST_TOKEN} characters"
            why = f"Files are found by listing the source only, until there is a Secret {known.secret!r} with a {token}."
            yield false("Notified", Reason.SECRET_MISSING, why)
        else:
            yield true("Notified", Reason.RECEIVING, f"Notifications are received at {PATH}{'/'.join(key)}.")

    def _heard(self, address: str, unheard: Reason | None, carrier: Carrier) -> Condition:
        """Whether notifications are subscribed to."""
        if unheard is not None:
            why = f"Files are found by listing only: the login to {carrier.place} is not there, or no policy allows it."
            return false("Notified", unheard, why)
        if failure := self.subscriptions.failure(address):
            return false("Notified", Reason.NOT_RECEIVING, f"Files are found by listing only: {failure}")
        return true("Notified", Reason.RECEIVING, f"Notifications are received from {carrier.place}.")

    def _record_crashes(
        self, ledger: Ledger, attempts: JobAttempts, accepted: Accepted[DataPipeline]
    ) -> None:
        """Record how Jobs crashed: it decides what is attempted next."""
        number = ledger.committed_batch() + 1
        for attempt in attempts.all:
            if batch_of(attempt.job) != number or not isinstance(attempt.outcome, Failed):
                continue
            failure, isolation = attempt.outcome.attempt.failure, ledger.isolation(number)
            is_current = turn_of(attempt.job) == isolation.turn and isolation.first != isolation.stop
            if not is_crash(failure) or not is_current:
                continue
            most_memory = accepted.resource.spec.resources.most_memory
            trial = crash_trial(attempt.job, attempt.outcome, isolation, most_memory)
            ledger.try_trial(number, isolation.turn, trial)

    def _open(self, namespace: str, name: str, store: OpenStore) -> KnownPipeline:
        with self._lock:
            known = self._known.get((namespace, name))
            if known is None or known.store is not store:
                # Another root, or other credentials: nothing that was remembered holds.
                known = self._known[namespace, name] = KnownPipeline(store, Ledger(store.storage, name))
            return known

    def _backlog(
        self, known: KnownPipeline, accepted: Accepted[DataPipeline], store: OpenStore
    ) -> Backlog | None:
        """What waits at the source; None while the pipeline is suspended.

        Raises:
            NotFound: its credentials are not there.
            NotAllowed: the namespace may not have the operator open it.
        """
        spec = accepted.resource.spec
        if spec.suspend is Suspend.SUSPENDED:
            known.backlog = None
            return None
        place, secret = store.place, spec.source.credentials or store.place.secret
        permissions = self._policies.of(place.namespace)
        for uri in spec.source.opened:
            permissions.check_uri(uri, f"spec.source.{spec.source.kind}", secret=secret is not None)
        kept = known.backlog
        if kept is not None and kept.digest == accepted.digest and kept.backlog.failure is None:
            return kept.backlog
        own = self._stores.credentials(place.namespace, spec.source.credentials)
        environ = store.environ if own is None else own
        if kept is not None and (kept.digest, kept.environ) == (accepted.digest, environ):
            return kept.backlog
        # No source that is accepted in a cluster is relative to anything.
        source = open_source(spec.source, "/", environ)
        backlog = Backlog(known.ledger, source, spec.trigger)
        known.backlog = _OpenBacklog(accepted.digest, environ, backlog)
        return known.backlog.backlog

    def _looked_up(
        self, namespace: str, accepted: Accepted[DataPipeline], store: OpenStore
    ) -> dict[str, ObservedPipeline | FailureStreak]:
        return {
            name: self.observed(namespace, name, store)
            for name in accepted.resource.spec.looked_up
            # One that is not there has no ledger either, and would pass for one that waits for its first file.
            if (namespace, name) in self._known
            or store.registry.accepted_digest(DataPipeline, name) is not None
        }

    def _count(self, obj: dict[str, Any], known: KnownPipeline, now: BatchResult | None) -> None:
        """Count a batch that was committed since the last look; those before the first look are history."""
        key = Key("DataPipeline", obj["metadata"]["namespace"], obj["metadata"]["name"])
        before = 0 if known.result is None else known.result.number
        if known.observed is None:
            self._metrics.begin(key)
        elif now is not None and now.number > before:
            self._metrics.batch_committed(key, now.rows_committed, now.bytes_read, now.rows_quarantined)


def _cannot_list(obj: dict[str, Any], reason: Reason, why: str, now_us: int) -> ReconcileResult:
    """Nothing can be listed, and no Job can start; what was known before stands."""
    conditions = (
        false("Ready", reason, why),
        false("Progressing", reason, why),
        false("SourceReachable", reason, why),
        true("Degraded", reason, why),
    )
    return ReconcileResult(conditions, facts_of(obj.get("status") or {}), None, now_us + SECRET_US)


def _under_way(
    attempts: JobAttempts, accepted: Accepted[DataPipeline], ledger: Ledger, *, waiting: bool
) -> dict[str, str]:
    """Key of a batch to what its Job does. A batch keeps the spec that it was closed under, and its Job runs on."""
    name = accepted.resource.metadata.name
    sentences = {}
    for attempt in attempts.all:
        number, outcome = batch_of(attempt.job), attempt.outcome
        if number and isinstance(outcome, Running) and outcome.waiting is waiting:
            step = RunBatch(name, number, accepted.digest, ledger.isolation(number).turn)
            sentences[step.key] = outcome.sentence
    return sentences


def learned(obj: dict[str, Any]) -> Learned | None:
    """What the status keeps of the memory that the last batch needed."""
    kept = obj.get("status", {}).get("memory")
    return Learned(kept["bytesIn"], kept["peakBytes"]) if kept else None


def columns(store: OpenStore, pipeline: str) -> Mapping[str, str] | None:
    """Columns of the pipeline's dataset, with the names of their types; None before its first commit.

    Raises:
        StorageError: storage did not answer.
    """
    result = Ledger(store.storage, pipeline).last_result()
    return result.dataset_columns if result else None


def _lag(ledger: Ledger, observed: ObservedPipeline, backlog: Backlog) -> int:
    """Offsets of a stream that no committed batch holds yet."""
    begun = [
        entry.arrival
        for number in range(observed.done + 1, observed.head + 1)
        for entry in ledger.manifest(number).entries
        if entry.action is Action.TAKE
    ]
    return offsets((*begun, *backlog.arrivals))


def _facts(
    obj: dict[str, Any], known: KnownPipeline, observed: ObservedPipeline, backlog: Backlog | None
) -> dict[str, Any]:
    result = known.result
    intended = [
        entry.arrival
        for number in range(observed.done + 1, observed.head + 1)
        for entry in known.ledger.manifest(number).entries
    ]
    waiting = [observed.waiting.oldest_us] if observed.waiting else []
    oldest_us = min((*(arrival.modified_us for arrival in intended), *waiting), default=None)
    facts: dict[str, Any] = {
        "pendingFiles": len(intended) + (backlog.waiting if backlog else 0),
        "oldestPendingTime": time_of(oldest_us),
    }
    if result is None:
        return facts
    needed = Learned(result.bytes_read, result.peak_bytes)
    kept = learned(obj)
    if kept is not None and kept.bytes_in > needed.bytes_in:
        needed = kept
    return {
        **facts,
        "batch": result.number,
        "commit": result.dataset_version,
        "rows": result.dataset_rows,
        "quarantinedRows": observed.quarantine.rows,
        "quarantinedFiles": observed.quarantine.files,
        "lastCommitTime": time_of(result.finished_us),
        "memory": {"bytesIn": needed.bytes_in, "peakBytes": needed.peak_bytes},
        "lastBatches": last_batches(
            obj.get("status", {}).get("lastBatches", ()), result, known.ledger.result
        ),
    }
