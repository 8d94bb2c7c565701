"""Features of a piece of labels, by the same join and the same computations as ``get_features``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa

from featurestore.client.entity_rows import key_table
from featurestore.client.on_demand import ViewValues, with_computed
from featurestore.client.resolution import Resolution, ViewRead
from featurestore.client.times import microseconds
from featurestore.offline.join import Times, point_in_time
from featurestore.resources.training_set import FeatureNames, TrainingSetSpec
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import ColumnRole, PinnedView, Pins, TrainingColumn
from featurestore.views.feature_query import FeatureQuery, FeatureValues
from featurestore.views.schema import arrow_type
from featurestore.views.value_column import arrow_columns, event_time_column
from featurestore_transforms.training.freed_memory import give_back
from featurestore_transforms.training.matched_view import MatchedView
from featurestore_transforms.training.row_order import NUMBER

_INDEX_BYTES, _VALUE_BYTES = 160, 160
"""What a row of a view takes at most while it is matched, and each value of a window with it."""
_HELD_BYTES, _NESTED_BYTES = 32, 512
"""What each other value of a row takes that is in memory with it, and each list."""
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
    """The join as of the commits that are pinned.

    ``view_rows``: of each view. ``room``: bytes that rows may take. ``folder``: has room for the values of views that do not fit
    into it, and for their rows. ``rows_at_once``: of labels.
    """

    def __init__(
        self,
        storage: Storage,
        spec: TrainingSetSpec,
        layout: TrainingLayout,
        pins: Pins,
        view_rows: dict[str, int],
        room: int,
        folder: Path,
        rows_at_once: int,
    ) -> None:
        self._storage, self._spec, self._layout = storage, spec, layout
        self._pins: dict[str, PinnedView] = {view.name: view for view in pins.views}
        self._share = room // _SHARE
        self._folder, self._rows_at_once = folder, rows_at_once
        self._parts = [
            1 + view_rows[read.view.name] * _held_bytes(read) // self._share
            if view_rows[read.view.name] * _matched_bytes(read) > self._share
            else 1
            for read in layout.resolution.reads
        ]
        self._matched: dict[int, MatchedView] = {}

    def match(self, pieces: Iterable[pa.Table], advanced: Callable[[str, int, int], None]) -> None:
        """Find the values of views that do not fit, for all labels that will be joined, in any pieces.

        Nothing is asked of ``pieces`` if all views fit. ``advanced`` hears of which view how many labels of how many are done.

        Raises:
            RequestError: a key is of another type.
            StorageError: storage did not answer, or this machine's disk is full.
        """
        reads = self._layout.resolution.reads
        large = [place for place, parts in enumerate(self._parts) if parts > 1]
        if not large:
            return
        pieces = iter(pieces)
        first = next(pieces, None)
        if first is None:
            return
        time = first.schema.field(self._spec.labels.timestamp_field)
        for place in large:
            view = reads[place].view
            self._matched[place] = MatchedView(
                reads[place],
                Table.open(
                    self._storage, paths.features(view.name, view.digest), self._pins[view.name].version
                ),
                time,
                self._folder / f"view-{place}",
                self._parts[place],
                self._rows_at_once,
                self._share // len(large),
            )
        for labels in chain([first], pieces):
            for matched in self._matched.values():
                matched.add(labels)
            give_back()
        for place, matched in self._matched.items():
            matched.match(partial(advanced, reads[place].view.name))

    def join(self, labels: pa.Table) -> pa.Table:
        """The rows with their features. ``labels``: with their numbers, which are not among the columns of the answer.

        Raises:
            RequestError: a key or a value of a request is of another type.
            CodeError: a user's function raised.
            StorageError: storage did not answer.
        """
        resolution, time = self._layout.resolution, self._spec.labels.timestamp_field
        numbers = labels.column(NUMBER).to_numpy()
        labels = labels.drop_columns([NUMBER])
        times = Times(*microseconds(labels.column(time), time))
        view_values: list[ViewValues] = []
        for place, read in enumerate(resolution.reads):
            if place in self._matched:
                values = self._matched[place].values(numbers)
            else:
                values = self._looked_up(read, key_table(read, labels), times)
            view_values.append(ViewValues(arrow_columns(read.outputs, values), event_time_column(values)))
        answers = with_computed(resolution, view_values, lambda: labels, len(labels))
        columns = dict(zip(labels.column_names, labels.columns, strict=True))
        for name, column in zip(self._layout.names, resolution.columns, strict=True):
            columns[name] = answers[column.place].columns[column.output.name].to_arrow()
        return pa.table(columns)

    def _looked_up(self, read: ViewRead, keys: pa.Table, times: Times) -> FeatureValues:
        view = read.view
        query = FeatureQuery(view.name, view.spec, view.digest, read.outputs, keys)
        return point_in_time(self._storage, query, times, self._pins[view.name].version, self._share)


def _matched_bytes(read: ViewRead) -> int:
    windows = sum(output.window_us is not None for output in read.outputs)
    return _INDEX_BYTES + _VALUE_BYTES * windows


def _held_bytes(read: ViewRead) -> int:
    columns = {output.column: arrow_type(output.type) for output in read.outputs if output.window_us is None}
    nested: int = sum(pa.types.is_nested(kind) for kind in columns.values())
    return _matched_bytes(read) + _HELD_BYTES * (len(columns) - nested) + _NESTED_BYTES * nested
