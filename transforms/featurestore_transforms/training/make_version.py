"""A version of a training set is made: pinned, ordered, joined, written, and then older ones are let go.

What is done is found done: a rerun goes on with the version that was begun, under what that pinned, and takes the
shards that are there. Memory of the process is bounded by ``spec.resources.memory``, if a shard fits, whatever the number
of rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path

import polars as pl
import pyarrow as pa

from featurestore.arrivals.erasure import Erasures
from featurestore.errors import Conflict, Damaged, NotFound, StorageError
from featurestore.failpoint import hit
from featurestore.offline.shard_writer import PartShards, ShardWriter, leaks
from featurestore.protocol import Progress, TrainingSetRequest
from featurestore.registry.registry import Accepted, Registry
from featurestore.resources import TrainingSet
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore.training.training_manifest import TrainingManifest, version_digest
from featurestore.training.training_versions import (
    TrainingSetResult,
    TrainingVersion,
    begin_version,
    complete_numbers,
    definition_of,
    read_manifest,
    read_result,
    read_version,
    record_checked,
    record_result,
    result_of,
    version_numbers,
)
from featurestore_transforms.training.erased_labels import erased_rows, erasures_of, key_columns
from featurestore_transforms.training.freed_memory import from_the_system, give_back, room_for_rows
from featurestore_transforms.training.joined import PinnedJoin
from featurestore_transforms.training.label_rows import LabelSource
from featurestore_transforms.training.pin import (
    has_files,
    is_there,
    named_service,
    pin,
)
from featurestore_transforms.training.pinned_version import PinnedVersion, piece_rows
from featurestore_transforms.training.ray_shards import RayCluster, RayShards
from featurestore_transforms.training.row_order import OrderedLabels
from featurestore_transforms.training.shard_task import ShardTask

_SORT_SHARE = 4
"""Of the room for rows, what sorting may take."""
_LEAST_SORT = 64 * 2**20


def run_training_set(
    storage: Storage, request: TrainingSetRequest, progress: Callable[[Progress], None]
) -> TrainingSetResult:
    """What the version became. One that would be the same as the newest again is not made.

    Raises:
        NotFound: the training set was deleted, or what it names is not there.
        FeatureStoreError: it could not be made.
    """
    name = request.name
    accepted = Registry(storage).current(TrainingSet, name)
    if accepted is None:
        raise NotFound(f"no training set {name!r}", where=storage.root, hint="It was deleted meanwhile")
    keep = accepted.resource.spec.retention.versions
    done = read_result(storage, name, request.number)
    if done is not None:
        _let_go(storage, name, keep)
        return done
    version = _begun(storage, accepted, request.base)
    if isinstance(version, TrainingSetResult):
        record_checked(storage, name, current_us())
        return version
    hit("after-version-training")
    result = _Making(storage, request, version, progress).made()
    _let_go(storage, name, keep)
    return result


def _begun(
    storage: Storage, accepted: Accepted[TrainingSet], base: str
) -> TrainingVersion | TrainingSetResult:
    """The version to make: one that was begun and can still be made, else a new one; or the newest, if nothing is new."""
    resource = accepted.resource
    name = resource.metadata.name
    service = named_service(Registry(storage), resource)
    definition = definition_of(resource.spec, service.resource.spec if service else None)
    numbers, complete = version_numbers(storage, name), complete_numbers(storage, name)
    last = numbers[-1] if numbers else 0
    begun = read_version(storage, name, last) if last and last not in complete else None
    erasures = Erasures(storage).last()
    is_same = begun is not None and (begun.definition, begun.erasures) == (definition, erasures)
    if begun is not None and is_same and is_there(storage, begun.pins, base):
        return begun
    pins = pin(storage, resource, base)
    named = version_digest(name, definition, pins)
    newest = read_result(storage, name, complete[-1]) if complete else None
    # What was begun and is of no use any more is followed by another number, else it would be tried again.
    if newest is not None and newest.digest == named and begun is None:
        return newest.model_copy(update={"unchanged": True})
    version = TrainingVersion(
        number=last + 1,
        digest=named,
        spec=accepted.digest,
        definition=definition,
        pins=pins,
        erasures=erasures,
        created_us=current_us(),
    )
    if not begin_version(storage, name, version):
        other = read_version(storage, name, version.number)
        if other is None:
            raise StorageError("a version was begun and is gone", where=storage.uri(paths.training(name)))
        return other
    return version


class _Making:
    """One version. What it is made of is what was pinned, whatever is accepted now."""

    def __init__(
        self,
        storage: Storage,
        request: TrainingSetRequest,
        version: TrainingVersion,
        progress: Callable[[Progress], None],
    ) -> None:
        self._storage, self._request = storage, request
        self._version, self._progress = version, progress
        self._pinned = PinnedVersion(storage, request.name, version)
        self._folder = self._pinned.folder

    def made(self) -> TrainingSetResult:
        """Its result, which is recorded."""
        storage, name, version = self._storage, self._request.name, self._version
        manifest = read_manifest(storage, name, version.digest)
        if manifest is None:
            with tempfile.TemporaryDirectory(prefix="featurestore-") as folder, from_the_system():
                manifest = self._written(Path(folder))
            hit("before-manifest-training")
            path = paths.training_manifest(name, version.digest)
            if (
                not storage.put_if_absent(path, manifest.to_bytes())
                and storage.read(path) != manifest.to_bytes()
            ):
                raise Damaged(
                    "a manifest is not what its version makes",
                    where=storage.uri(path),
                    hint="Delete the folder it is in: the next run makes the version again",
                )
            hit("after-manifest-training")
        result = result_of(manifest, version.number, version.definition, current_us())
        record_result(storage, result)
        self._require_no_erasure()
        hit("after-result-training")
        return result

    def _require_no_erasure(self) -> None:
        """Raises Conflict, and takes the version back, if keys were erased while it was made."""
        name, version = self._request.name, self._version
        try:
            Erasures(self._storage).require_last(version.erasures, self._storage.uri(self._folder))
        except Conflict:
            self._storage.delete(paths.training_result(name, version.number))
            self._storage.delete(self._folder)
            raise

    def _written(self, folder: Path) -> TrainingManifest:
        spec, pins, layout = self._pinned.spec, self._version.pins, self._pinned.layout
        source = LabelSource(
            self._storage, spec.labels, pins.labels, self._request.base, layout.labels, self._erased()
        )
        schema = layout.schema(source.schema)
        columns = tuple(layout.columns(spec, schema))
        room = room_for_rows(spec.resources.memory)
        rows_at_once = piece_rows(schema, room)
        labels = OrderedLabels(spec, source.schema, folder, max(room // _SORT_SHARE, _LEAST_SORT))
        shard = ShardTask(self._request.root, self._request.name, self._version, columns, schema)
        join = None
        if spec.engine.ray is None:
            join = self._pinned.join(room, folder, rows_at_once)
        with closing(labels), self._part_shards(shard, join) as shards_of:
            for rows in source.rows():
                labels.add(rows)
            give_back()
            if not has_files(pins.labels, self._request.base):
                raise Conflict("files of labels were changed while they were read", where=pins.labels.uri)
            if join is not None:
                join.match(self._missing(labels, rows_at_once), self._match_counter())
                give_back()
            writers = [shards_of(part) for part in spec.part_names]
            pieces = labels.pieces(rows_at_once, self._counter(labels.count()))
            for part, those in groupby(pieces, key=lambda pair: pair[0]):
                for _, rows in those:
                    writers[part].add(rows)
                    give_back()
                # Its last shard is not held while the next part is written.
                writers[part].finish()
        parts = tuple(writer.part() for writer in writers)
        return TrainingManifest(
            name=self._request.name,
            digest=self._version.digest,
            spec=self._version.spec,
            definition=self._version.definition,
            pins=pins,
            columns=columns,
            rows=sum(part.rows for part in parts),
            size_bytes=sum(part.size_bytes for part in parts),
            rows_left_out=labels.left_out,
            parts=parts,
            leaks=tuple(leaks([record for writer in writers for record in writer.records])),
        )

    def _erased(self) -> Callable[[pa.Table], pl.Series]:
        """Which rows of labels are of keys that were erased before: files have them still, datasets have not."""
        version = self._version
        erasures = erasures_of(self._storage, version.pins) if self._pinned.spec.labels.uri else []
        called = key_columns(Registry(self._storage), version.definition, version.pins)
        return lambda rows: erased_rows(rows, erasures, called)

    @contextmanager
    def _part_shards(
        self, shard: ShardTask, join: PinnedJoin | None
    ) -> Iterator[Callable[[str], PartShards]]:
        """Who makes the shards of a part: this process by ``join``, else tasks of Ray."""
        pinned = self._pinned
        rows = pinned.spec.shards.rows
        if pinned.spec.engine.ray is not None:
            with RayCluster.connected(pinned.spec.engine.ray, pinned.spec.resources.memory) as cluster:
                yield lambda part: RayShards(self._storage, self._folder, part, rows, shard, cluster)
        else:
            assert join is not None
            joined = join.join
            yield lambda part: ShardWriter(
                self._storage, self._folder, part, shard.columns, shard.schema, rows, joined
            )

    def _missing(self, labels: OrderedLabels, rows_at_once: int) -> Iterator[pa.Table]:
        """Labels in order, without those of shards that are there."""
        spec = self._pinned.spec
        pieces = labels.pieces(rows_at_once, lambda rows: None)
        for part, those in groupby(pieces, key=lambda pair: pair[0]):
            shards = PartShards(self._storage, self._folder, spec.part_names[part], spec.shards.rows)
            for _, rows in those:
                yield shards.missing(rows)

    def _match_counter(self) -> Callable[[str, int, int], None]:
        def advanced(view: str, done: int, total: int) -> None:
            step = f"match labels of {self._request.name} with {view}"
            self._progress(Progress(step=step, done=done, total=total))

        return advanced

    def _counter(self, total: int) -> Callable[[int], None]:
        done = 0
        step = f"join features of {self._request.name}"

        def advanced(rows: int) -> None:
            nonlocal done
            done += rows
            self._progress(Progress(step=step, done=done, total=total))

        return advanced


def _let_go(storage: Storage, name: str, keep: int) -> None:
    """Delete versions that are more than are kept, and what was begun before the newest and never came to an end."""
    complete = complete_numbers(storage, name)
    kept = set(complete[-keep:])
    newest = complete[-1]
    digests = {
        version.digest
        for version in (read_version(storage, name, number) for number in kept)
        if version is not None
    }
    for number in version_numbers(storage, name):
        if number in kept or number > newest:
            continue
        version = read_version(storage, name, number)
        # Readers find it no more before its files go.
        storage.delete(paths.training_result(name, number))
        if version is not None and version.digest not in digests:
            storage.delete(paths.training_data(name, version.digest))
        hit("during-retention-training")
        storage.delete(paths.training_version(name, number))
