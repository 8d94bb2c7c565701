"""Shards made by tasks on a Ray cluster: labels are sorted and cut here, joined and written there, committed here.

A task that is lost with its node is done again by Ray. If the cluster itself goes, the run fails and is repeated, and
takes the shards that are there. Ray is loaded when a set asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from featurestore.client.answers import library
from featurestore.errors import StorageError
from featurestore.failure import Failure, as_error
from featurestore.offline.shard_writer import PartShards, ShardRecord
from featurestore.resources.training_set import RayEngine
from featurestore.storage.objects import Storage
from featurestore_transforms.training.shard_task import ShardTask

_AGAIN = 20
"""So often is a task done again whose node was lost."""


class RayCluster:
    """A cluster that this process is connected to. ``memory_bytes``: of a task."""

    def __init__(self, ray: Any, engine: RayEngine, memory_bytes: int) -> None:
        self._ray, self._engine, self._memory_bytes = ray, engine, memory_bytes

    @classmethod
    @contextmanager
    def connected(cls, engine: RayEngine, memory_bytes: int) -> Iterator[RayCluster]:
        """Until it is left.

        Raises:
            RequestError: ray is not installed.
            StorageError: the cluster does not answer.
        """
        ray = library("ray")
        try:
            ray.init(address=engine.address, log_to_driver=False, logging_level="warning")
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise StorageError(
                "the Ray cluster does not answer", where=engine.address, got=str(error)
            ) from error
        try:
            yield cls(ray, engine, memory_bytes)
        finally:
            ray.shutdown()

    def at_once(self) -> int:
        """How many shards may be under way: twice what runs, so that no node waits for labels."""
        processors = int(self._ray.cluster_resources().get("CPU", 1))
        return 2 * max(1, processors // self._engine.cpus)

    def put(self, labels: pa.Table) -> Any:
        """A reference to rows that are kept in the cluster meanwhile."""
        return self._ray.put(labels.combine_chunks())

    def begin(self, task: ShardTask, part: str, number: int, labels: list[Any]) -> Any:
        """A reference to what becomes of a shard."""
        made = self._ray.remote(_make).options(
            num_cpus=self._engine.cpus,
            memory=self._memory_bytes,
            max_retries=_AGAIN,
            name=f"{task.name}/{part}/{number}",
        )
        return made.remote(task, part, number, *labels)

    def result(self, begun: Any) -> ShardRecord:
        """The record of a shard.

        Raises:
            FeatureStoreError: it could not be made.
        """
        try:
            answer = self._ray.get(begun)
        except self._ray.exceptions.RayError as error:
            raise StorageError(
                "the Ray cluster lost a shard",
                where=self._engine.address,
                got=str(error),
                hint="It is tried again, with the shards that are there",
            ) from error
        if isinstance(answer, Failure):
            raise as_error(answer)
        record: ShardRecord = answer
        return record


class RayShards(PartShards):
    """Has the shards of one part made by a cluster, some at once."""

    def __init__(
        self, storage: Storage, folder: str, part: str, shard_rows: int, task: ShardTask, cluster: RayCluster
    ) -> None:
        super().__init__(storage, folder, part, shard_rows)
        self._task, self._cluster = task, cluster
        self._most = cluster.at_once()
        self._labels: list[Any] = []
        self._begun: dict[int, Any] = {}

    def add(self, labels: pa.Table) -> None:
        for segment in self._segments(len(labels)):
            if not segment.is_there:
                self._labels.append(self._cluster.put(labels.slice(segment.low, segment.rows)))
                if segment.is_last:
                    self._end_shard(segment.number)

    def _end_shard(self, number: int) -> None:
        self._begun[number] = self._cluster.begin(self._task, self._part, number, self._labels)
        self._labels = []
        while len(self._begun) > self._most:
            self._take_oldest()

    def _await(self) -> None:
        while self._begun:
            self._take_oldest()

    def _take_oldest(self) -> None:
        number = min(self._begun)
        self._records[number] = self._cluster.result(self._begun.pop(number))


def _make(task: ShardTask, part: str, number: int, *labels: pa.Table) -> ShardRecord | Failure:
    return task.make(part, number, *labels)
