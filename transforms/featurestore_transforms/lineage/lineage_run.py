"""What a request reads and writes, as a job of OpenLineage with its datasets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from featurestore.protocol import EngineRequest
from featurestore.registry.registry import Registry
from featurestore.resources import DataPipeline, FeatureView, TrainingSet
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.outputs import outputs
from featurestore.storage import paths
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import ColumnRole, TrainingManifest
from featurestore.training.training_versions import TrainingSetResult, read_manifest
from featurestore.views.builds import BuildResult
from featurestore_transforms.lineage.lineage_dataset import LineageDataset, absolute


@dataclass(frozen=True)
class LineageRun:
    """``job``: its name. ``inputs`` and ``outputs``: with what is known of them."""

    job: str
    inputs: tuple[LineageDataset, ...]
    outputs: tuple[LineageDataset, ...]


def described(storage: Storage, request: EngineRequest, result: Any = None) -> LineageRun | None:
    """What a request is about; with ``result``, what came of it as well. None for requests of which nothing is told.

    Raises:
        FeatureStoreError: what it is about cannot be read.
    """
    if request.told_by is None:
        return None
    module, _, function = request.told_by.partition(":")
    lineage: LineageRun | None = getattr(import_module(module), function)(storage, request, result)
    return lineage


def batch_lineage(storage: Storage, request: Any, result: Any) -> LineageRun:
    """Of a batch, or of a piece of a rebuild."""
    name = request.pipeline
    accepted = Registry(storage).current(DataPipeline, name)
    inputs = []
    if accepted is not None:
        inputs.append(LineageDataset.at(absolute(request.base, accepted.resource.spec.source.place)))
        steps = [step.lookup for step in accepted.resource.spec.transforms if step.lookup is not None]
        inputs += [_dataset(storage, lookup.pipeline) for lookup in steps]
    output = _dataset(storage, name)
    if result is not None and result.kind == "batch":
        output = replace(
            output,
            version=str(result.dataset_version),
            columns={
                column: kind for column, kind in result.dataset_columns.items() if not column.startswith("__")
            },
            rows=result.rows_committed,
        )
    job = f"pipeline.{name}" + (".rebuild" if request.kind == "rebuild" else "")
    return LineageRun(job, tuple(inputs), (output,))


def promotion_lineage(storage: Storage, request: Any, result: Any) -> LineageRun:
    """Of a rebuild that takes the place of the history before."""
    output = _dataset(storage, request.pipeline)
    if result is not None:
        output = replace(output, version=str(result.dataset_version), rows=result.rows)
    return LineageRun(f"pipeline.{request.pipeline}.rebuild", (), (output,))


def build_lineage(storage: Storage, request: Any, result: Any) -> LineageRun | None:
    """Of a build of a view."""
    accepted = Registry(storage).current(FeatureView, request.view)
    if accepted is None:
        return None
    spec = accepted.resource.spec
    dataset, output = _dataset(storage, spec.source.pipeline), _view(storage, request.view)
    dataset = replace(dataset, version=str(request.to_version))
    if isinstance(result, BuildResult):
        keys = {key.name: key.type.value for key in spec.entity.join_keys}
        output = replace(
            output,
            version=f"{result.digest}/{result.version}",
            columns=keys | {output.name: output.type.value for output in outputs(spec)},
            lineage=_columns(dataset, spec),
            rows=result.rows,
        )
    return LineageRun(f"view.{request.view}", (dataset,), (output,))


def _columns(
    dataset: LineageDataset, spec: FeatureViewSpec
) -> dict[str, list[tuple[LineageDataset, str, str]]]:
    """Of keys, and of features that are a column or aggregate one; not of expressions."""
    columns = {key.name: [(dataset, key.name, "IDENTITY")] for key in spec.entity.join_keys}
    for output in outputs(spec):
        feature = output.feature
        if feature.aggregate is not None and feature.aggregate.column is not None:
            columns[output.name] = [(dataset, feature.aggregate.column, "AGGREGATION")]
        elif feature.aggregate is None and feature.expression is None:
            columns[output.name] = [(dataset, feature.column or feature.name, "IDENTITY")]
    return columns


def training_lineage(storage: Storage, request: Any, result: Any) -> LineageRun:
    """Of a version of a training set."""
    output = LineageDataset.at(storage.uri(paths.made("trainingsets", request.name)))
    job = f"trainingset.{request.name}"
    manifest = None
    if isinstance(result, TrainingSetResult):
        manifest = read_manifest(storage, request.name, result.digest)
    if manifest is not None:
        return _version(storage, request, job, output, manifest)
    accepted = Registry(storage).current(TrainingSet, request.name)
    labels = accepted.resource.spec.labels if accepted is not None else None
    inputs = () if labels is None else (_labels(storage, request.base, labels.pipeline, labels.uri),)
    return LineageRun(job, inputs, (output,))


def _version(
    storage: Storage,
    request: Any,
    job: str,
    output: LineageDataset,
    manifest: TrainingManifest,
) -> LineageRun:
    views = {
        view.name: replace(_view(storage, view.name), version=f"{view.digest}/{view.version}")
        for view in manifest.pins.views
    }
    pinned = manifest.pins.labels
    labels = _labels(storage, request.base, pinned.pipeline or None, pinned.uri or None)
    if pinned.version is not None:
        labels = replace(labels, version=str(pinned.version))
    lineage = {}
    for column in manifest.columns:
        view, _, feature = column.feature.partition(":")
        if column.role is not ColumnRole.FEATURE:
            lineage[column.name] = [(labels, column.name, "IDENTITY")]
        elif view in views:
            lineage[column.name] = [(views[view], feature, "IDENTITY")]
    made = replace(
        output,
        version=manifest.digest,
        columns={column.name: column.type for column in manifest.columns},
        lineage=lineage,
        rows=manifest.rows,
    )
    return LineageRun(job, (labels, *views.values()), (made,))


def _labels(storage: Storage, base: str, pipeline: str | None, uri: str | None) -> LineageDataset:
    return _dataset(storage, pipeline) if pipeline else LineageDataset.at(absolute(base, uri or ""))


def _dataset(storage: Storage, pipeline: str) -> LineageDataset:
    return LineageDataset.at(storage.uri(paths.dataset(pipeline)))


def _view(storage: Storage, view: str) -> LineageDataset:
    """A view has one name, whichever of its builds serves: which it is stands in the version."""
    return LineageDataset.at(storage.uri(paths.view(view)))
