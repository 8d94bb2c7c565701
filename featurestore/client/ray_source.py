"""A training set as a source of Ray Data: a task for each shard. This needs ray, and is loaded by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from featurestore.training.training_manifest import TrainingShard


class TrainingSetSource(Datasource):  # type: ignore[misc]
    """``read``: the rows of one shard."""

    def __init__(self, shards: Sequence[TrainingShard], read: Callable[[TrainingShard], pa.Table]) -> None:
        super().__init__()
        self._shards, self._read = list(shards), read

    def estimate_inmemory_data_size(self) -> int:
        return sum(shard.size_bytes for shard in self._shards)

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        return [
            ReadTask(
                partial(_tables, self._read, shard),
                BlockMetadata(
                    num_rows=shard.rows,
                    size_bytes=shard.size_bytes,
                    input_files=[shard.path],
                    exec_stats=None,
                ),
            )
            for shard in self._shards
        ]


def _tables(read: Callable[[TrainingShard], pa.Table], shard: TrainingShard) -> Iterator[pa.Table]:
    yield read(shard)
