"""The rows of a training set in batches: each once over all ranks, workers and epochs, and resumed where a run stood."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.client.epoch_order import EpochOrder, Remainder, Run, share_of, step_rows
from featurestore.client.training_rank import Place, place_of
from featurestore.errors import Damaged, RequestError, did_you_mean
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import TrainingManifest, TrainingShard

_STEPS_AHEAD = 256
_LOADING = 2
"""Row groups that are loaded at once: one is decoded, by all processors, while the rows of the other are put in order by one."""
_FORMAT = 1


class _RowGroup(NamedTuple):
    path: str
    at: int
    rows: int


class _Step(NamedTuple):
    """A batch. ``epoch`` and ``position``: where all ranks are after it. ``turn``: which worker of this rank is next."""

    epoch: int
    position: int
    turn: int
    order: EpochOrder
    of_epoch: int
    runs: list[Run]


class TrainingReader:
    """An iterable of Arrow batches. See :meth:`featurestore.client.training_data.TrainingData.shards`.

    Iterating goes on where the reader stands: at the beginning, where it was left, or at the state that was loaded. After
    the last epoch there is nothing more.
    """

    def __init__(
        self,
        storage: Storage,
        manifest: TrainingManifest,
        shards: Sequence[TrainingShard],
        part: str | None,
        *,
        batch_rows: int,
        seed: int | None,
        epochs: int,
        columns: Sequence[str] | None,
        rank: int | None,
        world_size: int | None,
        worker: int,
        workers: int,
        remainder: str,
        interleave: int,
    ) -> None:
        for name, value in (("batch_rows", batch_rows), ("epochs", epochs), ("interleave", interleave)):
            if value < 1:
                raise RequestError("this is too few", where=name, wanted="at least 1", got=str(value))
        if not 0 <= worker < workers:
            raise RequestError(
                "there is no such worker", where="worker", wanted=f"0 to below {workers}", got=str(worker)
            )
        if remainder not in list(Remainder):
            raise RequestError(
                "there is no such choice", where="remainder", wanted=", ".join(Remainder), got=str(remainder)
            )
        known = [column.name for column in manifest.columns]
        if columns is not None and not columns:
            raise RequestError("this is too few", where="columns", wanted="at least 1", got="0")
        for column in columns or ():
            if column not in known:
                raise RequestError(
                    f"there is no column {column!r}", where="columns", hint=did_you_mean(column, known)
                )
        if rank is not None or world_size is not None:
            place_of(rank, world_size, {})
        self._storage, self._manifest, self._part = storage, manifest, part
        folder = paths.training_data(manifest.name, manifest.digest)
        self._groups = [
            _RowGroup(f"{folder}/{shard.path}", index, rows)
            for shard in shards
            for index, rows in enumerate(shard.row_groups)
            if rows
        ]
        self._rows = sum(group.rows for group in self._groups)
        self._columns = None if columns is None else list(columns)
        self._batch_rows, self._seed, self._epochs = batch_rows, seed, epochs
        self._rank, self._world_size = rank, world_size
        self._worker, self._workers = worker, workers
        self._remainder = Remainder(remainder)
        self._interleave, self._chunk = interleave, batch_rows
        self._epoch, self._position, self._turn = 0, 0, 0
        self._has_begun = False
        self._footers: dict[str, Any] = {}

    @property
    def rows(self) -> int:
        """Of an epoch, over all ranks."""
        return self._rows

    def state_dict(self) -> dict[str, Any]:
        """Where all ranks are after the batch that was given last, as JSON can hold it.

        It is the same on every rank after as many batches, and any number of ranks and workers goes on from it.
        """
        return {
            "format": _FORMAT,
            **self._identity(),
            "interleave": self._interleave,
            "chunk": self._chunk,
            "epoch": self._epoch,
            "position": self._position,
        }

    @property
    def turn(self) -> int:
        """Which worker of this rank gives the batch after the one that was given last."""
        return self._turn

    def load_state_dict(self, state: Mapping[str, Any], turn: int = 0) -> None:
        """Go on after the batch of a state, in the order that it began with.

        ``turn``: of the reader whose state it is, where each worker goes on by a state of its own. Else all load one state,
        and the first of them gives the next batch.

        Raises:
            RequestError: the state is of other rows or of another seed, or is none.
        """
        numbers = [state.get(name) for name in ("interleave", "chunk", "epoch", "position")]
        whole = [number for number in numbers if type(number) is int and number >= 0]
        if state.get("format") != _FORMAT or len(whole) != len(numbers) or 0 in whole[:2]:
            raise RequestError(
                "this is not the state of a reader",
                where="state",
                wanted="what state_dict() gave",
                got=repr(dict(state))[:200],
            )
        for name, wanted in self._identity().items():
            if state.get(name) != wanted:
                raise RequestError(
                    "this state is of another reader",
                    where=f"state, {name}",
                    wanted=repr(wanted),
                    got=repr(state.get(name)),
                    hint="Read the same version, part and seed: store.training_set(name, digest)",
                )
        interleave, chunk, epoch, position = whole
        if position > self._rows:
            raise RequestError(
                "this is not the state of a reader",
                where="state, position",
                wanted=f"at most {self._rows}",
                got=str(position),
            )
        self._interleave, self._chunk = interleave, chunk
        self._epoch, self._position, self._turn = epoch, position, turn
        self._has_begun = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._has_begun and self._workers > 1:
            raise RequestError(
                "a worker cannot go on by itself, as it does not know what the others gave",
                where="worker",
                hint="Load one state into all workers",
            )
        self._has_begun = True
        return self._batches(place_of(self._rank, self._world_size, os.environ))

    def _identity(self) -> dict[str, Any]:
        """What decides which row stands where. Keys that were erased took rows out of the version."""
        return {
            "digest": self._manifest.digest,
            "part": self._part,
            "seed": self._seed,
            "erasures": len(self._manifest.erasures),
        }

    def _batches(self, place: Place) -> Iterator[pa.RecordBatch]:
        """The batches of this rank and worker; their row groups are read ahead by threads."""
        steps, ahead = self._steps(place), deque[_Step]()
        loading: dict[tuple[int, int, int], Future[pa.RecordBatch]] = {}
        pool = ThreadPoolExecutor(_LOADING, "training-reader")
        try:
            while True:
                current = _keys(ahead[0]) if ahead else set()
                while not ahead or (
                    len(ahead) < _STEPS_AHEAD and len(loading.keys() - current) < 2 * self._interleave
                ):
                    step = next(steps, None)
                    if step is None:
                        break
                    for run in step.runs:
                        key = (step.of_epoch, run.block, run.group)
                        if key not in loading:
                            loading[key] = pool.submit(self._load, step.order, run.group)
                    ahead.append(step)
                if not ahead:
                    break
                step = ahead.popleft()
                keys = _keys(step)
                reached = min(keys)[:2]
                loading = {
                    key: future for key, future in loading.items() if key[:2] >= reached or key in keys
                }
                batch = _joined(
                    [
                        loading[step.of_epoch, run.block, run.group]
                        .result()
                        .slice(run.first, run.last - run.first)
                        for run in step.runs
                    ]
                )
                self._epoch, self._position, self._turn = step.epoch, step.position, step.turn
                yield batch
            self._epoch, self._position = max(self._epoch, self._epochs), 0
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _steps(self, place: Place) -> Iterator[_Step]:
        """What this rank and worker reads, in its order."""
        epoch, position, number = self._epoch, self._position, self._turn
        groups = [group.rows for group in self._groups]
        while epoch < self._epochs and self._rows:
            order = EpochOrder(
                groups, self._manifest.digest, self._seed, epoch, self._interleave, self._chunk
            )
            while position < self._rows:
                rows = step_rows(self._rows - position, self._batch_rows, place.world_size, self._remainder)
                first, last = share_of(rows, place.rank, place.world_size, self._remainder)
                begin, position = position, position + rows
                is_mine = number % self._workers == self._worker
                number += 1
                if is_mine and first < last:
                    runs = list(_around(order, begin + first, begin + last, self._rows))
                    after = (epoch + 1, 0) if position == self._rows else (epoch, position)
                    yield _Step(*after, number % self._workers, order, epoch, runs)
            epoch, position = epoch + 1, 0

    def _load(self, order: EpochOrder, number: int) -> pa.RecordBatch:
        """A row group in the order of an epoch."""
        group = self._groups[number]
        with self._storage.opened(group.path) as file:
            parquet = pq.ParquetFile(file, metadata=self._footers.get(group.path))
            self._footers[group.path] = parquet.metadata
            if group.at >= parquet.num_row_groups:
                raise self._damaged(group, f"{parquet.num_row_groups} row groups")
            table = parquet.read_row_group(group.at, columns=self._columns)
        if len(table) != group.rows:
            raise self._damaged(group, f"{len(table)} rows in row group {group.at}")
        within = order.within(number)
        [rows] = (
            (table if self._columns is None else table.select(self._columns)).combine_chunks().to_batches()
        )
        return rows if within is None else rows.take(pa.array(within))

    def _damaged(self, group: _RowGroup, got: str) -> Damaged:
        return Damaged(
            "a shard is not what was written",
            where=self._storage.uri(group.path),
            wanted=f"{group.rows} rows in row group {group.at}",
            got=got,
        )


def _keys(step: _Step) -> set[tuple[int, int, int]]:
    """The row groups of a step, each in its epoch and block."""
    return {(step.of_epoch, run.block, run.group) for run in step.runs}


def _around(order: EpochOrder, first: int, last: int, rows: int) -> Iterator[Run]:
    """Rows of an epoch, which begins again behind its last one: that is what is padded."""
    while first < last:
        at = first % rows
        count = min(last - first, rows - at)
        yield from order.runs(at, at + count)
        first += count


def _joined(runs: list[pa.RecordBatch]) -> pa.RecordBatch:
    return runs[0] if len(runs) == 1 else pa.concat_batches(runs)
