"""A view's build: the feature rows of a dataset's rows, brought up to a version of it in one commit.

The number of the build's last commit is the dataset version that it holds. So a rerun finds what is done, and
two builders at once still commit each version once. Rows that do not fit go to the build's own quarantine
table, which is committed first, under the same number.

At every commit the dataset's rows are parted in three: those that the filter leaves out, those in the build,
and those in its quarantine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import polars as pl

from featurestore.arrivals.erasure import Erasures
from featurestore.arrivals.isolation import Trial
from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.lineage import Lineage
from featurestore.arrivals.rebuild import rebuild_application
from featurestore.digest import digest
from featurestore.errors import Conflict, StorageError
from featurestore.failpoint import hit
from featurestore.failure import Failure
from featurestore.protocol import BuildRequest, Progress
from featurestore.registry.registry import Accepted
from featurestore.resources.feature_view import FeatureView, StatisticsKept
from featurestore.resources.outputs import EVENT_TIME
from featurestore.storage import paths
from featurestore.storage.delta import DataFile, Table
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore.views.build_trials import KILLER_RULES, BuildIsolation, BuildPlan, BuildTrials
from featurestore.views.builds import BuildPartResult, BuildResult, definition, record_build
from featurestore.views.schema import QUARANTINE, view_schema
from featurestore_transforms.tables.data_files import discard_uncommitted, statistic_us
from featurestore_transforms.tables.erased_keys import ErasedKeys
from featurestore_transforms.tables.pieces import identity
from featurestore_transforms.tables.rewrite import Rewrite, without
from featurestore_transforms.tables.row_changes import (
    IDENTITY,
    NO_ROWS,
    Rows,
    TooManyChanged,
    rows_changed,
    scan,
)
from featurestore_transforms.tables.table_history import are_there, is_known
from featurestore_transforms.views.build_part import BuildPart
from featurestore_transforms.views.feature_files import fill
from featurestore_transforms.views.kept_statistics import keep_statistics
from featurestore_transforms.views.measured_drift import measure_drift
from featurestore_transforms.views.rejected import killer_files, rejected_files

_ATTEMPTS = 10


def run_build(
    storage: Storage, request: BuildRequest, progress: Callable[[Progress], None]
) -> BuildResult | BuildPartResult:
    """How far the build has come: to the version that was asked for, or further; or which part of its rows was read.

    Raises:
        NotFound: no definition has this digest; the build is not needed any more.
        SpecError: the definition does not fit the dataset; the message says what there is.
        StorageError: storage did not answer, or does not have the version.
        Conflict: other writers were always first, another attempt is due, or a rebuild replaced the history that the
            build is of.
    """
    accepted = definition(storage, request.view, request.digest)
    build = _Build(storage, request.digest, accepted, progress)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            table = build.bring_up(request.to_version, request.turn)
            break
        except Conflict:
            if attempt == _ATTEMPTS:
                raise
    if isinstance(table, BuildPartResult):
        return table
    result = build.record(table)
    spec = accepted.resource.spec
    if spec.statistics is StatisticsKept.ALWAYS:
        keep_statistics(table, request.view, request.digest, result.source_version, spec)
    monitoring = spec.monitoring
    if monitoring is not None:
        measure_drift(
            storage, request.view, request.digest, result.version, result.source_version, monitoring
        )
    return result


class _Build:
    """One build being brought up."""

    def __init__(
        self,
        storage: Storage,
        digest: str,
        accepted: Accepted[FeatureView],
        progress: Callable[[Progress], None],
    ) -> None:
        self._storage, self._digest, self._progress = storage, digest, progress
        self._view, self._spec = accepted.resource.metadata.name, accepted.resource.spec
        self._spec_digest = accepted.digest
        ledger = Ledger(storage, self._spec.source.pipeline)
        self._uid, self._generation = ledger.uid(), ledger.rebuilds.generation()
        self._lineage = Lineage(storage, self._spec.source.pipeline)
        self._path = paths.features(self._view, digest)
        self._rejected = paths.rejected_rows(self._view, digest)
        self._source = paths.dataset(self._spec.source.pipeline)

    def bring_up(self, wanted: int, turn: int) -> Table | BuildPartResult:
        """The build's table, holding at least the version ``wanted`` of the dataset; or the part that was due."""
        table = Table.create(self._storage, self._path, view_schema(self._spec))
        while True:
            done = table.committed(self._digest)
            rejected = Table.open(self._storage, self._rejected)
            ahead = rejected.committed(self._digest) if rejected else 0
            if done >= max(wanted, ahead):
                return table
            trials = BuildTrials(self._storage, self._view, self._digest, done)
            build_isolation = trials.read()
            if build_isolation.turn != turn:
                if done:
                    self.record(table)
                raise _another_turn(self._view, build_isolation.turn, turn)
            # A killed run may have left its quarantine committed. What it began is finished first: its rows
            # would be quarantined twice if a later version were taken in one go.
            target = (
                ahead if ahead > done else build_isolation.plan.to_version if build_isolation.plan else wanted
            )
            dataset = self._dataset(target)
            if dataset is None and wanted > target:
                dataset, done = self._dataset(wanted), 0
            if dataset is None:
                raise StorageError(
                    "this version of the dataset is gone",
                    where=self._storage.uri(self._source),
                    got=str(target),
                    hint="Ask for the newest one",
                )
            self._require_generation(dataset)
            try:
                outcome = self._advance(table, rejected, dataset, done, trials, build_isolation)
            except (OSError, pl.exceptions.PolarsError) as error:
                # Polars says of an object store that does not answer what it says of all else that fails.
                where = self._storage.uri(self._source)
                raise StorageError("the dataset cannot be read", where=where, got=str(error)) from error
            if isinstance(outcome, BuildPartResult):
                return outcome
            table, turn = outcome, 0

    def record(self, table: Table) -> BuildResult:
        """What the table holds, which is now known to those who load no data engine, too."""
        result = self.result(table)
        record_build(self._storage, result)
        return result

    def result(self, table: Table) -> BuildResult:
        """What the table and its quarantine hold, from their commits alone."""
        rejected = Table.open(self._storage, self._rejected)
        files = table.files()
        [newest] = table.history(1)
        rows_read, took_us = _measured(newest)
        return BuildResult(
            view=self._view,
            digest=self._digest,
            source_version=table.committed(self._digest),
            version=table.version,
            rows=_rows(files),
            rows_quarantined=_rows(rejected.files()) if rejected else 0,
            watermark_us=_watermark_us(table, files),
            rows_read=rows_read,
            took_us=took_us,
            finished_us=int(newest.get("finished_us", newest["timestamp"] * 1000)),
        )

    def _advance(
        self,
        table: Table,
        rejected: Table | None,
        dataset: Table,
        done: int,
        trials: BuildTrials,
        build_isolation: BuildIsolation,
    ) -> Table | BuildPartResult:
        """The table after the commit that brings it from version ``done`` of the dataset to ``dataset``.

        Or, of a build that is halved, the part of these rows that is due.
        """
        began_ns = time.monotonic_ns()
        rows = self._changed(dataset, done)
        afresh = rows is None
        if rows is None:
            rows = Rows.all_of(dataset)
        quarantined = rejected is not None and rejected.committed(self._digest) >= dataset.version
        aside = _set_aside(rejected) if quarantined and rejected is not None else NO_ROWS
        rows = rows.without(aside)
        if build_isolation.turn:
            rows = rows.in_order()
            build_isolation = self._searched(trials, build_isolation, dataset, rows)
        isolation = build_isolation.isolation
        if isolation.halved and isolation.first < isolation.stop:
            return self._part(table, rows, trials, build_isolation)
        killers = {row: identity(rows, row) for row in isolation.killers}
        if isolation.halved:
            parts = [BuildPart.from_json(trial.part) for trial in isolation.parts]
            if quarantined:
                # What its quarantine does not say was set aside is read after all.
                parts += [self._read(table, rows.part(row, row + 1)) for row in killers]
            filled = BuildPart.joined(parts)
        else:
            filled = self._fill(table, dataset, rows)
        old = self._without(table, rows, afresh=afresh)
        if not quarantined:
            crashes = [(killers[row], crash) for row, crash in sorted(isolation.killers.items())]
            self._quarantine(rejected, dataset, rows, filled, crashes, halved=isolation.halved, afresh=afresh)
        hit("after-quarantine-commit")
        # Deleted meanwhile, it must not come back.
        definition(self._storage, self._view, self._digest)
        took = _rows(rows.files), (time.monotonic_ns() - began_ns) // 1000
        most_read, took_us = max(_measured(table.history(1)[0]), took)
        try:
            table = table.commit(
                app_id=self._digest,
                number=dataset.version,
                add=[*filled.files, *old.add],
                remove=old.remove,
                metadata={
                    **self._metadata(dataset),
                    "rows_added": str(_rows(filled.files)),
                    "rows_removed": str(_rows(old.remove) - _rows(old.add)),
                    "rows_quarantined": str(filled.broken + len(killers)),
                    "most_rows_read": str(most_read),
                    "took_us": str(took_us),
                    "watermark_us": str(_watermark_us(table, filled.files)),
                },
            )
        except Conflict:
            # Somebody else was first. Of an older version of the dataset, they may have what was erased since.
            if build_isolation.turn:
                trials.forget()
            discard_uncommitted(self._storage, self._path, [*filled.files, *old.add])
            raise
        hit("after-build-commit")
        if build_isolation.turn:
            trials.forget()
        return table

    def _searched(
        self, trials: BuildTrials, build_isolation: BuildIsolation, dataset: Table, rows: Rows
    ) -> BuildIsolation:
        """What is attempted of these rows, which are written down before any is read: the same for whoever looks.

        Raises:
            Conflict: what was read before is not of these rows, or keys were erased since; it is forgotten.
        """
        listing = [[file.path, file.rows] for file in rows.files]
        erasure = Erasures(self._storage).last()
        plan = BuildPlan(to_version=dataset.version, rows=_rows(rows.files), files=digest([listing, erasure]))
        begun = trials.begin(plan)
        other = any(trial.part["plan"] != plan.files for trial in begun.isolation.parts)
        if begun.plan != plan or other or begun.turn != build_isolation.turn:
            if begun.plan != plan or other:
                trials.forget()
            raise _another_turn(self._view, begun.turn, build_isolation.turn)
        return begun

    def _part(
        self, table: Table, rows: Rows, trials: BuildTrials, build_isolation: BuildIsolation
    ) -> BuildPartResult:
        """Read the rows that are due, and keep what they came to."""
        assert build_isolation.plan is not None
        first, stop = build_isolation.isolation.first, build_isolation.isolation.stop
        hit("before-build-part")
        part = self._read(table, rows.part(first, stop), quarantine=True)
        hit("after-build-part")
        now_us = current_us()
        trial = Trial(first=first, stop=stop, ended_us=now_us, part=part.to_json(build_isolation.plan.files))
        if not trials.append(build_isolation.turn, trial):
            raise _another_turn(self._view, build_isolation.turn + 1, build_isolation.turn)
        return BuildPartResult(
            view=self._view, digest=self._digest, first=first, stop=stop, finished_us=now_us
        )

    def _without(self, table: Table, rows: Rows, *, afresh: bool) -> Rewrite:
        """What the table is without the rows that went; ``afresh``: without any."""
        files = table.files()
        return Rewrite(remove=tuple(files)) if afresh else without(table, files, rows.deleted)

    def _fill(self, table: Table, dataset: Table, rows: Rows) -> BuildPart:
        if not dataset.files():
            # A dataset that has no row yet may not have its columns yet either.
            return BuildPart()
        return self._read(table, rows)

    def _read(self, table: Table, rows: Rows, *, quarantine: bool = False) -> BuildPart:
        """What the rows come to. ``quarantine``: also those that break a rule, else only how many they are."""
        filled = fill(table, rows, self._spec, self._lineage, self._counter("compute features", rows))
        rejected: tuple[DataFile, ...] = ()
        if quarantine and filled.broken:
            rejected = self._rejected_files(self._rejected_table(), rows)
        return BuildPart(filled.files, rejected, filled.broken)

    def _rejected_table(self) -> Table:
        return Table.create(self._storage, self._rejected, QUARANTINE)

    def _rejected_files(self, table: Table, rows: Rows) -> tuple[DataFile, ...]:
        counter = self._counter("quarantine rows", rows)
        erased = ErasedKeys.read(self._storage, self._spec.source.pipeline)
        return rejected_files(table, rows, self._spec, self._lineage, current_us(), erased, counter)

    def _quarantine(
        self,
        rejected: Table | None,
        dataset: Table,
        rows: Rows,
        filled: BuildPart,
        crashes: Sequence[tuple[pl.DataFrame, Failure]],
        *,
        halved: bool,
        afresh: bool,
    ) -> None:
        """Commit the rows that do not fit or crash, and take out those that are not in the dataset any more."""
        if rejected is None and not filled.broken and not crashes:
            return
        table = rejected or self._rejected_table()
        old = self._without(table, rows, afresh=afresh)
        files = filled.rejected
        if filled.broken and not halved:
            files = self._rejected_files(table, rows)
        if crashes:
            files = (*files, *killer_files(table, crashes, self._lineage, current_us()))
        table.commit(
            app_id=self._digest,
            number=dataset.version,
            add=[*files, *old.add],
            remove=old.remove,
            metadata={**self._metadata(dataset), "rows_quarantined": str(_rows(files))},
        )

    def _dataset(self, wanted: int) -> Table | None:
        """The dataset at a version; None if that is cleaned up, wholly or in part.

        Raises:
            StorageError: storage did not answer, or the dataset never had this version.
        """
        newest = Table.open(self._storage, self._source)
        if newest is None or newest.version < wanted:
            raise StorageError(
                "the dataset has no such version",
                where=self._storage.uri(self._source),
                wanted=str(wanted),
                got="no dataset" if newest is None else f"versions up to {newest.version}",
            )
        if newest.version == wanted:
            return newest
        if not is_known(newest, wanted):
            return None
        dataset = Table.open(self._storage, self._source, wanted)
        return dataset if dataset and are_there(dataset, dataset.files()) else None

    def _require_generation(self, dataset: Table) -> None:
        """Raises Conflict if a rebuild has replaced what the build is of: rows of two histories are never mixed."""
        now = dataset.committed(rebuild_application(self._uid))
        if now != self._generation:
            raise Conflict(
                "the history of the dataset was replaced",
                where=self._storage.uri(self._source),
                wanted=f"that of rebuild {self._generation}",
                got=str(now),
            )

    def _changed(self, dataset: Table, done: int) -> Rows | None:
        """Rows that came and went since version ``done``; None if starting over is better or the only way."""
        if done == 0:
            return None
        try:
            changes = dataset.changes(done)
        except StorageError:
            if is_known(dataset, done):
                raise
            return None
        if changes.removed and not are_there(dataset, changes.removed):
            return None
        try:
            return rows_changed(dataset, changes, self._spec.resources.memory)
        except TooManyChanged:
            return None

    def _metadata(self, dataset: Table) -> dict[str, str]:
        return {
            "view": self._view,
            "digest": self._digest,
            "spec_digest": self._spec_digest,
            "source_version": str(dataset.version),
            "code_version": version("featurestore"),
            "finished_us": str(current_us()),
        }

    def _counter(self, step: str, rows: Rows) -> Callable[[int], None]:
        """Tells how many rows were looked at, as they are."""
        total = rows.count
        done = 0

        def advanced(count: int) -> None:
            nonlocal done
            done += count
            self._progress(Progress(step=f"{step} of {self._view}", done=done, total=total))

        return advanced


