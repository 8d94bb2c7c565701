"""A piece of a rebuild: batches of the ledger again, under the rebuild's spec, into data files that no commit names yet.

Batches are run in their order, each with the schema that the one before it left, as when they came; what each comes to
is kept in a record of its own, so that a piece that is cut off goes on where it stopped. One that ends the process that
reads it is halved as any batch is (:mod:`featurestore.arrivals.isolation`), with trials of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.rebuild import RebuildProgress, RebuiltBatch, current
from featurestore.arrivals.rerun import rerun
from featurestore.arrivals.result import PieceResult
from featurestore.errors import Conflict
from featurestore.failpoint import hit
from featurestore.protocol import Progress, RebuildRequest
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore_transforms.batch.batch import BatchRun
from featurestore_transforms.batch.batch_part import BatchPart, discard
from featurestore_transforms.batch.commit import BatchOutcome, open_dataset, user_types
from featurestore_transforms.batch.quarantined import Earlier
from featurestore_transforms.sources.source_schema import read_schema


def run_piece(storage: Storage, request: RebuildRequest, progress: Callable[[Progress], None]) -> PieceResult:
    """What was run: the batch that was asked for, and those after it in its piece.

    Raises:
        NotFound: the pipeline was deleted with its data.
        Conflict: the rebuild has ended, or another batch or attempt is due by now.
        TransientError: storage did not answer.
        CodeError: a callable cannot be imported. Nothing was read.
    """
    ledger = Ledger(storage, request.pipeline)
    rebuild = current(ledger.rebuilds, request.rebuild)
    spans = rebuild.spans(ledger.committed_batch())
    stop = next((last for first, last in spans if first <= request.number <= last), 0)
    ran: list[RebuiltBatch] = []
    part_rows = 0
    while True:
        current(ledger.rebuilds, request.rebuild)
        ledger.require_current(rebuild.uid)
        at = ledger.rebuild_progress()
        if at is None or at.due is None or at.due > stop:
            break
        turn = at.isolation.turn
        if not ran and (at.due, turn) != (request.number, request.turn):
            raise Conflict(
                "another attempt is due",
                where=f"rebuild {request.rebuild} of {request.pipeline!r}",
                wanted=f"batch {at.due}, attempt {turn}",
                got=f"batch {request.number}, attempt {request.turn}",
            )
        if ran and turn:
            break
        batch = _Again(storage, request.base, ledger, at, progress)
        if at.isolation.halved and at.isolation.first < at.isolation.stop:
            part_rows = batch.keep_part()
            break
        ran.append(batch.run())
        if turn:
            # It ended a process before: what comes next has a whole time limit of its own.
            break
    return PieceResult(
        pipeline=request.pipeline,
        rebuild=request.rebuild,
        first=request.number,
        last=ran[-1].number if ran else request.number - 1,
        rows_read=sum(batch.rows_read for batch in ran) + part_rows,
        rows=sum(batch.rows for batch in ran),
        rows_quarantined=sum(batch.rows_quarantined for batch in ran),
        files_quarantined=sum(sum(batch.files_refused.values()) for batch in ran),
        finished_us=current_us(),
    )


class _Again:
    """The batch of a rebuild that is due."""

    def __init__(
        self,
        storage: Storage,
        base: str,
        ledger: Ledger,
        at: RebuildProgress,
        progress: Callable[[Progress], None],
    ) -> None:
        assert at.due is not None
        self._storage, self._ledger = storage, ledger
        self._rebuild, self._number, self._isolation = at.rebuild, at.due, at.isolation
        done = ledger.committed_batch()
        # What came since this ledger was opened may replace what is to be run.
        ledger.last_batch()
        self._manifest = rerun(ledger, at.rebuild, ledger.manifest(at.due), done)
        spec = Registry(storage).get(DataPipeline, self._manifest.pipeline, self._manifest.spec_digest).spec
        self._run = BatchRun.of(storage, self._manifest, base, spec, progress)
        if not self._run.erased.are_heeded(at.isolation):
            ledger.rebuilds.trials(at.rebuild.number).forget(at.due)
            raise Conflict(
                "keys were erased after parts of the batch were read: it is read from the start",
                where=f"rebuild {at.rebuild.number} of {at.rebuild.pipeline!r}",
            )
        self._before = self._part_before(done)

    def _part_before(self, done: int) -> BatchPart:
        """Nothing, and the columns and the schema that the batch finds: as the batch before it left them."""
        before: int | None = None
        for number in self._rebuild.batches(done):
            if number >= self._number:
                break
            before = number
        if before is not None:
            batch = self._ledger.rebuilds.batch(self._rebuild.number, before)
            if batch is None:
                where = f"rebuild {self._rebuild.number} of {self._manifest.pipeline!r}"
                raise Conflict("another batch is due", where=where, wanted=str(before))
            part = BatchPart.from_json(batch.part)
            return BatchPart(part.types, part.schema)
        if not self._rebuild.ranged:
            return BatchPart({}, None)
        types = user_types(open_dataset(self._storage, self._manifest.pipeline))
        generation = self._ledger.rebuilds.generation()
        schema = read_schema(self._storage, self._manifest.pipeline, self._number, generation)
        return BatchPart(types, schema)

    def keep_part(self) -> int:
        """Read the part that is due, and keep what it came to; the rows that were read.

        Raises:
            Conflict: another run was first.
        """
        trial = self._run.part(self._isolation, self._before, Earlier())
        trials = self._ledger.rebuilds.trials(self._rebuild.number)
        if not trials.append(self._number, self._isolation.turn, trial):
            where = f"rebuild {self._rebuild.number} of {self._manifest.pipeline!r}"
            raise Conflict("another run attempted this part", where=where, got=f"batch {self._number}")
        return int(trial.part["rowsRead"])

    def run(self) -> RebuiltBatch:
        """Run the batch, and keep what it came to; if another run was first, what that came to."""
        hit("before-piece")
        began_us = current_us()
        outcome = self._run.outcome(self._isolation, self._before, Earlier())
        batch = self._record(outcome, current_us() - began_us)
        try:
            self._ledger.require_current(self._rebuild.uid)
            current(self._ledger.rebuilds, self._rebuild.number)
            ours = self._ledger.rebuilds.try_batch(self._rebuild.number, batch)
        except Exception:
            self._discard(outcome)
            raise
        hit("after-piece")
        if ours:
            return batch
        first = self._ledger.rebuilds.batch(self._rebuild.number, self._number)
        # The answer to our own attempt may have been lost.
        if first is not None and first.part != RebuiltBatch.model_validate_json(batch.model_dump_json()).part:
            self._discard(outcome)
        return first or batch

    def _record(self, outcome: BatchOutcome, took_us: int) -> RebuiltBatch:
        refused: dict[str, int] = {}
        for rule in outcome.refused.values():
            refused[rule] = refused.get(rule, 0) + 1
        caught = {**outcome.caught, **dict.fromkeys(outcome.refused, 0)}
        part = BatchPart(
            types=outcome.types,
            schema=outcome.schema or self._before.schema,
            files=outcome.files,
            quarantine=outcome.quarantine,
            erasure=outcome.erasure,
        )
        return RebuiltBatch(
            number=self._number,
            files=len(self._manifest.entries),
            rows_read=outcome.rows_read,
            rows=sum(file.rows for file in outcome.files),
            rows_quarantined=outcome.rows_quarantined,
            rows_dropped=outcome.rows_dropped,
            rows_erased=outcome.rows_erased,
            broken=dict(outcome.broken),
            files_refused=dict(sorted(refused.items())),
            caught=caught,
            bytes_read=outcome.bytes_read,
            took_us=took_us,
            ended_us=current_us(),
            part=part.to_json(),
        )

    def _discard(self, outcome: BatchOutcome) -> None:
        pipeline = self._manifest.pipeline
        discard(self._storage, paths.dataset(pipeline), outcome.files)
        discard(self._storage, paths.quarantine("pipelines", pipeline), outcome.quarantine)
