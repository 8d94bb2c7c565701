"""FeatureView: a dataset becomes features of one entity."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from featurestore.aggregates.aggregates import AggregateFunction
from featurestore.resources.aggregate_rule import type_rule
from featurestore.resources.data_pipeline import Resources, Suspend
from featurestore.resources.metadata import DeletionPolicy, Description, Name, Owner, Tags
from featurestore.resources.model import Model
from featurestore.resources.quantity import PositiveDuration, format_duration
from featurestore.resources.resource import Resource
from featurestore.resources.rule import SpecRule, Unique, at_most_one, bounded_text, repeated
from featurestore.resources.value import ColumnName, ColumnType, Expression, FeatureName, KeyType

RESERVED = ("event_timestamp", "created_timestamp")
"""Columns that every view has."""

_NOT_RESERVED = SpecRule(
    message="event_timestamp and created_timestamp are the names of the view's own columns",
    holds=lambda named: named.name not in RESERVED,
    cel="!(self.name in ['event_timestamp', 'created_timestamp'])",
    field="name",
)
MOST_HOPS = 10_000
"""In one window: more tiles than that cost more than they tell."""


class JoinKey(Model):
    name: ColumnName = Field(description="Column that holds the key, in the dataset and in requests.")
    type: KeyType = Field(description="Type of the key.")
    rules = (_NOT_RESERVED,)


class Entity(Model):
    name: Name = Field(description="What the features are of: aircraft, customer …")
    join_keys: Annotated[tuple[JoinKey, ...], Unique("name")] = Field(
        min_length=1, max_length=8, description="One or more columns that identify it."
    )


class Aggregate(Model):
    function: AggregateFunction = Field(description="What is computed over each window. Nulls are left out.")
    column: ColumnName = Field(description="Column of the dataset. For Count: its values that are not null.")
    windows: Annotated[tuple[PositiveDuration, ...], Unique()] = Field(
        min_length=1,
        max_length=16,
        description="Lengths of the windows; each makes a feature `<name>_<window>`.",
    )
    hop: PositiveDuration | None = Field(
        None,
        description="How far the tail of the window moves at once. Else 5m for windows under 12h, 1h under 12d, else 1d.",
    )
    quantile: float | None = Field(None, ge=0, le=1, description="For ApproxQuantile: which one.")
    rules = (
        SpecRule(
            message="ApproxQuantile needs quantile, the other functions have none",
            holds=lambda it: (it.function is AggregateFunction.APPROX_QUANTILE) == (it.quantile is not None),
            cel="(self.__function__ == 'ApproxQuantile') == has(self.quantile)",
            field="quantile",
        ),
        SpecRule(
            message="the hop must not be longer than a window",
            holds=lambda it: it.hop is None or it.hop <= min(it.windows),
            field="hop",
        ),
        SpecRule(
            message=f"a window must not have more than {MOST_HOPS} hops",
            holds=lambda it: it.hop is None or max(it.windows) <= MOST_HOPS * it.hop,
            field="hop",
        ),
    )


_ORIGINS = ("column", "expression", "aggregate")


class Feature(Model):
    name: FeatureName = Field(description="Name of the feature.")
    type: ColumnType = Field(
        description="Type of the feature. A value that does not fit sends its row to quarantine."
    )
    column: ColumnName | None = Field(
        None,
        description="Column of the dataset that it is. Else, without expression and aggregate, the one of its name.",
    )
    expression: Expression | None = Field(
        None, description="Expression over the dataset's columns that gives it."
    )
    aggregate: Aggregate | None = Field(None, description="Aggregation over windows that gives it.")
    description: Description = Field("", description="What it is for, in its owner's words.")
    rules = (
        at_most_one("column", "expression", "aggregate"),
        _NOT_RESERVED,
        type_rule(),
    )

    @model_validator(mode="before")
    @classmethod
    def _column_of_its_name(cls, value: Any) -> Any:
        """One without any of the three is the column of its name; then it is the same as if it said so."""
        if not isinstance(value, dict) or any(value.get(key) is not None for key in _ORIGINS):
            return value
        name = value.get("name")
        return {**value, "column": name} if isinstance(name, str) and name else value

    @property
    def served_names(self) -> tuple[str, ...]:
        """What requests name: the feature or, if it is aggregated, one per window."""
        if self.aggregate is None:
            return (self.name,)
        return tuple(f"{self.name}_{format_duration(window)}" for window in self.aggregate.windows)


class OnlineEnabled(StrEnum):
    ALWAYS = "Always"
    NEVER = "Never"


class ViewOnline(Model):
    enabled: OnlineEnabled = Field(OnlineEnabled.ALWAYS, description="Whether the view is published online.")


class ViewSource(Model):
    pipeline: Name = Field(description="DataPipeline whose dataset the features come from.")


class FeatureViewSpec(Model):
    entity: Entity = Field(description="What the features are of.")
    source: ViewSource = Field(description="Where the rows come from.")
    timestamp_field: ColumnName = Field(description="Column with the event time.")
    created_timestamp_field: ColumnName | None = Field(
        None, description="Column with the time a row became known. Else the time its batch was planned."
    )
    ttl: PositiveDuration | None = Field(
        None,
        description="Age past which a value must not be used, offline and online. Else values never age.",
    )
    filter: Expression | None = Field(None, description="Rows of the dataset that count.")
    features: Annotated[tuple[Feature, ...], Unique("name")] = Field(
        min_length=1, max_length=1000, description="What is computed."
    )
    online: ViewOnline = Field(ViewOnline(), description="Whether and how it is served online.")
    resources: Resources = Field(Resources(), description="Bounds of one run.")
    deletion_policy: DeletionPolicy = Field(
        DeletionPolicy.RETAIN,
        description="Whether deleting the resource in a cluster deletes its rows, offline and online.",
    )
    suspend: Suspend = Field(
        Suspend.ACTIVE, description="Suspended: nothing is computed or published; reads go on."
    )
    description: Description = Field("", description="What it is for, in its owner's words.")
    owner: Owner = Field("", description="Who is responsible for it.")
    tags: Tags = Field({}, description="Names and values to find it by.")
    rules = (
        SpecRule(
            message="features and join keys must differ by more than upper and lower case: "
            "no table could tell their columns apart",
            holds=lambda spec: (
                not repeated(
                    name.lower()
                    for name in _names(spec.features) | {key.name for key in spec.entity.join_keys}
                )
            ),
            field="features",
        ),
        SpecRule(
            message="a feature must not have the name of a join key",
            holds=lambda spec: not _names(spec.features) & {key.name for key in spec.entity.join_keys},
            cel="self.features.all(f, !self.entity.joinKeys.exists(k, k.name == f.name))",
            field="features",
        ),
        SpecRule(
            message="a window of an aggregated feature (`<name>_<window>`) must not have the name of another output",
            holds=lambda spec: (
                not repeated(
                    name
                    for it in {it.name: it for it in spec.features}.values()
                    for name in set(it.served_names)
                )
            ),
            field="features",
        ),
        bounded_text(
            lambda spec: [spec.filter or "", *(feature.expression or "" for feature in spec.features)],
            "features",
        ),
    )


def _names(features: tuple[Feature, ...]) -> set[str]:
    return {name for feature in features for name in (feature.name, *feature.served_names)}


class FeatureView(Resource):
    kind: Literal["FeatureView"] = Field("FeatureView", description="What it is.")
    spec: FeatureViewSpec = Field(description="What is wanted.")
