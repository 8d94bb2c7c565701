"""What a version is made of, found once and then held: commits of views and labels, definitions, versions of code."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from featurestore.arrivals.ledger import Ledger
from featurestore.arrivals.manifest import Entry
from featurestore.arrivals.source import ArrivalSource
from featurestore.arrivals.source_kinds import open_source
from featurestore.client.resolution import Resolution, resolve_selections
from featurestore.errors import NotFound, SpecError, StorageError
from featurestore.registry.registry import Accepted, Registry
from featurestore.resources import FeatureService, FeatureView, OnDemandView, TrainingSet
from featurestore.resources.data_pipeline import Format, Source
from featurestore.resources.location import resolve_uri
from featurestore.resources.outputs import outputs
from featurestore.resources.training_set import LabelFormat, Labels
from featurestore.storage import paths
from featurestore.storage.credentials import source_environ
from featurestore.storage.delta import Table
from featurestore.storage.objects import Storage
from featurestore.training.training_manifest import (
    PinnedDefinition,
    PinnedFile,
    PinnedLabels,
    PinnedView,
    Pins,
)
from featurestore.views.builds import read_build
from featurestore.views.served import ServedOnDemand, ServedView, ServedViews
from featurestore_transforms.tables.table_history import are_there, is_known

_READER_FEATURES = {"timestampNtz", "vacuumProtocolCheck", "v2Checkpoint"}
_PACKAGES = ("featurestore", "numpy", "polars", "pyarrow")


def resolution_of(accepted: TrainingSet, service: FeatureService | None, views: ServedViews) -> Resolution:
    """What the features of a training set mean.

    Raises:
        NotFound: a view or a feature is gone, or a view has no build yet.
        RequestError: what it names does not fit together.
    """
    selections = service.spec.features if service is not None else accepted.spec.features.names or ()
    return resolve_selections(selections, views)


def named_service(registry: Registry, resource: TrainingSet) -> Accepted[FeatureService] | None:
    """The service whose features a training set has, as it is accepted; None if it lists them itself.

    Raises:
        NotFound: there is no such service.
    """
    name = resource.spec.features.service
    if name is None:
        return None
    service = registry.current(FeatureService, name)
    if service is None:
        raise NotFound(f"there is no service {name!r}", where=f"the training set {resource.metadata.name!r}")
    return service


def pin(storage: Storage, resource: TrainingSet, base: str) -> Pins:
    """What a version that is begun now is made of.

    Raises:
        NotFound: something that it names is not there yet, or no more.
        StorageError: storage did not answer.
    """
    registry = Registry(storage)
    service = named_service(registry, resource)
    resolution = resolution_of(resource, service.resource if service else None, ServedViews(storage))
    return Pins(
        views=tuple(_pinned_views(storage, resolution)),
        on_demand=tuple(
            PinnedDefinition(name=name, spec=digest)
            for name, digest in sorted(
                {(computed.view.name, computed.view.digest) for computed in resolution.computed}
            )
        ),
        service=None
        if service is None
        else PinnedDefinition(name=service.resource.metadata.name, spec=service.digest),
        labels=_pinned_labels(storage, resource.spec.labels, base),
        code={package: version(package) for package in _PACKAGES},
    )


def _pinned_views(storage: Storage, resolution: Resolution) -> Iterator[PinnedView]:
    for name in sorted({read.view.name for read in resolution.reads}):
        view = next(read.view for read in resolution.reads if read.view.name == name)
        build = read_build(storage, name, view.digest)
        if build is None:
            raise NotFound(f"the view {name!r} has no complete build yet")
        yield PinnedView(
            name=name,
            digest=view.digest,
            version=build.version,
            commit=build.source_version,
            spec=view.spec_digest,
        )


def _pinned_labels(storage: Storage, labels: Labels, base: str) -> PinnedLabels:
    if labels.pipeline is not None:
        ledger = Ledger(storage, labels.pipeline)
        result = ledger.last_result()
        if result is None:
            raise NotFound(f"the pipeline {labels.pipeline!r} has no dataset yet")
        return PinnedLabels(pipeline=labels.pipeline, uid=ledger.dataset_id(), version=result.dataset_version)
    assert labels.uri is not None
    if labels.format is LabelFormat.DELTA:
        table = delta_labels(labels.uri, base, None)
        return PinnedLabels(uri=labels.uri, uid=table.identity, version=table.version)
    files = tuple(_files(labels.uri, base))
    if not files:
        source = _source(labels.uri, base)
        raise NotFound("there are no files of labels", where=labels.uri, hint=source.explain_empty())
    return PinnedLabels(uri=labels.uri, files=files)


def _source(uri: str, base: str) -> ArrivalSource:
    return open_source(Source(uri=uri, format=Format.PARQUET), base, source_environ())


def _files(uri: str, base: str) -> Iterator[PinnedFile]:
    """The files that are there, each with what tells it from another version; a local one by its bytes."""
    source = _source(uri, base)
    entries = [Entry(arrival=arrival) for arrival in source.arrivals()]
    for entry in source.pin(entries):
        arrival = entry.arrival
        yield PinnedFile(
            uri=arrival.uri, version=arrival.content or arrival.version, size_bytes=arrival.size_bytes
        )


def has_files(labels: PinnedLabels, base: str) -> bool:
    """Whether the files of labels still are those that were pinned.

    Raises:
        StorageError: storage did not answer.
    """
    return not labels.files or set(labels.files) <= set(_files(labels.uri, base))


def delta_labels(uri: str, base: str, at: int | None) -> Table:
    """The Delta table of labels at a version, else its newest.

    Raises:
        NotFound: there is no table.
        SpecError: reading its files as they are would give other rows than it has.
        StorageError: storage did not answer, or the version is gone.
    """
    root, _, name = resolve_uri(uri, base).rstrip("/").rpartition("/")
    table = Table.open(Storage(root, source_environ()), name, at)
    if table is None:
        raise NotFound("there is no Delta table of labels", where=uri)
    unknown = sorted(set(table.reader_features) - _READER_FEATURES)
    if unknown:
        raise SpecError(
            f"the Delta table of labels has {', '.join(unknown)}, which are not read",
            where=uri,
            wanted="plain Parquet files",
            hint="Write it anew without them (REORG TABLE … APPLY (PURGE) first, where rows were deleted)",
        )
    return table


class PinnedViews(ServedViews):
    """The views as a version pins them, whatever serves now."""

    def __init__(self, storage: Storage, pins: Pins) -> None:
        super().__init__(storage)
        registry = Registry(storage)
        self._pinned: dict[str, ServedView | ServedOnDemand] = {}
        for view in pins.views:
            spec = registry.get(FeatureView, view.name, view.spec).spec
            self._pinned[view.name] = ServedView(view.name, spec, view.digest, outputs(spec), view.spec)
        for one in pins.on_demand:
            on_demand = registry.get(OnDemandView, one.name, one.spec).spec
            self._pinned[one.name] = ServedOnDemand(one.name, on_demand, one.spec, outputs(on_demand))

    def get(self, name: str, max_age_s: float = 0.0) -> ServedView | ServedOnDemand:
        """The view as it is pinned."""
        if name not in self._pinned:
            raise NotFound(f"the view {name!r} is not pinned")
        return self._pinned[name]


def is_there(storage: Storage, pins: Pins, base: str) -> bool:
    """Whether all that is pinned can still be read as it was: rows are erased, and old versions cleaned up.

    Raises:
        StorageError: storage did not answer.
    """
    tables = [(paths.features(view.name, view.digest), view.version) for view in pins.views]
    if pins.labels.pipeline:
        if Ledger(storage, pins.labels.pipeline).dataset_id() != pins.labels.uid:
            return False
        assert pins.labels.version is not None
        tables.append((paths.dataset(pins.labels.pipeline), pins.labels.version))
    if not all(_table_is_there(Table.open(storage, path), at) for path, at in tables):
        return False
    if pins.labels.uri and pins.labels.version is not None:
        labels = delta_labels(pins.labels.uri, base, None)
        return labels.identity == pins.labels.uid and _table_is_there(labels, pins.labels.version)
    return has_files(pins.labels, base)


def _table_is_there(newest: Table | None, at: int) -> bool:
    if newest is None or newest.version < at or not is_known(newest, at):
        return False
    storage, path = newest.storage, newest.path
    table = newest if newest.version == at else Table.open(storage, path, at)
    if table is None:
        raise StorageError("the table is gone", where=storage.uri(path))
    return are_there(table, table.files())
