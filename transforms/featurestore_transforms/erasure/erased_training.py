"""Erased keys out of training sets: shards that have them are written again without, and the version says so.

Such a version cannot be made again: what it was made of is gone. Versions that are not complete are given up as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.arrivals.erasure import Erasure
from featurestore.erasure.record import TableErasure
from featurestore.errors import Damaged
from featurestore.offline.shard_writer import OpenShard, ShardRecord, leaks, part_of, read_shard_record
from featurestore.registry.registry import Registry
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import ColumnRole, Pins, TrainingManifest, TrainingPart
from featurestore.training.training_versions import (
    complete_numbers,
    read_manifest,
    read_result,
    read_version,
    replace_result,
    result_of,
    version_numbers,
)
from featurestore_transforms.training.erased_labels import erased_rows, key_columns, pipelines_of


def erase_training(storage: Storage, erasure: Erasure) -> Iterator[TableErasure]:
    """What was erased of each version of a training set that has rows of these keys.

    Raises:
        StorageError: storage did not answer.
    """
    for name in storage.names(paths.TRAINING_SETS):
        complete = complete_numbers(storage, name)
        for number in version_numbers(storage, name):
            version = read_version(storage, name, number)
            if version is None or not _is_of(storage, version.pins, erasure):
                continue
            if number not in complete:
                storage.delete(paths.training_data(name, version.digest))
                continue
            manifest, result = (
                read_manifest(storage, name, version.digest),
                read_result(storage, name, number),
            )
            if manifest is None or result is None:
                continue
            if erasure.number not in manifest.erasures:
                erasing = _Erasing(storage, manifest, erasure)
                manifest = erasing.erased()
            # Counted with the manifest: who goes on after a kill finds the rows gone.
            rows = dict(manifest.erased_rows).get(erasure.number, 0)
            replace_result(storage, result_of(manifest, number, version.definition, result.finished_us))
            files = _sweep(storage, manifest)
            if rows or files:
                yield TableErasure(path=paths.training_data(name, manifest.digest), rows=rows, files=files)


def _is_of(storage: Storage, pins: Pins, erasure: Erasure) -> bool:
    """Whether rows of one of the pipelines, or features of them, may be in it. One that was saved ad hoc does not say."""
    is_ad_hoc = not pins.views and not pins.labels.pipeline
    return is_ad_hoc or any(pipeline in erasure.pipelines for pipeline in pipelines_of(storage, pins))


class _Erasing:
    def __init__(self, storage: Storage, manifest: TrainingManifest, erasure: Erasure) -> None:
        self._storage, self._manifest, self._erasure = storage, manifest, erasure
        self._folder = paths.training_data(manifest.name, manifest.digest)
        self._called = key_columns(Registry(storage), manifest.definition, manifest.pins)

    def erased(self) -> TrainingManifest:
        """The manifest of what is left, which readers find from now on."""
        manifest = self._manifest
        parts, records = [], []
        for part in manifest.parts:
            left = list(self._left(part))
            parts.append(part_of(part.name, left))
            records += left
        rows, number = sum(part.rows for part in parts), self._erasure.number
        short = manifest.model_copy(
            update={
                "parts": tuple(parts),
                "rows": rows,
                "erased_rows": (*manifest.erased_rows, (number, manifest.rows - rows)),
                "size_bytes": sum(part.size_bytes for part in parts),
                "leaks": tuple(leaks(records)),
                "erasures": (*manifest.erasures, number),
            }
        )
        path = paths.training_manifest(manifest.name, manifest.digest)
        self._storage.replace(path, short.to_bytes())
        return short

    def _left(self, part: TrainingPart) -> Iterator[ShardRecord]:
        """Each shard that has rows left, with what stands in it then."""
        for shard in part.shards:
            place = f"{self._folder}/{paths.record_of_shard(shard.path)}"
            record = read_shard_record(self._storage, place)
            if record is None:
                raise Damaged("the record of a shard is gone", where=self._storage.uri(place))
            with self._storage.opened(f"{self._folder}/{record.shard.path}") as file:
                rows = pq.read_table(file)
            kept = rows.filter(pa.array(~self._flags(rows).to_numpy()))
            if len(kept) == len(rows):
                yield record
            elif len(kept):
                yield self._written(record, kept)

    def _written(self, record: ShardRecord, rows: pa.Table) -> ShardRecord:
        old = record.shard.path
        path = f"{old.removesuffix('.parquet').partition('.')[0]}.e{self._erasure.number}.parquet"
        equal = [(feature, label) for feature, label, _ in record.equal]
        shard = OpenShard(rows.schema, self._manifest.columns, equal)
        shard.take(rows)
        data, short = shard.end(path)
        self._storage.put_if_absent(f"{self._folder}/{path}", data)
        self._storage.replace(
            f"{self._folder}/{paths.record_of_shard(old)}",
            short.to_bytes(),
        )
        return short

    def _flags(self, rows: pa.Table) -> pl.Series:
        columns = [column.name for column in self._manifest.columns if column.role is not ColumnRole.FEATURE]
        return erased_rows(rows.select(columns), [self._erasure], self._called)


def _sweep(storage: Storage, manifest: TrainingManifest) -> int:
    """How many files were deleted that the manifest does not name."""
    folder, deleted = paths.training_data(manifest.name, manifest.digest), 0
    for part in manifest.parts:
        named = {shard.path for shard in part.shards}
        for file in storage.names(f"{folder}/{part.name}"):
            if f"{part.name}/{file}" not in named:
                storage.delete(f"{folder}/{part.name}/{file}")
                deleted += 1
    return deleted
