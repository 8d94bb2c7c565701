"""One shard of a version, made by a process anywhere that reaches the storage root: it needs its labels, and what is pinned.

Making it twice, or by two at once, gives the same file: it is put if absent, and its record after it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from featurestore.errors import FeatureStoreError, SpecError
from featurestore.failure import Failure, as_failure
from featurestore.offline.shard_writer import OpenShard, ShardRecord, keep_shard
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import TrainingColumn
from featurestore.training.training_versions import TrainingVersion
from featurestore_transforms.training.freed_memory import from_the_system, give_back, room_for_rows
from featurestore_transforms.training.pinned_version import PinnedVersion, piece_rows


@dataclass(frozen=True, slots=True)
class ShardTask:
    """What all shards of a version are made by. ``schema`` and ``columns``: of every shard."""

    root: str
    name: str
    version: TrainingVersion
    columns: tuple[TrainingColumn, ...]
    schema: pa.Schema

    def make(self, part: str, number: int, *labels: pa.Table) -> ShardRecord | Failure:
        """The record of a shard that is there now, or why it could not be made.

        ``labels``: all of its rows, in order, with their numbers. What a failure is told by
        crosses processes, which an exception does not do unharmed.
        """
        try:
            require_code(self.version.pins.code)
            with from_the_system():
                return self._made(part, number, pa.concat_tables(labels))
        except FeatureStoreError as error:
            return as_failure(error)

    def _made(self, part: str, number: int, labels: pa.Table) -> ShardRecord:
        storage = Storage(self.root)
        pinned = PinnedVersion(storage, self.name, self.version)
        room = room_for_rows(pinned.spec.resources.memory)
        rows = piece_rows(self.schema, room)
        pieces = [labels.slice(first, rows) for first in range(0, len(labels), rows)]
        shard = OpenShard.of(self.schema, self.columns)
        with tempfile.TemporaryDirectory(prefix="featurestore-") as folder:
            join = pinned.join(room, Path(folder), rows)
            join.match(pieces, lambda view, done, total: None)
            for piece in pieces:
                shard.take(join.join(piece))
                give_back()
        return keep_shard(storage, pinned.folder, part, number, shard)


def require_code(pinned: Mapping[str, str]) -> None:
    """Raises SpecError if this process has other versions of packages than the version was pinned with."""
    here = {package: version(package) for package in pinned}
    if here != pinned:
        raise SpecError(
            "a node of the Ray cluster would make other bytes: it has other packages",
            where="spec.engine.ray",
            wanted=", ".join(f"{package} {number}" for package, number in sorted(pinned.items())),
            got=", ".join(f"{package} {number}" for package, number in sorted(here.items())),
            hint="Run the cluster and the Job from images with the same packages",
        )
