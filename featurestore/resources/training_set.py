"""TrainingSet: what a model is trained on, pinned so that the same bytes can be made again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    WithJsonSchema,
    model_serializer,
)

from featurestore.resources.data_pipeline import JobResources, Suspend
from featurestore.resources.feature_selection import FeatureSelections
from featurestore.resources.job_spec import Job
from featurestore.resources.location import NO_CHAIN, NO_CREDENTIALS, SOURCE_PROTOCOL
from featurestore.resources.metadata import DeletionPolicy, Description, Name, Owner, SecretRef, Tags
from featurestore.resources.model import Model
from featurestore.resources.quantity import PositiveDuration
from featurestore.resources.resource import Resource
from featurestore.resources.rule import SpecRule, Unique, exactly_one
from featurestore.resources.status import Count, Digest, KindStatus, Time
from featurestore.resources.value import ColumnName, Expression

WHOLE = "all"
"""The name of the part of a set that is not split."""
_SUM_ERROR = 1e-6


class TrainingFeatures(Model):
    service: Name | None = Field(None, description="FeatureService whose features they are.")
    names: FeatureSelections | None = Field(
        None, min_length=1, description="Features, each as a FeatureService has them."
    )
    # The API server does not see a list of texts and mappings.
    rules = (
        SpecRule(
            message="exactly one of service and names must be set",
            holds=lambda features: (features.service is None) != (features.names is None),
        ),
    )


class LabelFormat(StrEnum):
    """What the labels at a URI are."""

    PARQUET = "Parquet"
    DELTA = "Delta"


def _of_uri(rule: SpecRule) -> SpecRule:
    """A rule about a URI, where there may be none."""
    return SpecRule(
        message=rule.message,
        holds=lambda labels: labels.uri is None or rule.holds(labels),
        cel=f"!has(self.uri) || ({rule.cel})",
        field=rule.field,
    )


class Labels(Model):
    pipeline: Name | None = Field(None, description="DataPipeline whose dataset has the labels.")
    uri: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None, description="Glob of Parquet files that have the labels, or a Delta table: a path or a URL."
    )
    format: LabelFormat = Field(LabelFormat.PARQUET, description="What is at the URI.")
    secret_ref: SecretRef | None = Field(None, description="Secret with the credentials of the URI.")
    timestamp_field: ColumnName = Field(description="Column with the time that the features are wanted for.")
    columns: Annotated[tuple[ColumnName, ...], Unique()] = Field(
        min_length=1, max_length=200, description="Columns that are kept beside keys and time: the labels."
    )
    filter: Expression | None = Field(None, description="Rows that count.")
    rules = (
        exactly_one("pipeline", "uri"),
        *(_of_uri(rule) for rule in (NO_CREDENTIALS, NO_CHAIN, SOURCE_PROTOCOL)),
        SpecRule(
            message="a Delta table is one folder, not a glob",
            holds=lambda labels: (
                labels.uri is None
                or labels.format is LabelFormat.PARQUET
                or not re.search(r"[*?[]", labels.uri)
            ),
            cel="!has(self.uri) || self.format == 'Parquet' || !self.uri.matches('[*?\\\\[]')",
            field="uri",
        ),
        SpecRule(
            message="secretRef goes with uri: the dataset of a pipeline is in the store",
            holds=lambda labels: labels.secret_ref is None or labels.uri is not None,
            cel="!has(self.secretRef) || has(self.uri)",
            field="secretRef",
        ),
    )


class SplitBy(StrEnum):
    TIME = "Time"
    HASH = "Hash"


Share = Annotated[float, Field(gt=0, le=1)]


class SplitParts(Model):
    train: Share = Field(description="Share of the part that is trained on.")
    validation: Share | None = Field(None, description="Share of the part that is tuned on.")
    test: Share | None = Field(None, description="Share of the part that is judged by.")
    rules = (
        SpecRule(
            message="the shares of all parts must sum to 1",
            holds=lambda parts: abs(sum(share for _, share in parts.shares()) - 1) < _SUM_ERROR,
            cel="self.train + (has(self.validation) ? self.validation : 0.0) + (has(self.test) ? self.test : 0.0)"
            f" > {1 - _SUM_ERROR} && self.train + (has(self.validation) ? self.validation : 0.0)"
            f" + (has(self.test) ? self.test : 0.0) < {1 + _SUM_ERROR}",
        ),
    )

    def shares(self) -> Iterator[tuple[str, float]]:
        """Name and share of each part; of a split by time, the earliest first."""
        for name in ("train", "validation", "test"):
            share = getattr(self, name)
            if share is not None:
                yield name, share


class Split(Model):
    by: SplitBy = Field(
        description="Time: earlier rows are trained on, and all rows of one time are in one part. Hash: all rows "
        "with the same keys are in one part."
    )
    keys: Annotated[tuple[ColumnName, ...], Unique()] = Field(
        (), max_length=8, description="For Hash: the columns of an entity's keys."
    )
    parts: SplitParts = Field(description="Parts and their shares, which sum to 1.")
    rules = (
        SpecRule(
            message="a split by Hash needs keys, one by Time has none",
            holds=lambda split: (split.by is SplitBy.HASH) == bool(split.keys),
            cel="(self.by == 'Hash') == (has(self.keys) && self.keys.size() > 0)",
            field="keys",
        ),
    )


class Shuffle(Model):
    seed: int = Field(ge=0, le=2**63 - 1, description="Another seed is another order.")


class Shards(Model):
    rows: int = Field(250_000, ge=100, le=100_000_000, description="Rows of a shard; the last has the rest.")
    shuffle: Shuffle | None = Field(
        None, description="Rows are in a random order within their part. Default: by time."
    )


class RefreshOn(StrEnum):
    ON_SPEC_CHANGE = "OnSpecChange"
    ON_NEW_DATA = "OnNewData"


class Refresh(Model):
    on: RefreshOn | None = Field(
        None, description="OnSpecChange: when the definition changed. OnNewData: also when data did."
    )
    every: PositiveDuration | None = Field(None, description="As OnNewData, but not more often than this.")
    rules = (exactly_one("on", "every"),)

    @model_serializer(mode="wrap")
    def _short(self, write: SerializerFunctionWrapHandler) -> Any:
        return self.on.value if self.on is not None else write(self)


def _refresh(value: Any) -> Any:
    return {"on": value} if isinstance(value, str) else value


class FeatureNames(StrEnum):
    """How columns of features are called: by the feature's name alone, or ``view__feature``."""

    SHORT = "Short"
    FULL = "Full"


