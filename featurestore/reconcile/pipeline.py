"""The plan of one pipeline: run the batches that have a manifest, then close the open one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from featurestore.arrivals.manifest import OpenBatch, should_close
from featurestore.arrivals.result import is_drift
from featurestore.humanize import count, format_time, sentence, size
from featurestore.reconcile.conditions import Condition, ConditionType, false, true, unknown
from featurestore.reconcile.draft import PlanDraft
from featurestore.reconcile.reasons import Reason
from featurestore.reconcile.refusals import nothing_taken, quarantine_condition, with_nothing_taken
from featurestore.reconcile.state import ObservedPipeline
from featurestore.reconcile.steps import CloseBatch, PromoteRebuild, RunBatch, RunPiece, WriteCheckpoint
from featurestore.registry.registry import Accepted
from featurestore.resources import DataPipeline
from featurestore.resources.data_pipeline import Suspend
from featurestore.retry import FailureStreak
from featurestore.timestamps import duration_us

CONDITIONS: tuple[ConditionType, ...] = (
    *("Ready", "Progressing", "SourceReachable"),
    *("SchemaAccepted", "QuarantineEmpty", "Degraded"),
)


def plan_pipeline(name: str, accepted: Accepted[DataPipeline], draft: PlanDraft) -> None:
    """Fill the draft. Of other pipelines only those that are looked up are read, from what was observed."""
    observed = draft.observed.pipelines.get(name)
    if observed is None or isinstance(observed, FailureStreak):
        draft.conditions = draft.unobserved(observed, CONDITIONS)
        return
    draft.conditions = _PipelinePlan(name, accepted, observed, draft).make()


@dataclass
class _PipelinePlan:
    name: str
    accepted: Accepted[DataPipeline]
    observed: ObservedPipeline
    draft: PlanDraft

    def make(self) -> tuple[Condition, ...]:
        """Plan the steps; the pipeline's conditions."""
        suspended = self.accepted.resource.spec.suspend is Suspend.SUSPENDED
        if suspended:
            ready = self._suspended()
            reachable = unknown("SourceReachable", Reason.SUSPENDED, "Not listed while it is suspended.")
        else:
            reachable = self._source()
            promotes = self._promote()
            ready = self._rebuilding(self._work(held=promotes), promotes=promotes)
        observed, degraded = self.observed, self.draft.degraded()
        if observed.took_nothing and observed.quarantine.last:
            # The next batches will fare like the last one, until somebody changes something.
            message = nothing_taken(self.name, observed.done, observed.files_refused, observed.rows_refused)
            ready, degraded = with_nothing_taken(ready, degraded, message)
        quarantine = quarantine_condition(self.name, observed.quarantine)
        usual = (ready, self.draft.progressing(), reachable, self._schema(), quarantine, degraded)
        return (*usual, *self._backlogged())

    def _backlogged(self) -> Iterator[Condition]:
        """What waits, if it is more than the next batch takes: nothing of a pipeline that keeps up."""
        waiting = self.observed.waiting
        if waiting is None or waiting.batches < 2:
            return
        what = f"{'' if waiting.is_all else 'More than '}{count(waiting.number, waiting.noun)}"
        of_bytes = f" ({size(waiting.size_bytes)})" if waiting.size_bytes else ""
        yield true(
            "Backlogged",
            Reason.MORE_THAN_ONE_BATCH,
            f"{what}{of_bytes} wait, {waiting.batches:,} batches or more; "
            f"the oldest is of {format_time(waiting.oldest_us)}.",
        )

    def _suspended(self) -> Condition:
        message = "Suspended: no file is taken and no batch is run. What is committed can be read."
        self.draft.blocked = false("Progressing", Reason.SUSPENDED, message)
        return false("Ready", Reason.SUSPENDED, message)

    def _source(self) -> Condition:
        if self.observed.source is None:
            return true("SourceReachable", Reason.LISTED, "The source was listed.")
        return false("SourceReachable", *self.draft.note_failed_look(self.observed.source))

    def _schema(self) -> Condition:
        """Whether the last batch refused nothing for its schema."""
        observed = self.observed
        if observed.done == 0:
            return unknown("SchemaAccepted", Reason.NO_BATCH_YET, "No batch was run yet.")
        refused = [
            f"{count(number, noun)} ({rule})"
            for noun, rules in (("file", observed.files_refused), ("row", observed.rows_refused))
            for rule, number in sorted(rules.items())
            if number and is_drift(rule)
        ]
        if not refused or not observed.quarantine.last:
            message = f"Batch {observed.done} refused nothing for its schema."
            if refused:
                message = (
                    f"Nothing that batch {observed.done} refused for its schema is still open in quarantine."
                )
            return true("SchemaAccepted", Reason.ACCEPTED, message)
        return false(
            "SchemaAccepted",
            Reason.DRIFT,
            f"Batch {observed.done} refused {', '.join(refused)}, now in quarantine: "
            f"`featurestore quarantine ls {self.name}` shows them.",
        )

    def _promote(self) -> bool:
        """Promote the rebuild once all of its pieces are done. True while batches wait for that, so that it catches up."""
        rebuild = self.observed.rebuild
        if rebuild is None or rebuild.due is not None:
            return False
        step = PromoteRebuild(self.name, rebuild.rebuild.number, self.observed.done)
        return self.draft.add_step(step) or self.draft.is_under_way(step.key)

    def _rebuilding(self, ready: Condition, *, promotes: bool) -> Condition:
        """Run the next piece of the rebuild; ``Ready`` with how far that is. What is read is whole meanwhile."""
        rebuild = self.observed.rebuild
        if rebuild is None:
            return ready
        if rebuild.due is not None:
            self.draft.add_piece(
                RunPiece(self.name, rebuild.rebuild.number, rebuild.due, rebuild.isolation.turn),
                rebuild.isolation.streak,
            )
        message = f"{ready.message.rstrip('.')}. Rebuilding history: {rebuild}."
        if not promotes and self.draft.blocked is None:
            self.draft.blocked = true("Progressing", Reason.REBUILDING, f"Rebuilding history: {rebuild}.")
        return ready.model_copy(update={"message": message})

    def _work(self, *, held: bool) -> Condition:
        """Run the next batch, or close the open one; the ``Ready`` condition. ``held``: no batch begins now."""
        observed, draft = self.observed, self.draft
        if observed.checkpoint_is_due:
            draft.add_step(WriteCheckpoint(self.name))
        if observed.head == observed.done:
            return self._close()
        isolation = observed.isolation
        step = RunBatch(self.name, observed.done + 1, self.accepted.digest, isolation.turn)
        if not held:
            draft.add_step(step, isolation.streak)
        since_us = observed.pending_us if observed.done else None
        if isolation.halved and isolation.last_crash is not None:
            return self._isolating(step.number)
        if step.key in draft.observed.queued:
            message = f"Batch {step.number} of {observed.head} {draft.observed.queued[step.key]}."
            return draft.pending(Reason.WAITING_FOR_TURN, message, since_us)
        if step.key in draft.observed.stuck:
            message = (
                f"Batch {step.number} of {observed.head} does not start. {draft.observed.stuck[step.key]}."
            )
            return draft.unready(Reason.CANNOT_START, message)
        state = "is being run" if draft.is_under_way(step.key) else "is to be run"
        return draft.pending(
            Reason.BATCH_PENDING, f"Batch {step.number} of {observed.head} {state}.", since_us
        )

    def _isolating(self, number: int) -> Condition:
        """``Ready`` while the file is looked for that ends the process that reads it."""
        isolation = self.observed.isolation
        assert isolation.last_crash is not None
        caught = f"{count(len(isolation.killers), 'file')} found" if isolation.killers else "none found yet"
        at = (
            f"files {isolation.first} to {isolation.stop - 1} are next"
            if isolation.first < isolation.stop
            else "it is committed next"
        )
        return false(
            "Ready",
            Reason.ISOLATING,
            f"Batch {number} ended the process that read it, and is halved until the file is found that does: "
            f"{caught}, {at}. Last: {sentence(isolation.last_crash)}.",
        )

    def _close(self) -> Condition:
        """Close the open batch if it is time; the ``Ready`` condition of a pipeline that has no batch to run."""
        observed, draft, batch = self.observed, self.draft, self.observed.open
        if batch is None:
            return self._quiet()
        waiting = count(len(batch.entries), "file") + (" waits" if len(batch.entries) == 1 else " wait")
        lookups: list[tuple[str, int]] = []
        for name in self.accepted.resource.spec.looked_up:
            version = self._looked_up(name, waiting)
            if isinstance(version, Condition):
                return version
            lookups.append((name, version))
        number = observed.head + 1
        message = f"{waiting} for batch {number} to close."
        if draft.draining or observed.full or self._is_enough(batch):
            draft.add_step(CloseBatch(self.name, number, self.accepted.digest, tuple(sorted(set(lookups)))))
        else:
            draft.blocked = true("Progressing", Reason.COLLECTING, message)
        return draft.pending(Reason.COLLECTING, message, batch.opened_us if observed.done else None)

    def _quiet(self) -> Condition:
        """``Ready`` when no file waits."""
        observed = self.observed
        if observed.source is not None:
            return false("Ready", Reason.SOURCE_UNAVAILABLE, self.draft.explain(observed.source)[1])
        if observed.done == 0:
            return true("Ready", Reason.WAITING_FOR_FILES, "No file has arrived yet.")
        committed = "Batch 1 is" if observed.done == 1 else f"All {observed.done} batches are"
        return true("Ready", Reason.UP_TO_DATE, f"{committed} committed.")

    def _looked_up(self, name: str, waiting: str) -> int | Condition:
        """Version of a dataset that is looked up; if there is none, the ``Ready`` condition that says so."""
        other, reason = self.draft.observed.pipelines.get(name), Reason.WAITING_FOR_LOOKUP
        if isinstance(other, ObservedPipeline):
            if other.dataset_version is not None:
                return other.dataset_version
            why = "has no dataset yet"
        elif other is None:
            reason, why = Reason.PIPELINE_MISSING, "is not there"
        else:
            why = f"cannot be observed: {self.draft.note_failed_look(other)[1]}"
        message = f"{waiting}: pipeline {name!r}, which is looked up, {why}".rstrip(".") + "."
        self.draft.blocked = false("Progressing", reason, message)
        return false("Ready", reason, message)

    def _is_enough(self, batch: OpenBatch) -> bool:
        """Whether the open batch is to be closed now; else it is looked at again in time."""
        trigger = self.accepted.resource.spec.trigger.arrivals
        if should_close(batch, trigger, self.draft.now_us):
            return True
        self.draft.wakes.append(batch.opened_us + duration_us(trigger.max_wait))
        return False
