"""Features that were asked for ad hoc, kept as a version of a training set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version

import pyarrow as pa

from featurestore.arrivals.erasure import Erasures
from featurestore.client.features import Features
from featurestore.client.training_data import TrainingData
from featurestore.errors import Conflict, RequestError, did_you_mean
from featurestore.offline.shard_writer import OpenShard, ShardRecord, leaks, part_of
from featurestore.registry.registry import Registry
from featurestore.resources import TrainingSet
from featurestore.resources.metadata import NAME_PATTERN
from featurestore.resources.training_set import WHOLE
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.timestamps import current_us
from featurestore.training.training_manifest import (
    ColumnRole,
    PinnedFile,
    PinnedLabels,
    Pins,
    TrainingColumn,
    TrainingManifest,
    version_digest,
)
from featurestore.training.training_versions import (
    TrainingVersion,
    begin_version,
    complete_numbers,
    read_result,
    record_result,
    result_of,
    version_numbers,
)
from featurestore.views.schema import plain_type

_PACKAGES = ("featurestore", "numpy", "pyarrow")


def save_training_set(
    storage: Storage, name: str, features: Features, labels: Sequence[str], shard_rows: int
) -> TrainingData:
    """See :meth:`featurestore.client.connection.Store.save_training_set`."""
    _require_free(storage, name)
    table, columns = _typed(features, labels)
    shards = list(_shards(table, columns, shard_rows))
    content = hashlib.sha256("".join(record.shard.sha256 for _, record in shards).encode()).hexdigest()
    definition = {"columns": [column.model_dump(mode="json", by_alias=True) for column in columns]}
    size = sum(len(data) for data, _ in shards)
    file = PinnedFile(uri="", version=content, size_bytes=size)
    code = {package: version(package) for package in _PACKAGES}
    pins = Pins(views=(), labels=PinnedLabels(files=(file,)), code=code)
    named = version_digest(name, definition, pins)
    complete = complete_numbers(storage, name)
    newest = read_result(storage, name, complete[-1]) if complete else None
    if newest is not None and newest.digest == named:
        return TrainingData.find(storage, name, newest.number)
    number = max(version_numbers(storage, name), default=0) + 1
    begun = TrainingVersion(
        number=number,
        digest=named,
        spec="",
        definition=definition,
        pins=pins,
        erasures=Erasures(storage).last(),
        created_us=current_us(),
    )
    if not begin_version(storage, name, begun):
        raise Conflict("another version was saved meanwhile", where=storage.uri(paths.training(name)))
    folder = paths.training_data(name, named)
    for data, record in shards:
        storage.put_if_absent(f"{folder}/{record.shard.path}", data)
        place = f"{folder}/{paths.record_of_shard(record.shard.path)}"
        storage.put_if_absent(place, record.to_bytes())
    records = [record for _, record in shards]
    part = part_of(WHOLE, records)
    manifest = TrainingManifest(
        name=name,
        digest=named,
        spec="",
        definition=definition,
        pins=pins,
        columns=columns,
        rows=part.rows,
        size_bytes=part.size_bytes,
        parts=(part,),
        leaks=tuple(leaks(records)),
    )
    storage.put_if_absent(paths.training_manifest(name, named), manifest.to_bytes())
    record_result(storage, result_of(manifest, number, definition, current_us()))
    return TrainingData.find(storage, name, number)


def _require_free(storage: Storage, name: str) -> None:
    import re

    if not re.match(NAME_PATTERN, name):
        raise RequestError(
            "this is not a name of a training set", where="name", wanted=NAME_PATTERN, got=name
        )
    if Registry(storage).accepted_digest(TrainingSet, name) is not None:
        raise RequestError(
            f"the training set {name!r} is made of a resource",
            where="name",
            hint="Choose another name: its versions are made by runs",
        )


def _typed(features: Features, labels: Sequence[str]) -> tuple[pa.Table, tuple[TrainingColumn, ...]]:
    """The rows in plain types, and what each column is."""
    table, time = features.to_arrow(), features.timestamp_column
    if time is None:
        raise RequestError(
            "these are features as they are now, and a model is trained on features as they were",
            where="features",
            wanted="an answer of get_features(…, timestamp_column=NAME)",
        )
    own = set(features.answer.columns)
    for label in labels:
        if label not in table.column_names or label in own or label == time:
            known = [name for name in table.column_names if name not in own and name != time]
            raise RequestError(
                f"there is no column {label!r} of labels", where="labels", hint=did_you_mean(label, known)
            )
    schema = pa.schema([pa.field(field.name, plain_type(field.type)) for field in table.schema])
    if not pa.types.is_timestamp(schema.field(time).type):
        at = schema.get_field_index(time)
        schema = schema.set(at, pa.field(time, pa.timestamp("us")))
    table = table.cast(schema)
    if table.column(time).null_count:
        raise RequestError("a row has no time", where=f"column {time!r}", hint="Leave out such rows")
    roles = {time: ColumnRole.TIME, **dict.fromkeys(own, ColumnRole.FEATURE)}
    roles |= dict.fromkeys(labels, ColumnRole.LABEL)
    return table, tuple(
        TrainingColumn(name=field.name, type=str(field.type), role=roles.get(field.name, ColumnRole.KEY))
        for field in schema
    )


def _shards(
    table: pa.Table, columns: tuple[TrainingColumn, ...], shard_rows: int
) -> list[tuple[bytes, ShardRecord]]:
    shards = []
    for number, first in enumerate(range(0, len(table), shard_rows)):
        shard = OpenShard.of(table.schema, columns)
        shard.take(table.slice(first, shard_rows))
        shards.append(shard.end(paths.shard(WHOLE, number)))
    return shards
