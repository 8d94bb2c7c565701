"""A version as it was pinned, whatever is accepted now: what it wants, and how features are joined to its labels."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from featurestore.registry.registry import Registry
from featurestore.resources import FeatureService, TrainingSet
from featurestore.storage import paths
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import ROW_GROUP_ROWS
from featurestore.training.training_versions import TrainingVersion
from featurestore_transforms.training.joined import PinnedJoin, TrainingLayout
from featurestore_transforms.training.pin import PinnedViews, resolution_of

_PIECE_SHARE = 16
"""Of the room for rows, what those of a piece may take: they are there several times while joined."""
_VALUE_BYTES, _NESTED_BYTES = 16, 256
_MOST_GROUPS = 16


class PinnedVersion:
    """``folder``: where its shards are."""

    def __init__(self, storage: Storage, name: str, version: TrainingVersion) -> None:
        self._storage = storage
        registry, self._pins = Registry(storage), version.pins
        resource = registry.get(TrainingSet, name, version.spec)
        pinned = self._pins.service
        service = registry.get(FeatureService, pinned.name, pinned.spec) if pinned else None
        resolution = resolution_of(resource, service, PinnedViews(storage, self._pins))
        self.spec = resource.spec
        self.layout = TrainingLayout.of(resource.spec, resolution)
        self.folder = paths.training_data(name, version.digest)

    def join(self, room: int, folder: Path, rows_at_once: int) -> PinnedJoin:
        """What gives rows of labels their features: see there."""
        view_rows = self._view_rows()
        return PinnedJoin(
            self._storage, self.spec, self.layout, self._pins, view_rows, room, folder, rows_at_once
        )

    def _view_rows(self) -> dict[str, int]:
        counts = {}
        for view in self._pins.views:
            table = Table.open(self._storage, paths.features(view.name, view.digest), view.version)
            counts[view.name] = sum(file.rows for file in table.files()) if table is not None else 0
        return counts


def piece_rows(schema: pa.Schema, room: int) -> int:
    """How many rows are joined at once: whole row groups, as many as memory has room for."""
    row_bytes = sum(_NESTED_BYTES if pa.types.is_nested(field.type) else _VALUE_BYTES for field in schema)
    groups = room // _PIECE_SHARE // row_bytes // ROW_GROUP_ROWS
    return ROW_GROUP_ROWS * max(1, min(groups, _MOST_GROUPS))