class Retention(Model):
    versions: int = Field(10, ge=1, le=10_000, description="Versions that are kept; older ones are deleted.")


RayAddress = Annotated[
    str,
    StringConstraints(
        max_length=300, pattern=r"^(auto|local|(ray://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})$"
    ),
]


class RayEngine(Model):
    address: RayAddress = Field(
        description="Of the cluster: ray://host:10001 from outside of it, host:6379 or auto on a node of it; local "
        "starts one of this machine."
    )
    cpus: int = Field(1, ge=1, le=256, description="Processors that one shard asks of the cluster.")


class BuildEngine(Model):
    ray: RayEngine | None = Field(None, description="Shards are made by tasks on a Ray cluster.")


class TrainingSetSpec(Model):
    features: TrainingFeatures = Field(description="What is joined to the labels.")
    labels: Labels = Field(description="Rows with the keys, the time and what is to be learned.")
    feature_names: FeatureNames = Field(
        FeatureNames.SHORT, description="Whether columns are called `feature` or `view__feature`."
    )
    split: Split | None = Field(None, description="How rows are parted. Default: all are in one part, `all`.")
    shards: Shards = Field(Shards(), description="How the rows of a part are cut into files.")
    refresh: Annotated[
        Refresh,
        BeforeValidator(_refresh),
        WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True}),
    ] = Field(
        Refresh(on=RefreshOn.ON_SPEC_CHANGE),
        description="When there is another version: `OnSpecChange`, `OnNewData` or `{every: 1d}`.",
    )
    retention: Retention = Field(Retention(), description="What becomes of old versions.")
    engine: BuildEngine = Field(
        BuildEngine(), description="What makes shards. Default: one process makes them all."
    )
    resources: JobResources = Field(JobResources(), description="Bounds of one run, and of a task of Ray.")
    job: Job = Field(Job(), description="How runs are started in a cluster. Without effect on a laptop.")
    deletion_policy: DeletionPolicy = Field(
        DeletionPolicy.RETAIN,
        description="Whether deleting the resource in a cluster deletes its versions.",
    )
    suspend: Suspend = Field(Suspend.ACTIVE, description="Suspended: no version is made; reads go on.")
    description: Description = Field("", description="What it is for, in its owner's words.")
    owner: Owner = Field("", description="Who is responsible for it.")
    tags: Tags = Field({}, description="Names and values to find it by.")

    @property
    def part_names(self) -> tuple[str, ...]:
        """The parts in their order."""
        return (WHOLE,) if self.split is None else tuple(name for name, _ in self.split.parts.shares())

    rules = (
        SpecRule(
            message="labels at a URI are looked at by {every: 1d}: OnNewData needs those of a pipeline",
            holds=lambda spec: spec.labels.uri is None or spec.refresh.on is not RefreshOn.ON_NEW_DATA,
            field="refresh",
        ),
    )


class TrainingSetStatus(KindStatus):
    accepted_digest: Digest | None = Field(None, description="The spec that counts: the last good one.")
    version: Count | None = Field(None, description="Number of the newest version.")
    digest: Digest | None = Field(None, description="Digest of the newest version, which is its folder.")
    version_time: Time | None = Field(None, description="When the newest version was complete.")
    rows: Count | None = Field(None, description="Rows of the newest version.")
    bytes: Count | None = Field(None, description="Bytes of its shards.")
    versions: Count | None = Field(None, description="How many versions there are.")
    next_attempt_time: Time | None = Field(
        None, description="When what failed is retried. Null if nothing fails."
    )


class TrainingSet(Resource):
    kind: Literal["TrainingSet"] = Field("TrainingSet", description="What it is.")
    spec: TrainingSetSpec = Field(description="What is wanted.")
