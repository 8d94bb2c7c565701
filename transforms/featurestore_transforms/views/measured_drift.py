"""The values of a view that came last, compared with the training set that its monitoring names."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.profiles.drift_metrics import drift_of
from featurestore.profiles.table_profile import TableProfile
from featurestore.resources.monitoring import Monitoring
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import ColumnRole, TrainingManifest
from featurestore.training.training_versions import read_manifest, read_result
from featurestore.training.view_drift import ViewDrift, newest_reference, read_drift, record_drift

_POSITION = "__position"
_PIECE_ROWS = 65_536


def measure_drift(
    storage: Storage, view: str, digest: str, version: int, commit: int, monitoring: Monitoring
) -> ViewDrift:
    """What was measured of this version of the build's table, which has its statistics. It is kept.

    ``commit``: of the dataset, which that version holds.

    Raises:
        StorageError: storage did not answer.
    """
    name, number = monitoring.reference.training_set, newest_reference(storage, monitoring)
    known = read_drift(storage, view, digest)
    if known is not None and known.is_of(version, monitoring, number):
        return known
    drift = ViewDrift(version=version, training_set=name, number=number)
    reference = _reference(storage, view, name, number) if number is not None else None
    data = storage.find(paths.recent_profile(view, digest, version))
    if reference is not None and data is not None:
        recent = TableProfile.from_bytes(data)
        metrics = {
            column: drift_of(reference.sampled(column), recent.sampled(column))
            for column in reference.columns
            if column in recent.columns
        }
        drift = drift.model_copy(
            update={
                "rows": recent.rows,
                "features": {name: measured for name, measured in metrics.items() if measured},
            }
        )
    drift = drift.after(known, commit)
    record_drift(storage, view, digest, drift)
    return drift


def _reference(storage: Storage, view: str, name: str, number: int) -> TableProfile | None:
    """What the view's features look like in the part that is trained on; kept, because it takes a read of all of it."""
    result = read_result(storage, name, number)
    manifest = read_manifest(storage, name, result.digest) if result else None
    if manifest is None:
        return None
    path = paths.reference_profile(view, manifest.digest, len(manifest.erasures))
    data = storage.find(path)
    if data is not None:
        return TableProfile.from_bytes(data)
    profile = _read(storage, view, manifest)
    storage.delete(paths.references(view))
    storage.replace(path, profile.to_bytes())
    return profile


def _read(storage: Storage, view: str, manifest: TrainingManifest) -> TableProfile:
    # An aggregated feature is stored as what goes in, which has another name.
    named = {
        column.feature.partition(":")[2]: column.name
        for column in manifest.columns
        if column.role is ColumnRole.FEATURE and column.feature.partition(":")[0] == view
    }
    profile = TableProfile([_POSITION], tuple(named))
    at = 0
    for shard in manifest.parts[0].shards if named else ():
        where = f"{paths.training_data(manifest.name, manifest.digest)}/{shard.path}"
        with storage.opened(where) as opened:
            for piece in pq.ParquetFile(opened).iter_batches(_PIECE_ROWS, columns=list(named.values())):
                position = np.arange(at, at + piece.num_rows, dtype=np.int64)
                at += piece.num_rows
                columns = [piece.column(column) for column in named.values()]
                numbered = pa.Array.from_buffers(pa.int64(), len(position), [None, pa.py_buffer(position)])
                profile.add(pa.Table.from_arrays([numbered, *columns], [_POSITION, *named]))
    return profile
