"""Features of a piece of labels, by the same join and the same computations as ``get_features``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from featurestore.client.entity_rows import key_table
from featurestore.client.on_demand import ViewValues, with_computed
from featurestore.client.resolution import Resolution, ViewRead
from featurestore.client.times import microseconds
from featurestore.hashing import key_hashes
from featurestore.offline.join import Times, point_in_time
from featurestore.resources.training_set import FeatureNames, TrainingSetSpec
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import ColumnRole, PinnedView, Pins, TrainingColumn
from featurestore.views.feature_query import FeatureQuery, FeatureValues
from featurestore.views.schema import arrow_type
from featurestore.views.value_column import arrow_columns, event_time_column
from featurestore_transforms.training.freed_memory import give_back

_INDEX_BYTES, _VALUE_BYTES = 160, 160
"""What a row of a view takes at most while it is matched, and each value of a window with it."""
_SHARE = 4


@dataclass(frozen=True, slots=True)
class TrainingLayout:
    """The columns of every shard: ``labels`` are taken as they are, then come those of ``resolution``, called ``names``."""

    labels: tuple[str, ...]
    names: tuple[str, ...]
    resolution: Resolution

    @classmethod
    def of(cls, spec: TrainingSetSpec, resolution: Resolution) -> TrainingLayout:
        """What a spec wants.

        Raises:
            RequestError: two columns would have the same name.
        """
        split = spec.split.keys if spec.split is not None else ()
        wanted = [*resolution.key_types, *split, *resolution.request, spec.labels.timestamp_field]
        labels = tuple(dict.fromkeys([*wanted, *spec.labels.columns]))
        names = resolution.names(labels, spec.feature_names is FeatureNames.FULL)
        return cls(labels, tuple(names), resolution)

    def schema(self, labels: pa.Schema) -> pa.Schema:
        """Of a shard. ``labels``: of the labels' columns."""
        features = zip(self.names, self.resolution.columns, strict=True)
        return pa.schema(
            [*labels, *(pa.field(name, arrow_type(feature.output.type)) for name, feature in features)]
        )

    def columns(self, spec: TrainingSetSpec, schema: pa.Schema) -> Iterator[TrainingColumn]:
        """As the manifest has them."""
        for name in self.labels:
            yield TrainingColumn(name=name, type=str(schema.field(name).type), role=self._role(spec, name))
        for name, column in zip(self.names, self.resolution.columns, strict=True):
            kind = str(schema.field(name).type)
            yield TrainingColumn(name=name, type=kind, role=ColumnRole.FEATURE, feature=column.reference)

    def _role(self, spec: TrainingSetSpec, name: str) -> ColumnRole:
        if name == spec.labels.timestamp_field:
            return ColumnRole.TIME
        if name in spec.labels.columns:
            return ColumnRole.LABEL
        is_key = name in self.resolution.key_types or (spec.split and name in spec.split.keys)
        return ColumnRole.KEY if is_key else ColumnRole.REQUEST


class PinnedJoin:
    """The join as of the commits that are pinned. ``room``: bytes, which decide in how many parts a view is looked at."""

    def __init__(
        self,
        storage: Storage,
        spec: TrainingSetSpec,
        layout: TrainingLayout,
        pins: Pins,
        view_rows: dict[str, int],
        room: int,
    ) -> None:
        self._storage, self._spec, self._layout = storage, spec, layout
        self._pins: dict[str, PinnedView] = {view.name: view for view in pins.views}
        self._share = room // _SHARE
        self._parts = [
            1 + view_rows[read.view.name] * _row_bytes(read) // self._share
            for read in layout.resolution.reads
        ]

    def join(self, labels: pa.Table) -> pa.Table:
        """The rows with their features.

        Raises:
            RequestError: a key or a value of a request is of another type.
            CodeError: a user's function raised.
            StorageError: storage did not answer.
        """
        resolution, time = self._layout.resolution, self._spec.labels.timestamp_field
        times = Times(*microseconds(labels.column(time), time))
        view_values: list[ViewValues] = []
        for read, parts in zip(resolution.reads, self._parts, strict=True):
            values = self._values(read, parts, key_table(read, labels), times)
            view_values.append(ViewValues(arrow_columns(read.outputs, values), event_time_column(values)))
        answers = with_computed(resolution, view_values, lambda: labels, len(labels))
        columns = dict(zip(labels.column_names, labels.columns, strict=True))
        for name, column in zip(self._layout.names, resolution.columns, strict=True):
            columns[name] = answers[column.place].columns[column.output.name].to_arrow()
        return pa.table(columns)

    def _values(self, read: ViewRead, parts: int, keys: pa.Table, times: Times) -> FeatureValues:
        """The view's values; of entities in turns, so that never more of its rows are matched than fit."""
        view = read.view
        version = self._pins[view.name].version
        if parts == 1:
            query = FeatureQuery(view.name, view.spec, view.digest, read.outputs, keys)
            return point_in_time(self._storage, query, times, version, self._share)
        turn = (key_hashes(keys) % np.uint64(parts)).astype(np.int64)
        order = np.argsort(turn, kind="stable")
        made: list[FeatureValues] = []
        for rows in np.split(order, np.searchsorted(turn[order], np.arange(1, parts))):
            some = FeatureQuery(view.name, view.spec, view.digest, read.outputs, keys.take(pa.array(rows)))
            then = Times(times.us[rows], times.asked[rows])
            made.append(point_in_time(self._storage, some, then, version, self._share))
            give_back()
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return _together(made, back)


def _row_bytes(read: ViewRead) -> int:
    windows = sum(output.window_us is not None for output in read.outputs)
    return _INDEX_BYTES + _VALUE_BYTES * windows


def _together(made: Sequence[FeatureValues], place: npt.NDArray[np.int64]) -> FeatureValues:
    take = pa.array(place)
    return FeatureValues(
        {
            name: pa.concat_arrays([part.columns[name] for part in made]).take(take)
            for name in made[0].columns
        },
        {name: np.concatenate([part.statuses[name] for part in made])[place] for name in made[0].statuses},
        pa.concat_arrays([part.event_times for part in made]).take(take),
    )
