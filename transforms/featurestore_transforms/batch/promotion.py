"""The promotion of a rebuild: what its batches came to, in the place of the history that it ran again.

As for a batch, the quarantine is committed first, then the dataset, each in one Delta commit with the rebuild's number;
then the records for those who cannot read Delta. The commit of the dataset fails if a batch is committed meanwhile: that
one is run again first. Batches do not begin between that commit and the last record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import polars as pl
import pyarrow as pa

from featurestore.arrivals.erasure import ERASURE, Erasures
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Action, Manifest
from featurestore.arrivals.rebuild import Decision, Promoted, RebuiltBatch, current, rebuild_application
from featurestore.arrivals.rerun import is_superseded, runs_by_itself
from featurestore.arrivals.result import BatchResult, RebuildResult
from featurestore.errors import Conflict, NotFound, TransientError
from featurestore.failpoint import hit
from featurestore.protocol import Progress, PromoteRebuildRequest
from featurestore.quarantine.tally import open_in_all
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.storage import paths
from featurestore.storage.delta import DataFile, Table
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore.views.schema import QUARANTINE, SYSTEM_FIELDS
from featurestore_transforms.batch.batch_part import BatchPart
from featurestore_transforms.batch.commit import (
    holds,
    open_dataset,
    user_types,
    watermarks_us,
    with_columns,
)
from featurestore_transforms.sources.source_schema import SourceSchema, read_schema, write_schema
from featurestore_transforms.tables.data_files import discard_uncommitted
from featurestore_transforms.tables.rewrite import losers, without
from featurestore_transforms.tables.row_changes import NO_ROWS

_AT_ONCE = 16
Place = tuple[int, int]


def promote_rebuild(
    storage: Storage, request: PromoteRebuildRequest, progress: Callable[[Progress], None]
) -> RebuildResult:
    """What history is from now on. What was done is not done again.

    Raises:
        NotFound: the pipeline was deleted with its data.
        Conflict: the rebuild was given up, a batch is to be run again first, or another process was faster.
        TransientError: data files of a batch were lost: it is run again.
        StorageError: storage did not answer.
    """
    progress(Progress(step=f"promote rebuild {request.rebuild} of {request.pipeline}", done=0))
    ledger = Ledger(storage, request.pipeline)
    promoted = ledger.rebuilds.promoted()
    if promoted is None or promoted.number != request.rebuild:
        promoted = _Promotion(storage, ledger, request).run()
    return RebuildResult(
        pipeline=request.pipeline,
        rebuild=promoted.number,
        last=promoted.last,
        dataset_version=promoted.dataset_version,
        rows=promoted.result.dataset_rows,
        open_files=promoted.result.open_files,
        open_rows=promoted.result.open_rows,
        finished_us=promoted.ended_us,
    )


class _Promotion:
    """``done``: the last batch that is committed. ``batches``: what those came to that were run again."""

    def __init__(self, storage: Storage, ledger: Ledger, request: PromoteRebuildRequest) -> None:
        self._storage, self._ledger = storage, ledger
        self._rebuild = current(ledger.rebuilds, request.rebuild)
        self._pipeline, self._uid = request.pipeline, self._rebuild.uid
        self._generation = ledger.rebuilds.generation()
        self._erasure = Erasures(storage).last()
        self._dataset = open_dataset(storage, request.pipeline)
        self._done = ledger.committed_batch()
        if self._dataset is None:
            raise NotFound("there is no dataset", where=storage.uri(paths.dataset(request.pipeline)))
        if self._dataset.committed(self._uid) != self._done:
            raise self._conflict("a batch is being committed")
        due, _ = ledger.rebuilds.due(self._rebuild, self._done)
        if due is not None and not self._is_committed(self._dataset):
            raise self._conflict(f"batch {due} is to be run again first")
        numbers = list(self._rebuild.batches(self._done))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            batches = pool.map(lambda n: ledger.rebuilds.batch(self._rebuild.number, n), numbers)
            every: Iterable[Manifest] = pool.map(ledger.manifest, range(1, ledger.last_batch() + 1))
            self._batches = {batch.number: batch for batch in batches if batch is not None}
            self._manifests = {manifest.number: manifest for manifest in every}
        self._parts = {n: BatchPart.from_json(batch.part) for n, batch in self._batches.items()}

    def run(self) -> Promoted:
        """The record of the promotion."""
        dataset = self._dataset
        assert dataset is not None
        if not self._is_committed(dataset):
            self._require_files()
            self._ledger.require_current(self._uid)
            decided = self._ledger.rebuilds.decide(
                self._rebuild.number, Decision(promote=True, at_us=current_us())
            )
            if not decided.promote:
                raise Conflict("this rebuild was given up", got=decided.because)
            hit("after-decision")
            self._commit_quarantine()
            hit("after-rebuild-quarantine")
            self._ledger.require_current(self._uid)
            dataset = self._commit_dataset(dataset)
            hit("after-rebuild-dataset")
        self._ledger.require_current(self._uid)
        schema = self._schema()
        if schema is not None:
            write_schema(self._storage, self._pipeline, self._done, self._rebuild.number, schema)
        hit("after-rebuild-schema")
        promoted = self._recorded(dataset)
        self._ledger.rebuilds.end(promoted)
        hit("after-rebuild")
        return promoted

    def _is_committed(self, dataset: Table) -> bool:
        return dataset.committed(rebuild_application(self._uid)) >= self._rebuild.number

    def _require_files(self) -> None:
        """Raises TransientError if storage does not have all data files: tables are cleaned up by people, too.

        Or if keys were erased since a batch was run: its files may have their rows.
        """
        dataset, quarantine = paths.dataset(self._pipeline), paths.quarantine("pipelines", self._pipeline)
        stored = {table: set(self._storage.names(table)) for table in (dataset, quarantine)}
        lost = 0
        for number, part in self._parts.items():
            stale = part.erasure != self._erasure
            if stale:
                # They may have what was erased, and are not committed any more.
                discard_uncommitted(self._storage, dataset, part.files)
                discard_uncommitted(self._storage, quarantine, part.quarantine)
            if stale or not (
                all(file.path in stored[dataset] for file in part.files)
                and all(file.path in stored[quarantine] for file in part.quarantine)
            ):
                self._ledger.rebuilds.forget_batch(self._rebuild.number, number)
                lost += 1
        if lost:
            raise TransientError(
                "data files of a rebuild are gone, or have rows that were erased since",
                where=f"rebuild {self._rebuild.number} of {self._pipeline!r}",
                got=f"{lost} batches without all of their files",
                hint="They are run again",
            )

    def _commit_quarantine(self) -> None:
        """Put the findings of the rebuild in the place of those of the batches that it ran again."""
        app_id = f"{rebuild_application(self._uid)}/{self._rebuild.number}"
        new = {file.path: file for part in self._parts.values() for file in part.quarantine}
        path = paths.quarantine("pipelines", self._pipeline)
        table = Table.open(self._storage, path)
        if table is None and not new:
            return
        table = table or Table.create(self._storage, path, QUARANTINE)
        if table.committed(app_id) >= self._done:
            return
        current = {file.path: file for file in table.files()}
        old = [file for path, file in current.items() if path not in new]
        if self._rebuild.ranged:
            rest = without(table, old, NO_ROWS, self._gone())
            add, remove = rest.add, rest.remove
        else:
            add, remove = (), tuple(old)
        Erasures(self._storage).require_last(self._erasure, path)
        table.commit(
            app_id=app_id,
            number=self._done,
            also=[(ERASURE, 0)],
            add=[*(file for path, file in new.items() if path not in current), *add],
            remove=remove,
            metadata=self._metadata(),
        )

    def _commit_dataset(self, dataset: Table) -> Table:
        """One commit; it fails if a batch was committed since the dataset was opened."""
        new = [file for part in self._parts.values() for file in part.files]
        also = [(self._uid, self._done)]
        if self._rebuild.ranged:
            types = list(self._parts.values())[-1].types if self._parts else {}
            dataset = with_columns(self._storage, dataset, self._pipeline, types)
            if dataset.committed(self._uid) != self._done:
                raise self._conflict("a batch was committed meanwhile")
            new = without(dataset, new, NO_ROWS, self._superseded()).after(new)
            old = without(dataset, dataset.files(), NO_ROWS, self._gone())
            return self._committed(dataset, [*new, *old.add], old.remove, also, None)
        schema = self._columns()
        planned = dataset.planned(schema)
        new = without(planned, new, NO_ROWS, self._superseded()).after(new)
        spec = Registry(self._storage).get(DataPipeline, self._pipeline, self._last_spec()).spec
        if spec.deduplicate is not None:
            beaten = losers(planned, [], new, spec.deduplicate, spec.resources.memory)
            new = without(planned, new, beaten).after(new)
        return self._committed(dataset, new, (), also, schema)

    def _committed(
        self,
        dataset: Table,
        add: Sequence[DataFile],
        remove: Sequence[DataFile],
        also: Iterable[tuple[str, int]],
        schema: pa.Schema | None,
    ) -> Table:
        Erasures(self._storage).require_last(self._erasure, dataset.path)
        return dataset.commit(
            app_id=rebuild_application(self._uid),
            number=self._rebuild.number,
            add=add,
            remove=remove,
            metadata=self._metadata(),
            also=[*also, (ERASURE, 0)],
            schema=schema,
        )

    def _columns(self) -> pa.Schema:
        """The dataset's columns: those of the first batch, ours, and those that came later."""
        parts = list(self._parts.values())
        first, last = parts[0].types, parts[-1].types
        fields = {field.name: field for field in pl.DataFrame(schema=dict(last)).to_arrow().schema}
        later = [field for name, field in fields.items() if name not in first]
        return pa.schema([*(fields[name] for name in first), *SYSTEM_FIELDS, *later])

    def _last_spec(self) -> str:
        """Digest of the spec of the last batch: its rules are the dataset's."""
        last = self._manifests[self._done]
        return last.spec_digest if last.number > self._rebuild.last else self._rebuild.spec_digest

    def _superseded(self) -> list[Place]:
        """Arrivals that were run, and that a batch replaced which came since."""
        places = []
        for number in self._batches:
            for file, entry in enumerate(self._manifests[number].entries):
                place, known = (number, file), self._ledger.known(entry.arrival.uri)
                if len(known) > 1 and is_superseded(self._ledger, place, known, self._done):
                    places.append(place)
        return places

    def _gone(self) -> list[Place]:
        """Of a time range: what is not in the tables any more, unless the rebuild has it."""
        replaced = [(n, file) for n in self._batches for file in range(len(self._manifests[n].entries))]
        for number, manifest in self._manifests.items():
            if number > self._done:
                # A run that is overtaken may have committed its quarantine; it begins anew.
                replaced += [(number, file) for file in range(len(manifest.entries))]
            elif number not in self._batches:
                replaced += [(number, file) for file in self._run_twice(manifest)]
        return replaced

    def _run_twice(self, manifest: Manifest) -> list[int]:
        """Files that were run again from quarantine, of a batch that the rebuild ran as a whole."""
        return [
            file
            for file, entry in enumerate(manifest.entries)
            if entry.action is Action.REPLAY
            and entry.replays is not None
            and entry.replays[0] in self._batches
            and not runs_by_itself(entry.replays, self._ledger.known(entry.arrival.uri))
        ]

    def _schema(self) -> SourceSchema | None:
        """What source files look like from the next batch on."""
        if self._rebuild.ranged:
            return read_schema(self._storage, self._pipeline, self._done + 1, self._generation)
        return list(self._parts.values())[-1].schema if self._parts else None

    def _recorded(self, dataset: Table) -> Promoted:
        files = dataset.files()
        open_files, open_rows = open_in_all(
            self._ledger, self._finished(), self._caught(), self._batches.__contains__
        )
        new = self._batches.get(self._done)
        before = self._ledger.counted(self._done)
        assert before is not None
        update = {
            "dataset_version": self._version(dataset),
            "open_files": open_files,
            "open_rows": open_rows,
            **holds(dataset, files),
        }
        if new is not None:
            update |= self._counts(new, dataset)
        result = BatchResult.model_validate({**before.model_dump(), **update})
        return Promoted(
            number=self._rebuild.number,
            last=self._done,
            dataset_version=result.dataset_version,
            result=result,
            ended_us=current_us(),
        )

    def _counts(self, new: RebuiltBatch, dataset: Table) -> dict[str, object]:
        return {
            "files": new.files,
            "files_quarantined": sum(new.files_refused.values()),
            "rows_read": new.rows_read,
            "rows_committed": new.rows,
            "rows_quarantined": new.rows_quarantined,
            "rows_dropped": new.rows_dropped,
            "rows_erased": new.rows_erased,
            "broken": new.broken,
            "files_refused": new.files_refused,
            "caught": new.caught,
            "bytes_read": new.bytes_read,
            "took_us": new.took_us,
            "watermarks_us": watermarks_us(self._parts[new.number].files, user_types(dataset)),
            "finished_us": current_us(),
        }

    def _version(self, dataset: Table) -> int:
        """The version of the promotion: a rerun may find later ones."""
        for entry in dataset.history():
            if entry.get("rebuild") == str(self._rebuild.number):
                return int(entry["version"])
        return dataset.version

    def _finished(self) -> dict[int, Manifest]:
        return {n: manifest for n, manifest in self._manifests.items() if n <= self._done}

    def _caught(self) -> Mapping[int, Mapping[int, int]]:
        """What is in quarantine of each batch now."""
        caught: dict[int, Mapping[int, int]] = {}
        for number, manifest in self._finished().items():
            if number in self._batches:
                caught[number] = self._batches[number].caught
                continue
            twice = set(self._run_twice(manifest))
            by_file = self._ledger.caught(number)
            caught[number] = {file: rows for file, rows in by_file.items() if file not in twice}
        return caught

    def _metadata(self) -> dict[str, str]:
        return {
            "pipeline": self._pipeline,
            "rebuild": str(self._rebuild.number),
            "spec_digest": self._rebuild.spec_digest,
            "code_version": version("featurestore"),
        }

    def _conflict(self, why: str) -> Conflict:
        return Conflict(why, where=f"rebuild {self._rebuild.number} of {self._pipeline!r}")