def _another_turn(view: str, wanted: int, got: int) -> Conflict:
    return Conflict("another attempt is due", where=f"view {view!r}", wanted=str(wanted), got=str(got))


def _set_aside(rejected: Table) -> pl.DataFrame:
    """``frame[__batch, __file, __row]``: rows in the quarantine because they crash."""
    killers = pl.col("rule").is_in(list(KILLER_RULES))
    return scan(rejected, rejected.files()).filter(killers).select(IDENTITY).collect(engine="streaming")


def _rows(files: Iterable[DataFile]) -> int:
    return sum(file.rows for file in files)


def _watermark_us(table: Table, files: Iterable[DataFile]) -> int | None:
    """The greatest event time in these files: from their statistics, or from the rows where they lack them."""
    known: list[int] = []
    unknown: list[DataFile] = []
    for file in files:
        greatest = file.stats["maxValues"].get(EVENT_TIME)
        if file.rows and greatest is None:
            unknown.append(file)
        elif file.rows:
            known.append(statistic_us(greatest))
    if unknown:
        [[greatest]] = scan(table, unknown).select(pl.col(EVENT_TIME).max().dt.epoch("us")).collect().rows()
        known.append(greatest)
    return max(known, default=None)


def _measured(commit: Mapping[str, Any]) -> tuple[int, int]:
    """Of the commit that read most up to this one: its rows, and how long it took in microseconds."""
    return int(commit.get("most_rows_read", 0)), int(commit.get("took_us", 0))
