"""The table of kinds. What must be done for every kind loops over it; nothing else lists kinds.

Registry, documents, CRDs, checks of references, changesets, the command line, and the controller's cache, review and
roles go by this table, so that a kind which is a mere list needs a model and a row here: see docs/adding-a-kind.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from featurestore.resources.data_pipeline import DataPipeline
from featurestore.resources.feature_selection import view_of
from featurestore.resources.feature_service import FeatureService, FeatureServiceStatus
from featurestore.resources.feature_store import FeatureStore
from featurestore.resources.feature_store_policy import FeatureStorePolicy
from featurestore.resources.feature_view import View
from featurestore.resources.key_erasure import KeyErasure, KeyErasureStatus
from featurestore.resources.resource import Resource
from featurestore.resources.status import (
    DataPipelineStatus,
    FeatureStoreStatus,
    FeatureViewStatus,
    KindStatus,
)
from featurestore.resources.training_set import TrainingSet, TrainingSetStatus

GROUP, VERSION = "featurestore.dev", "v1alpha1"
VERSIONS = (VERSION,)
"""All that the API server serves, the one that it stores first. They have one schema: docs/adr/0038."""
API_VERSION = f"{GROUP}/{VERSION}"

ITEMS = "[]"
"""In the path of a reference: each item of a list."""


@dataclass(frozen=True, slots=True)
class ResourceReference:
    """A field of a spec whose text names a resource of another kind.

    ``path``: from ``spec``, by YAML names. ``name``: the name in the text, where it holds more than that.
    """

    kind: str
    path: tuple[str, ...]
    name: Callable[[str], str] = str

    def named(self, spec: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Path from ``spec``, and name, of all that a spec names so; the spec as YAML or the API server has it.

        >>> list(ResourceReference("DataPipeline", ("source", "pipeline")).named({"source": {"pipeline": "flights"}}))
        [(('source', 'pipeline'), 'flights')]
        """
        for path, text in _values_at(spec, self.path, ()):
            if isinstance(text, str):
                yield path, self.name(text)


def _values_at(
    value: Any, path: tuple[str, ...], at: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if not path:
        yield at, value
    elif path[0] == ITEMS:
        for n, item in enumerate(value if isinstance(value, list) else ()):
            yield from _values_at(item, path[1:], (*at, n))
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _values_at(value[path[0]], path[1:], (*at, path[0]))


def kind_name(model: type[Resource]) -> str:
    """The name in YAML of what a model is of.

    >>> kind_name(View)
    'FeatureView'
    """
    return str(model.model_fields["kind"].default)


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """A column of ``kubectl get`` and ``featurestore get``: its name, type, JSON path, and what it says."""

    name: str
    type: Literal["string", "integer", "date"]
    path: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceKind:
    """A kind, as each part of the project needs to know it.

    ``folder``: what several are called on the command line, and below ``registry/``. ``columns``: what is shown
    between its name and its age; ``wide`` only by ``-o wide``. ``references``: what it names. ``tells``: fields of
    its status that those who name it go by: they are woken by a change of one; "Ready" is whether it is ready.
    ``only_one``: a storage root holds one of them. ``label``: on its Jobs and their pods; "" if it has none.
    ``has_data``: deleting it may delete data (``deletionPolicy``). ``written_by``: who may write it: whoever may
    edit a namespace, or only its administrators. ``cluster_wide``: it is in no namespace, and its administrator's.
    ``status``: None if nobody reports on it. ``sums_up``: it is ready when all that it names is, and as fresh as
    the stalest of that. ``cluster_only``: it is stored in no registry; a laptop has a
    command instead, and refuses it.
    """

    model: type[Resource]
    status: type[KindStatus] | None
    plural: str
    short: str
    folder: str
    columns: tuple[PrinterColumn, ...] = ()
    wide: tuple[PrinterColumn, ...] = ()
    references: tuple[ResourceReference, ...] = ()
    tells: tuple[str, ...] = ("acceptedDigest",)
    only_one: bool = False
    label: str = ""
    has_data: bool = False
    written_by: Literal["edit", "admin"] = "edit"
    cluster_wide: bool = False
    sums_up: bool = False
    cluster_only: bool = False

    @property
    def name(self) -> str:
        """Its name in YAML: ``FeatureView``."""
        return kind_name(self.model)

    @property
    def noun(self) -> str:
        """What people call one of them: ``view``."""
        return self.folder.removesuffix("s")

    @property
    def words(self) -> tuple[str, ...]:
        """What it is called on the command line, in small letters."""
        return (self.noun, self.folder, self.name.lower(), self.plural, self.short)

    def named(self, spec: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str | int, ...], str]]:
        """Kind, path from ``spec`` and name of all that a spec, as YAML or the API server has it, refers to."""
        for reference in self.references:
            for path, name in reference.named(spec):
                yield reference.kind, path, name


