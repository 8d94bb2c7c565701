"""FeatureView: a dataset becomes features of one entity; or features are computed when they are asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from featurestore.aggregates.aggregates import AggregateFunction
from featurestore.resources.aggregate_rule import type_rule
from featurestore.resources.data_pipeline import Resources, Suspend
from featurestore.resources.feature_selection import FeatureSelections
from featurestore.resources.metadata import DeletionPolicy, Description, Name, Owner, Tags
from featurestore.resources.model import Model
from featurestore.resources.monitoring import Monitoring
from featurestore.resources.quantity import PositiveDuration, format_duration
from featurestore.resources.resource import Resource
from featurestore.resources.rule import SpecRule, Transition, Unique, at_most_one, bounded_text, repeated
from featurestore.resources.transform import CALLABLE_PATTERN
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
    function: AggregateFunction = Field(
        description="What is computed over each window. Nulls are left out; a Sum of whole numbers beyond int64 is null."
    )
    column: ColumnName = Field(description="Column of the dataset. For Count: its values that are not null.")
    windows: Annotated[tuple[PositiveDuration, ...], Unique()] = Field(
        min_length=1,
        max_length=16,
        description="Lengths of the windows; each makes a feature `<name>_<window>`.",
    )
    hop: PositiveDuration | None = Field(
        None,
        description="How far the tail of the window moves at once. Default: 5m for windows under 12h, 1h under 12d, else 1d.",
    )
    quantile: float | None = Field(None, ge=0, le=1, description="For ApproxQuantile: which one.")
    rules = (
        SpecRule(
            message="ApproxQuantile needs quantile, the other functions have none",
            holds=lambda aggregate: (
                (aggregate.function is AggregateFunction.APPROX_QUANTILE) == (aggregate.quantile is not None)
            ),
            cel="(self.__function__ == 'ApproxQuantile') == has(self.quantile)",
            field="quantile",
        ),
        SpecRule(
            message="the hop must not be longer than a window",
            holds=lambda aggregate: aggregate.hop is None or aggregate.hop <= min(aggregate.windows),
            field="hop",
        ),
        SpecRule(
            message=f"a window must not have more than {MOST_HOPS} hops",
            holds=lambda aggregate: (
                aggregate.hop is None or max(aggregate.windows) <= MOST_HOPS * aggregate.hop
            ),
            field="hop",
        ),
    )


class RequestField(Model):
    name: ColumnName = Field(description="Column of the entities, online and in the join alike.")
    type: ColumnType = Field(description="Type of its values.")
    rules = (_NOT_RESERVED,)


class OnDemand(Model):
    request: Annotated[tuple[RequestField, ...], Unique("name")] = Field(
        (), max_length=200, description="Values that come with the request."
    )
    inputs: FeatureSelections = Field(
        (),
        description="Features that it is computed from, as a FeatureService has them. In expressions, one of a view with "
        "`as` is called `<as>__<feature>`, any other by its name alone.",
    )


class FeaturePython(Model):
    callable: Annotated[str, StringConstraints(pattern=CALLABLE_PATTERN, max_length=255)] = Field(
        description="`module:function`. Gets a polars.DataFrame, or a pyarrow.Table, of inputs and request fields; "
        "returns a column of as many values. It runs where features are read."
    )


_ORIGINS = ("column", "expression", "aggregate", "python")


class Feature(Model):
    name: FeatureName = Field(description="Name of the feature.")
    type: ColumnType = Field(
        description="Type of the feature. A value that does not fit sends its row to quarantine."
    )
    column: ColumnName | None = Field(
        None,
        description="Column of the dataset that it is. Default: if nothing else gives it, the one of its name.",
    )
    expression: Expression | None = Field(
        None,
        description="Expression over the dataset's columns, or over inputs and request fields, that gives it.",
    )
    aggregate: Aggregate | None = Field(None, description="Aggregation over windows that gives it.")
    python: FeaturePython | None = Field(
        None, description="Function that gives it. Only of views that are computed on demand."
    )
    description: Description = Field("", description="What it is for, in its owner's words.")
    rules = (
        at_most_one("column", "expression", "aggregate", "python"),
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


class OnlineWrite(StrEnum):
    """When rows come online: with the batch that takes them, or where they are pushed, before it."""

    BATCH = "Batch"
    IMMEDIATE = "Immediate"


class ViewOnline(Model):
    enabled: OnlineEnabled = Field(OnlineEnabled.ALWAYS, description="Whether the view is published online.")
    write: OnlineWrite = Field(
        OnlineWrite.BATCH,
        description="Batch: rows are read online when their batch is published. Immediate: rows that are pushed are read as "
        "soon as the push is answered, and the batch follows. It takes a pipeline with source.push, steps that look at one "
        "row alone, features without aggregates, and Redis.",
    )
    sample_entities: int = Field(
        20,
        ge=0,
        le=1000,
        description="After each publication so many entities are read online and offline, and compared: the condition "
        "Consistent. 0: none.",
    )


class StatisticsKept(StrEnum):
    ALWAYS = "Always"
    NEVER = "Never"


class ViewSource(Model):
    pipeline: Name = Field(description="DataPipeline whose dataset the features come from.")


_ENTITY = "What the features are of. Required but for onDemand."
_SOURCE = "Where the rows come from. Required but for onDemand."
_TIMESTAMP_FIELD = "Column with the event time. Required but for onDemand."
_ON_DEMAND = (
    "Features are computed when they are asked for, and nothing is stored: what they are computed from."
)
_STAYS = (
    "a view of a dataset stays one, and one on demand too: delete it first, or give the other another name"
)


_OF_ROWS = ("entity", "source", "timestamp_field", "created_timestamp_field", "ttl", "filter", "monitoring")


def _names(features: tuple[Feature, ...]) -> set[str]:
    return {name for feature in features for name in (feature.name, *feature.served_names)}


def _named_alike(spec: Any) -> bool:
    keys = {key.name for key in spec.entity.join_keys} if spec.entity else set()
    fields = {field.name for field in spec.on_demand.request} if spec.on_demand else set()
    return bool(_names(spec.features) & (keys | fields))


class ViewSpec(Model):
    """A view as it is written: of a dataset, or on demand. Parsed, it is of one of the two narrower models."""

    entity: Entity | None = Field(None, description=_ENTITY)
    source: ViewSource | None = Field(None, description=_SOURCE)
    timestamp_field: ColumnName | None = Field(None, description=_TIMESTAMP_FIELD)
    on_demand: OnDemand | None = Field(None, description=_ON_DEMAND)
    created_timestamp_field: ColumnName | None = Field(
        None, description="Column with the time a row became known. Default: the time its batch was planned."
    )
    ttl: PositiveDuration | None = Field(
        None,
        description="Age past which a value must not be used, offline and online. Default: none, values never age.",
    )
    filter: Expression | None = Field(None, description="Rows of the dataset that count.")
    features: Annotated[tuple[Feature, ...], Unique("name")] = Field(
        min_length=1, max_length=1000, description="What is computed."
    )
    online: ViewOnline = Field(ViewOnline(), description="Whether and how it is served online.")
    statistics: StatisticsKept = Field(
        StatisticsKept.ALWAYS,
        description="Whether statistics of its values are kept with each commit, which takes about half as much of a "
        "processor as the build. Never: there is nothing that monitoring could compare.",
    )
    monitoring: Monitoring | None = Field(
        None, description="Whether what came last looks like what a model was trained on."
    )
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
                    for name in _names(spec.features)
                    | {key.name for key in (spec.entity.join_keys if spec.entity else ())}
                )
            ),
            field="features",
        ),
        SpecRule(
            message="a feature must not have the name of a join key or of a request field",
            holds=lambda spec: not _named_alike(spec),
            cel="self.features.all(f, !(has(self.entity) && self.entity.joinKeys.exists(k, k.name == f.name)))",
            field="features",
        ),
        SpecRule(
            message="a view has entity, source and timestampField, or onDemand",
            holds=lambda spec: (
                spec.on_demand is not None or None not in (spec.entity, spec.source, spec.timestamp_field)
            ),
            cel="has(self.onDemand) || (has(self.entity) && has(self.source) && has(self.timestampField))",
        ),
        SpecRule(
            message="a view on demand has no entity, source, timestampField, createdTimestampField, ttl, filter or monitoring",
            holds=lambda spec: (
                spec.on_demand is None or not any(getattr(spec, name) is not None for name in _OF_ROWS)
            ),
            cel="!has(self.onDemand) || !("
            + " || ".join(f"has(self.{to_camel(name)})" for name in _OF_ROWS)
            + ")",
            field="onDemand",
        ),
        SpecRule(
            message="monitoring compares statistics: with `statistics: Never` there are none",
            holds=lambda spec: spec.monitoring is None or spec.statistics is StatisticsKept.ALWAYS,
            cel="!has(self.monitoring) || !has(self.statistics) || self.statistics != 'Never'",
            field="statistics",
        ),
        SpecRule(
            message="write: Immediate needs a view that is published, of features that are each of one row: an aggregate "
            "needs all rows of its windows",
            holds=lambda spec: (
                spec.online.write is OnlineWrite.BATCH
                or (
                    spec.on_demand is None
                    and spec.online.enabled is OnlineEnabled.ALWAYS
                    and all(feature.aggregate is None for feature in spec.features)
                )
            ),
            cel="!has(self.online) || self.online.write != 'Immediate' || (!has(self.onDemand)"
            " && self.online.enabled == 'Always' && self.features.all(f, !has(f.aggregate)))",
            field="online.write",
        ),
        SpecRule(
            message="features of a view on demand have an expression or python, those of others no python",
            holds=lambda spec: all(
                (feature.expression is not None or feature.python is not None)
                if spec.on_demand
                else feature.python is None
                for feature in spec.features
            ),
            cel="self.features.all(f, has(self.onDemand) ? has(f.expression) || has(f.python) : !has(f.python))",
            field="features",
        ),
        SpecRule(
            message="a window of an aggregated feature (`<name>_<window>`) must not have the name of another output",
            holds=lambda spec: (
                not repeated(
                    name
                    for distinct in {feature.name: feature for feature in spec.features}.values()
                    for name in set(distinct.served_names)
                )
            ),
            field="features",
        ),
        bounded_text(
            lambda spec: [spec.filter or "", *(feature.expression or "" for feature in spec.features)],
            "features",
        ),
    )
    transitions = (
        Transition(
            message=_STAYS,
            holds=lambda old, new: (old.on_demand is None) == (new.on_demand is None),
            cel="has(self.onDemand) == has(oldSelf.onDemand)",
        ),
    )


class FeatureViewSpec(ViewSpec):
    """Of a view whose rows come from a dataset."""

    entity: Entity = Field(description=_ENTITY)
    source: ViewSource = Field(description=_SOURCE)
    timestamp_field: ColumnName = Field(description=_TIMESTAMP_FIELD)


class OnDemandViewSpec(ViewSpec):
    """Of a view that is computed when it is asked for."""

    on_demand: OnDemand = Field(description=_ON_DEMAND)


class View(Resource):
    """A FeatureView of either form. What is parsed as one is a :class:`FeatureView` or an :class:`OnDemandView`."""

    kind: Literal["FeatureView"] = Field("FeatureView", description="What it is.")
    spec: ViewSpec = Field(description="What is wanted.")

    @model_validator(mode="after")
    def _of_its_form(self) -> Self:
        # Before version 2.14 of pydantic, a validator that wraps forgets that fields have no other names than in YAML.
        if type(self) is not View:
            return self
        fields = dict(self)
        spec = fields.pop("spec")
        form: type[View] = FeatureView if spec.on_demand is None else OnDemandView
        form_spec: type[ViewSpec] = FeatureViewSpec if spec.on_demand is None else OnDemandViewSpec
        made = form_spec.model_construct(spec.model_fields_set, **dict(spec))
        return cast("Self", form.model_construct(self.model_fields_set, spec=made, **fields))


class FeatureView(View):
    """A dataset's rows, as features."""

    spec: FeatureViewSpec = Field(description="What is wanted.")


class OnDemandView(View):
    """Features that are computed when they are asked for."""

    spec: OnDemandViewSpec = Field(description="What is wanted.")
