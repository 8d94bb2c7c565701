"""One batch: the arrivals of a manifest in, one commit of the dataset out.

What the same files and the same spec would break again is an outcome: files and rows go to quarantine, and the batch
is committed without them. Only what may heal by itself is raised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from featurestore.arrivals.erasure import ERASURE
from featurestore.arrivals.isolation import Isolation, Trial, refusal
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Action, Entry, Manifest
from featurestore.arrivals.result import BatchResult, PartResult
from featurestore.errors import CodeError, Conflict, FeatureStoreError, SpecError, StorageError, foreseen
from featurestore.failpoint import hit
from featurestore.protocol import BatchRequest, Progress
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline
from featurestore.resources.data_pipeline import DataPipelineSpec, Otherwise
from featurestore.storage import paths
from featurestore.storage.delta import FILE, ROW, DataFile, Table
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore_transforms.batch.batch_part import BatchPart, discard, together
from featurestore_transforms.batch.commit import (
    BatchOutcome,
    commit,
    finished,
    is_done,
    open_dataset,
    require_generation,
    user_types,
)
from featurestore_transforms.batch.conform import BatchFile
from featurestore_transforms.batch.group import BatchPlan, WrittenFiles
from featurestore_transforms.batch.quarantined import Earlier, Quarantine, read_earlier, rows_before
from featurestore_transforms.sources.column_use import ColumnUse
from featurestore_transforms.sources.reader import (
    DECODING,
    ArrivalReader,
    UnreadableArrival,
    acknowledge,
    open_reader,
)
from featurestore_transforms.sources.source_schema import (
    FailBatch,
    SourceSchema,
    first_schema,
    match_schema,
    read_schema,
)
from featurestore_transforms.steps.python import CallableRaised, load
from featurestore_transforms.steps.rules import RULE, RowRule, RowRules
from featurestore_transforms.tables.data_files import discard_uncommitted
from featurestore_transforms.tables.erased_keys import ErasedKeys, Traced, trace
from featurestore_transforms.tables.row_changes import scan
from featurestore_transforms.tables.table_history import are_there

_ATTEMPTS = 3
_WRITING = ("os error", "i/o error", "object store", "object-store", "generic", "connection", "timed out")
"""What is said where storage does not take a data file."""
_AT_ONCE = 8
"""Files that are looked at at the same time: in object storage each takes some round trips."""


def run_batch(
    storage: Storage, request: BatchRequest, progress: Callable[[Progress], None]
) -> BatchResult | PartResult:
    """What the batch became; or, while it is halved, which part of it was read. What was done is not done again.

    Raises:
        NotFound: there is no such batch.
        Conflict: its next attempt is another one by now.
        TransientError: an earlier batch is not committed yet, or storage did not answer.
        CodeError: a callable cannot be imported. Nothing was read.
    """
    began_us = current_us()
    ledger = Ledger(storage, request.pipeline)
    manifest = ledger.manifest(request.number)
    if is_done(open_dataset(storage, request.pipeline), manifest):
        return finished(storage, manifest)
    isolation = ledger.isolation(request.number)
    if isolation.turn != request.turn:
        where = f"batch {request.number} of {request.pipeline!r}"
        raise Conflict(
            "another attempt is due", where=where, wanted=str(isolation.turn), got=str(request.turn)
        )
    spec = Registry(storage).get(DataPipeline, request.pipeline, manifest.spec_digest).spec
    run = BatchRun.of(storage, manifest, request.base, spec, progress)
    generation = ledger.rebuilds.generation()
    _require_heeded(ledger, manifest.number, isolation, run.erased)
    if isolation.halved and isolation.first < isolation.stop:
        trial = run.part(
            isolation, _before(storage, manifest, generation), _earlier(storage, manifest, generation)
        )
        if not ledger.try_trial(manifest.number, isolation.turn, trial):
            raise Conflict(
                "another run attempted this part",
                where=f"batch {request.number} of {request.pipeline!r}",
                got=f"turn {isolation.turn}",
            )
        return part_result(manifest, trial)
    for attempt in range(1, _ATTEMPTS + 1):
        outcome: BatchOutcome | None = None
        try:
            before, earlier = _before(storage, manifest, generation), _earlier(storage, manifest, generation)
            outcome = run.outcome(isolation, before, earlier)
            took_us = 0 if isolation.halved else current_us() - began_us
            result = commit(storage, manifest, spec, outcome, generation, took_us)
            acknowledge(manifest.entries, spec.source)
            return result
        except Conflict:
            now = ErasedKeys.read(storage, request.pipeline)
            if outcome is not None and now.number != run.erased.number:
                # Nothing can commit them any more, and they may have what was erased.
                discard_uncommitted(storage, run.plan.table, outcome.files)
                quarantine = paths.quarantine("pipelines", request.pipeline)
                discard_uncommitted(storage, quarantine, outcome.quarantine)
                _require_heeded(ledger, manifest.number, isolation, now)
                run = BatchRun.of(storage, manifest, request.base, spec, progress)
            if attempt == _ATTEMPTS or ledger.rebuilds.generation() != generation:
                raise
    raise AssertionError("the last attempt returns or raises")


def _require_heeded(ledger: Ledger, number: int, isolation: Isolation, erased: ErasedKeys) -> None:
    if not erased.are_heeded(isolation):
        ledger.forget_trials(number)
        raise Conflict(
            "keys were erased after parts of the batch were read: it is read from the start",
            where=f"batch {number} of {ledger.pipeline!r}",
        )


def part_result(manifest: Manifest, trial: Trial) -> PartResult:
    """What a part of a batch came to that is kept in this trial."""
    return PartResult(
        pipeline=manifest.pipeline,
        number=manifest.number,
        first=trial.first,
        stop=trial.stop,
        rows_read=trial.part["rowsRead"],
        finished_us=trial.ended_us,
    )


def _before(storage: Storage, manifest: Manifest, generation: int) -> BatchPart:
    """Nothing, and what the batch finds: the dataset's columns and the schema of source files.

    Raises:
        Conflict: a rebuild is being promoted.
    """
    dataset = open_dataset(storage, manifest.pipeline)
    require_generation(dataset, manifest, generation)
    return BatchPart(
        user_types(dataset), read_schema(storage, manifest.pipeline, manifest.number, generation)
    )


def _earlier(storage: Storage, manifest: Manifest, generation: int) -> Earlier:
    path = paths.quarantine("pipelines", manifest.pipeline)
    return read_earlier(Table.open(storage, path), manifest, generation)


@dataclass
class BatchRun:
    """One attempt at a batch. Nothing that it writes counts before it is committed."""

    storage: Storage
    manifest: Manifest
    base: str
    spec: DataPipelineSpec
    plan: BatchPlan
    erased: ErasedKeys
    progress: Callable[[Progress], None]

    @classmethod
    def of(
        cls,
        storage: Storage,
        manifest: Manifest,
        base: str,
        spec: DataPipelineSpec,
        progress: Callable[[Progress], None],
    ) -> BatchRun:
        """Raises CodeError if a callable cannot be imported."""
        for transform in spec.transforms:
            if transform.python is not None:
                load(transform.python.callable)
        table, lookups = paths.dataset(manifest.pipeline), _lookups(storage, manifest)
        erased = ErasedKeys.read(storage, manifest.pipeline)
        is_erased = erased.arriving(manifest) if erased else None
        plan = BatchPlan(storage, table, manifest.number, spec, lookups, is_erased)
        return cls(storage, manifest, base, spec, plan, erased, progress)

    def outcome(self, isolation: Isolation, before: BatchPart, earlier: Earlier) -> BatchOutcome:
        """What is to be committed: of all entries, read now, or of the parts that were read before."""
        if isolation.halved:
            parts = [BatchPart.from_json(trial.part) for trial in isolation.parts]
        else:
            parts = [self._part(range(len(self.manifest.entries)), before, earlier)]
        killers = {index: UnreadableArrival(*refusal(crash)) for index, crash in isolation.killers.items()}
        now_us = current_us()
        return together(
            self.storage, self.manifest, parts, killers, before, earlier, now_us, self.erased.number
        )

    def part(self, isolation: Isolation, before: BatchPart, earlier: Earlier) -> Trial:
        """Read the part that is due; the trial that keeps what it came to, to be recorded."""
        after = BatchPart.from_json(isolation.parts[-1].part) if isolation.parts else before
        hit("before-part")
        part = self._part(range(isolation.first, isolation.stop), after, earlier)
        hit("after-part")
        return Trial(first=isolation.first, stop=isolation.stop, ended_us=current_us(), part=part.to_json())

    def _part(self, indexes: range, before: BatchPart, earlier: Earlier) -> BatchPart:
        return _Reading(**vars(self), indexes=indexes).read(before, earlier)


@dataclass
class _Reading(BatchRun):
    """Some files of a batch while they are read. ``types``: of the dataset's columns until now."""

    indexes: range
    refused: dict[int, UnreadableArrival] = field(default_factory=dict)
    done: list[tuple[list[BatchFile], WrittenFiles]] = field(default_factory=list)
    types: Mapping[str, pl.DataType] = field(default_factory=dict)

    def read(self, before: BatchPart, earlier: Earlier) -> BatchPart:
        """What the files came to. ``before``: what was read of the batch before them."""
        self.refused.update({index: why for index, why in earlier.refused.items() if index in self.indexes})
        self.types = before.types
        try:
            schema = self._take(first_schema(self.spec.columns, before.schema))
        except FailBatch as failed:
            for _, done in self.done:
                discard(self.storage, self.plan.table, done.files)
            return BatchPart(before.types, before.schema, refused=self.refused, failed=failed)
        members = [member for group, _ in self.done for member in group]
        broken = self._broken()
        quarantine = Quarantine(
            self.storage,
            paths.quarantine("pipelines", self.manifest.pipeline),
            self.manifest,
            current_us(),
            self._is_erased if self.erased else None,
            self._blanked if self.erased else None,
        )
        files = () if earlier.runs else tuple(self._quarantine(quarantine))
        caught = self._caught()
        kept = {file: rows - quarantine.erased.get(file, 0) for file, rows in caught.items()}
        erased = sum(quarantine.erased.values())
        return BatchPart(
            files=tuple(file for _, done in self.done for file in done.files),
            types=self.types,
            schema=schema,
            quarantine=files,
            refused=self._refused(),
            rows_read=sum(member.rows for member in members),
            broken={rule.name: count for rule, count in broken.items()},
            caught={file: rows for file, rows in kept.items() if rows},
            rows_quarantined=sum(n for rule, n in broken.items() if rule.otherwise is Otherwise.QUARANTINE)
            - erased,
            rows_erased=sum(done.erased for _, done in self.done) + erased,
            erasure=self.erased.number,
            rows_dropped=sum(n for rule, n in broken.items() if rule.otherwise is Otherwise.DROP),
            bytes_read=sum(member.file.arrival.size_bytes for member in members),
        )

    def _take(self, held: SourceSchema | None) -> SourceSchema | None:
        """Read the files that can be read, in the order of the manifest; the schema after them.

        A file that changes the schema is read before the next one is looked at: what it teaches is held only if it
        gave a good row. An error page that came as a file teaches nothing.
        """
        use = ColumnUse.of(self.spec)
        alike: list[BatchFile] = []
        for index, file in self._opened():
            try:
                with file.explaining():
                    met = match_schema(held, file, self.spec.schema_policy, use)
            except UnreadableArrival as refusal:
                self.refused[index] = refusal
                continue
            member = BatchFile(index, file, met, self._only(self.manifest.entries[index]))
            if met.schema == held:
                alike.append(member)
                continue
            self._read_all(alike)
            alike = []
            if self._read([member]):
                held = met.schema
        self._read_all(alike)
        return held

    def _opened(self) -> Iterator[tuple[int, ArrivalReader]]:
        entries = self.manifest.entries
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            indexes = [index for index in self.indexes if entries[index].action is not Action.SKIP]
            opened = pool.map(self._open, indexes)
            for index, file in zip(indexes, opened, strict=True):
                self._tell("look at files", index + 1, len(entries), "files")
                if isinstance(file, UnreadableArrival):
                    self.refused[index] = file
                else:
                    yield index, file

    def _read_all(self, members: list[BatchFile]) -> None:
        for group in self.plan.groups(members):
            self._read(group)

    def _open(self, index: int) -> ArrivalReader | UnreadableArrival:
        entry = self.manifest.entries[index]
        if index in self.refused:
            return self.refused[index]
        if entry.action is Action.REJECT:
            return UnreadableArrival(entry.rule, entry.reason)
        try:
            return open_reader(entry.arrival, self.spec.source, self.spec.resources.memory, self.base)
        except UnreadableArrival as refusal:
            return refusal

    def _only(self, entry: Entry) -> pl.Series | None:
        """The rows to take of a file that is run again; all of them if it was quarantined, or is replaced, as a file."""
        if entry.replays is None or entry.replaces:
            return None
        return rows_before(self.storage, self.manifest.pipeline, *entry.replays)

    def _read(self, group: list[BatchFile]) -> bool:
        """The group's rows as data files; a file that cannot be read is found and refused.

        Whether there was a good row among them.
        """
        try:
            done = self.plan.run(group, self.types)
        except (StorageError, MemoryError):
            raise
        except (*DECODING, FeatureStoreError) as error:
            if len(group) > 1:
                return sum(self._read([member]) for member in group) > 0
            self.refused[group[0].index] = self._blame(group[0], self.types, error)
            return False
        changed = {member.index: change for member in group if (change := _changed(member)) is not None}
        if changed:
            discard(self.storage, self.plan.table, done.files)
            self.refused.update(changed)
            rest = [member for member in group if member.index not in changed]
            return bool(rest) and self._read(rest)
        good = any(file.rows for file in done.files)
        if good:
            self.types = done.types
        self.done.append((group, done))
        self._require_batch(done)
        rows = sum(member.rows for group, _ in self.done for member in group)
        self._tell("read rows", rows, None, "rows")
        return good

    def _blame(
        self, member: BatchFile, types: Mapping[str, pl.DataType], error: BaseException
    ) -> UnreadableArrival:
        """What is wrong with a file whose plan failed: the file, or a step that cannot deal with it.

        Raises:
            CodeError: a callable cannot be imported.
            StorageError: the file and its plan are fine, so it was writing that failed.
            Unforeseen: nothing of that is wrong.
        """
        if isinstance(error, CodeError) and not isinstance(error, CallableRaised):
            raise error
        if isinstance(error, SpecError):
            return UnreadableArrival(f"spec:{error.where}" if error.where else "spec", str(error))
        try:
            with member.file.explaining():
                member.file.scan().select(pl.all().count()).collect(engine="streaming")
        except UnreadableArrival as broken:
            return broken
        if isinstance(error, CallableRaised):
            # Its message begins with the callable's name.
            return UnreadableArrival(f"python:{error.problem.partition(' ')[0]}", str(error))
        try:
            self.plan.explained(member, types, RowRules()).select(pl.all().count()).collect(
                engine="streaming"
            )
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as failed:
            return UnreadableArrival(
                "spec:transforms", (str(failed) or type(failed).__name__).splitlines()[0]
            )
        if not isinstance(error, OSError) and not any(word in str(error).lower() for word in _WRITING):
            raise foreseen(error)
        where = self.storage.uri(self.plan.table)
        raise StorageError("data files cannot be written", where=where, got=str(error)) from error

    def _require_batch(self, done: WrittenFiles) -> None:
        """Nothing, if no row broke a rule that fails the batch.

        Raises:
            FailBatch: one did.
        """
        codes = [code for code, rule in enumerate(done.rules) if rule.otherwise is Otherwise.FAIL_BATCH]
        failing = done.broken.filter(pl.col(RULE).is_in(codes))
        if failing.height:
            file, row, code = failing.sort(FILE, ROW).row(0)
            uri = self.manifest.entries[file].arrival.uri
            reason = f"{failing.height:,} rows broke it; the first is row {row} of {uri}"
            raise FailBatch(done.rules[code].name, reason)

    def _caught(self) -> dict[int, int]:
        """Index of a file to the number of its rows that go to quarantine."""
        counts: Counter[int] = Counter()
        for _, done in self.done:
            codes = [code for code, rule in enumerate(done.rules) if rule.otherwise is Otherwise.QUARANTINE]
            counted = done.broken.filter(pl.col(RULE).is_in(codes)).group_by(FILE).len()
            counts.update(dict(counted.iter_rows()))
        return dict(sorted(counts.items()))

    def _broken(self) -> dict[RowRule, int]:
        """Rule to the number of rows that broke it."""
        counts: Counter[RowRule] = Counter()
        for _, done in self.done:
            for code, count in done.broken.group_by(RULE).len().iter_rows():
                counts[done.rules[code]] += count
        return dict(sorted(counts.items(), key=lambda item: item[0].name))

    def _refused(self) -> dict[int, UnreadableArrival]:
        """Files that are to be quarantined as files. A reason may show what was seen in the file."""
        if not self.erased:
            return self.refused
        return {
            index: UnreadableArrival(why.rule, self._blanked(index, why.reason))
            for index, why in self.refused.items()
        }

    def _blanked(self, file: int, reason: str, record: str | None = None) -> str:
        return self.erased.blanked(reason, record, self._came(file)) or ""

    def _is_erased(self, file: int, record: str) -> bool:
        """Whether a row that is to be quarantined is of an erased key."""
        return self.erased.in_record(record, self._came(file), self._traced())

    def _came(self, file: int) -> int:
        """The batch that the file came with."""
        entry = self.manifest.entries[file]
        return entry.replays[0] if entry.replays else self.manifest.number

    def _traced(self) -> Traced:
        return {name: trace(self.spec, name) for each in self.erased.erasures for name in each.names}

    def _quarantine(self, quarantine: Quarantine) -> Iterator[DataFile]:
        """The rows that are to be quarantined."""
        for members, done in self.done:
            yield from quarantine.rows(self.plan, members, done)

    def _tell(self, step: str, done: int, total: int | None, unit: Literal["rows", "files"]) -> None:
        self.progress(Progress(step=f"{step} of {self.manifest.pipeline}", done=done, total=total, unit=unit))


def _changed(member: BatchFile) -> UnreadableArrival | None:
    """Why the file is not what it was when it was opened; None if it is."""
    try:
        member.file.require_unchanged()
    except UnreadableArrival as changed:
        return changed
    return None


def _lookups(storage: Storage, manifest: Manifest) -> dict[str, pl.LazyFrame]:
    """The datasets that lookups join, as of the versions that the manifest pins."""
    frames = {}
    for pipeline, version in manifest.lookups:
        table = _pinned(storage, pipeline, version)
        if table is None:
            raise StorageError("the dataset to look up is gone", where=storage.uri(paths.dataset(pipeline)))
        frames[pipeline] = scan(table, table.files())
    return frames


def _pinned(storage: Storage, pipeline: str, version: int) -> Table | None:
    """The dataset at this version; the newest if keys were erased since, which leaves no version of before."""
    path = paths.dataset(pipeline)
    newest = Table.open(storage, path)
    if newest is None or newest.version == version or not newest.committed(ERASURE):
        return Table.open(storage, path, version)
    pinned = Table.open(storage, path, version)
    return pinned if pinned is not None and are_there(pinned, pinned.files()) else newest