_NEXT = PrinterColumn("Next attempt", "string", ".status.nextAttemptTime", "When what failed is retried.")

KINDS: dict[str, ResourceKind] = {
    kind.name: kind
    for kind in (
        ResourceKind(
            model=FeatureStore,
            status=FeatureStoreStatus,
            plural="featurestores",
            short="fs",
            folder="stores",
            columns=(
                PrinterColumn("Offline", "string", ".spec.offline.uri", "Where all data lives."),
                PrinterColumn("Pipelines", "integer", ".status.pipelines", "Number of its DataPipelines."),
                PrinterColumn("Views", "integer", ".status.views", "Number of its FeatureViews."),
                PrinterColumn(
                    "Servers", "integer", ".status.serving.readyReplicas", "Feature servers that are ready."
                ),
            ),
            wide=(
                PrinterColumn("URL", "string", ".status.serving.url", "Where its feature servers answer."),
            ),
            only_one=True,
            written_by="admin",
        ),
        ResourceKind(
            model=DataPipeline,
            status=DataPipelineStatus,
            plural="datapipelines",
            short="dp",
            folder="pipelines",
            columns=(
                PrinterColumn(
                    "Committed",
                    "date",
                    ".status.lastCommitTime",
                    "How long ago the last batch was committed.",
                ),
                PrinterColumn("Rows", "integer", ".status.rows", "Rows of the dataset."),
                PrinterColumn(
                    "Quarantined",
                    "integer",
                    ".status.quarantinedRows",
                    "Rows that are open in quarantine.",
                ),
                PrinterColumn(
                    "Pending", "integer", ".status.pendingFiles", "Files that no committed batch holds yet."
                ),
            ),
            wide=(
                PrinterColumn("Batch", "integer", ".status.batch", "Number of the last committed batch."),
                PrinterColumn("Commit", "integer", ".status.commit", "Commit of the dataset."),
                PrinterColumn(
                    "Lag", "integer", ".status.lag", "Offsets of a stream that no committed batch holds yet."
                ),
                PrinterColumn(
                    "Oldest",
                    "date",
                    ".status.oldestPendingTime",
                    "For how long the oldest pending file waits.",
                ),
                _NEXT,
            ),
            references=(ResourceReference("DataPipeline", ("transforms", ITEMS, "lookup", "pipeline")),),
            tells=("commit", "acceptedDigest"),
            label="featurestore.dev/pipeline",
            has_data=True,
        ),
        ResourceKind(
            model=View,
            status=FeatureViewStatus,
            plural="featureviews",
            short="fv",
            folder="views",
            columns=(
                PrinterColumn("Freshness", "date", ".status.watermark", "Age of the greatest event time."),
                PrinterColumn("Rows", "integer", ".status.rows", "Feature rows in the offline store."),
                PrinterColumn(
                    "Commit",
                    "integer",
                    ".status.offlineCommit",
                    "Commit of the dataset that is served offline.",
                ),
                PrinterColumn(
                    "Online",
                    "integer",
                    ".status.onlineCommit",
                    "Commit of the dataset that is served online.",
                ),
            ),
            wide=(
                PrinterColumn("Entities", "integer", ".status.entities", "Entities in the online store."),
                PrinterColumn("Quarantined", "integer", ".status.quarantinedRows", "Rows that did not fit."),
                PrinterColumn("Build", "string", ".status.build", "The build that serves."),
                _NEXT,
            ),
            references=(
                ResourceReference("DataPipeline", ("source", "pipeline")),
                ResourceReference("FeatureView", ("onDemand", "inputs", ITEMS), view_of),
                ResourceReference("FeatureView", ("onDemand", "inputs", ITEMS, "view")),
            ),
            tells=("acceptedDigest", "watermark", "Ready"),
            label="featurestore.dev/view",
            has_data=True,
        ),
        ResourceKind(
            model=FeatureService,
            status=FeatureServiceStatus,
            plural="featureservices",
            short="fsv",
            folder="services",
            columns=(
                PrinterColumn("Freshness", "date", ".status.watermark", "Freshness of the stalest view."),
                PrinterColumn("Features", "integer", ".status.features", "How many features it gives."),
            ),
            wide=(PrinterColumn("Owner", "string", ".spec.owner", "Who is responsible for it."),),
            references=(
                ResourceReference("FeatureView", ("features", ITEMS), view_of),
                ResourceReference("FeatureView", ("features", ITEMS, "view")),
            ),
            sums_up=True,
        ),
        ResourceKind(
            model=TrainingSet,
            status=TrainingSetStatus,
            plural="trainingsets",
            short="ts",
            folder="trainingsets",
            columns=(
                PrinterColumn("Version", "integer", ".status.version", "Number of the newest version."),
                PrinterColumn("Rows", "integer", ".status.rows", "Rows of the newest version."),
                PrinterColumn(
                    "Made",
                    "date",
                    ".status.versionTime",
                    "How long ago the newest version was complete.",
                ),
            ),
            wide=(
                PrinterColumn("Versions", "integer", ".status.versions", "How many versions there are."),
                PrinterColumn("Digest", "string", ".status.digest", "Digest of the newest version."),
                _NEXT,
            ),
            references=(
                ResourceReference("DataPipeline", ("labels", "pipeline")),
                ResourceReference("FeatureView", ("features", "names", ITEMS), view_of),
                ResourceReference("FeatureView", ("features", "names", ITEMS, "view")),
                ResourceReference("FeatureService", ("features", "service")),
            ),
            label="featurestore.dev/trainingset",
            has_data=True,
        ),
        ResourceKind(
            model=KeyErasure,
            status=KeyErasureStatus,
            plural="erasures",
            short="er",
            folder="erasures",
            columns=(
                PrinterColumn("Entity", "string", ".spec.entity", "Whose keys they are."),
                PrinterColumn("Keys", "integer", ".status.keys", "How many keys were erased."),
                PrinterColumn("Rows", "integer", ".status.rows", "How many rows went."),
                PrinterColumn("Done", "date", ".status.finishTime", "For how long it is done."),
            ),
            wide=(PrinterColumn("Record", "string", ".status.record", "Where its record is."), _NEXT),
            references=(ResourceReference("FeatureView", ("view",)),),
            label="featurestore.dev/erasure",
            written_by="admin",
            cluster_only=True,
        ),
    )
}
"""By name, in the order in which resources are applied: what is named stands before what names it."""

POLICY = ResourceKind(
    model=FeatureStorePolicy,
    status=None,
    plural="featurestorepolicies",
    short="fsp",
    folder="policies",
    columns=(
        PrinterColumn("Prefixes", "string", ".spec.uriPrefixes", "What may be opened without a Secret."),
        PrinterColumn(
            "Accounts", "string", ".spec.serviceAccountNames", "ServiceAccounts that Jobs may use."
        ),
    ),
    cluster_wide=True,
)
"""The kind that only a cluster has: it is stored in no registry, and no file of resources holds it."""


def defined() -> tuple[ResourceKind, ...]:
    """All kinds that the API server is told of."""
    return (*KINDS.values(), POLICY)


def kind_of(resource: Resource | type[Resource]) -> ResourceKind:
    """The row of a resource, or of its model.

    >>> kind_of(View).noun
    'view'
    """
    return KINDS[resource.kind if isinstance(resource, Resource) else kind_name(resource)]


def references(resource: Resource) -> Iterator[tuple[str, tuple[str | int, ...], str]]:
    """Kind, path from ``spec`` and name of all that a resource refers to."""
    spec = resource.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    yield from kind_of(resource).named(spec)
