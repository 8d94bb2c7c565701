"""What resources say about others, and about columns: all of it is there, or the problem lists what is.

Columns are followed through a pipeline's steps as far as they are known: from declared ``columns``, or from
a ``select``. After ``sql`` and ``python`` they are not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from featurestore.aggregates.aggregates import AGGREGATES
from featurestore.errors import SpecError, did_you_mean
from featurestore.expressions.check import check_condition, check_expression
from featurestore.expressions.query_text import query_text
from featurestore.expressions.value_type import known_types
from featurestore.resources import (
    DataPipeline,
    FeatureService,
    FeatureStore,
    FeatureView,
    OnDemandView,
    Resource,
    TrainingSet,
    View,
    ViewSpec,
)
from featurestore.resources.callable import check_callable
from featurestore.resources.column_types import (
    Types,
    dataset_types,
    may_become,
    source_types,
    type_name,
    types_after,
)
from featurestore.resources.columns import Shape
from featurestore.resources.feature_check import (
    check_feature_expression,
    check_selections,
    check_service_name,
    same_name,
)
from featurestore.resources.feature_view import FeatureViewSpec
from featurestore.resources.immediate_check import is_immediate, lack_of_store, lacks_of_pipeline
from featurestore.resources.kinds import references
from featurestore.resources.on_demand_check import check_on_demand
from featurestore.resources.outputs import aggregate_input_type
from featurestore.resources.transform import (
    Cast,
    Deduplicate,
    Derive,
    Drop,
    FillNull,
    Filter,
    Lookup,
    Python,
    Rename,
    Select,
    Sort,
    Sql,
    Transform,
)
from featurestore.resources.value import COLUMN_PATTERN, ColumnType

Columns = frozenset[str] | None
"""Names of columns; None if they are not known."""


@dataclass(frozen=True, slots=True)
class KnownResources:
    """What there is besides the files.

    ``resources``: those accepted before. ``schemas``: pipeline to the columns of its dataset, where there is
    one, with the names of their types. ``sources``: pipeline to the columns that its files were seen to have, in
    the same way; "" where the type is not known. ``tried``: pipelines whose ``schemas`` are what the spec that is
    given made of files. ``folders``: where the modules of callables are looked for; None where they cannot be seen, as in a
    cluster, whose Jobs bring their own. ``growing``: things are applied in any order, so what is named and not
    there is waited for, and is not a problem. ``broken``: kind and name of resources whose own document is wrong.
    """

    resources: Collection[Resource] = ()
    schemas: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    folders: Sequence[Path] | None = None
    growing: bool = False
    broken: Collection[tuple[str, str]] = ()
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tried: Collection[str] = ()


class Placed(Protocol):
    """A resource, and where each of its fields stands."""

    @property
    def resource(self) -> Resource: ...

    def where(self, *path: str | int) -> str: ...


def check_references(declared: Iterable[Placed], known: KnownResources) -> list[SpecError]:
    """All that is wrong with references, columns, expressions, queries and callables.

    A pipeline whose own document is wrong counts as there, with columns that are not known.
    """
    return [problem for _, problems in check_each(declared, known) for problem in problems]


def check_each(declared: Iterable[Placed], known: KnownResources) -> Iterator[tuple[Placed, list[SpecError]]]:
    """:func:`check_references`, each resource with what is wrong with it."""
    every = list(declared)
    given = [one.resource for one in every]
    names = [(resource.kind, resource.metadata.name) for resource in given]
    check = _References([*known.resources, *given], known, names)
    for one in every:
        match one.resource:
            case DataPipeline():
                yield one, list(check.pipeline(one, one.resource))
            case FeatureView():
                yield one, list(check.view(one, one.resource))
            case OnDemandView():
                yield one, list(check.on_demand(one, one.resource))
            case FeatureService():
                yield one, list(check.service(one, one.resource))
            case TrainingSet():
                yield one, list(check.training_set(one, one.resource))
            case _:
                yield one, list(check.named(one))


class _References:
    def __init__(
        self, resources: Iterable[Resource], known: KnownResources, declared: Iterable[tuple[str, str]]
    ) -> None:
        # Later ones stand for earlier ones of the same name.
        self._resources = {(resource.kind, resource.metadata.name): resource for resource in resources}
        self._before = {(resource.kind, resource.metadata.name): resource for resource in known.resources}
        self._known = known
        self._declared = frozenset(declared)

    def named(self, at: Placed) -> Iterator[SpecError]:
        """All that the table of kinds says it refers to."""
        for kind, path, name in references(at.resource):
            yield from self._check_exists(at, ("spec", *path), kind, name)

    def _pipeline(self, name: str) -> DataPipeline | None:
        pipeline = self._resources.get(("DataPipeline", name))
        return pipeline if isinstance(pipeline, DataPipeline) else None

    def _view(self, name: str) -> View | None:
        """The view, if its own document is right."""
        view = self._resources.get(("FeatureView", name))
        broken = ("FeatureView", name) in self._known.broken
        return view if isinstance(view, View) and not broken else None

    def on_demand(self, at: Placed, view: OnDemandView) -> Iterator[SpecError]:
        yield from self.named(at)
        yield from self._form(at, view)
        yield from check_on_demand(at, view, self._view, self._known.folders)

    def _form(self, at: Placed, view: View) -> Iterator[SpecError]:
        """A view keeps its form, what readers and what is stored know it by; and a name that is not a service's."""
        service = ("FeatureService", view.metadata.name)
        if service in self._before and service not in self._declared:
            yield from same_name(at, view)
        before = self._before.get(("FeatureView", view.metadata.name))
        for transition in ViewSpec.transitions if isinstance(before, View) else ():
            if before is not None and not transition.holds(before.spec, view.spec):
                yield SpecError(transition.message, where=at.where("spec"))

    def service(self, at: Placed, service: FeatureService) -> Iterator[SpecError]:
        yield from self.named(at)
        yield from check_service_name(at, service, self._view)
        yield from check_selections(at, ("spec", "features"), service.spec.features, self._view)

    def training_set(self, at: Placed, training_set: TrainingSet) -> Iterator[SpecError]:
        yield from self.named(at)
        spec, labels = training_set.spec, training_set.spec.labels
        yield from check_selections(at, ("spec", "features", "names"), spec.features.names or (), self._view)
        if labels.pipeline is None:
            return
        columns = self._dataset(labels.pipeline)
        types = self._dataset_types(labels.pipeline)
        yield from _column(at, ("spec", "labels", "timestampField"), labels.timestamp_field, columns)
        for n, name in enumerate(labels.columns):
            yield from _column(at, ("spec", "labels", "columns", n), name, columns)
        for n, name in enumerate(spec.split.keys if spec.split else ()):
            yield from _column(at, ("spec", "split", "keys", n), name, columns)
        if labels.filter is not None:
            yield from _condition(at, ("spec", "labels", "filter"), labels.filter, columns, types)

    def pipeline(self, at: Placed, pipeline: DataPipeline) -> Iterator[SpecError]:
        spec = pipeline.spec
        learned = self._known.sources.get(pipeline.metadata.name)
        shape, types = Shape.of_source(spec, learned), source_types(spec, learned)
        for n, transform in enumerate(spec.transforms):
            where = ("spec", "transforms", n, _field(transform))
            yield from self._step(at, where, transform, shape.names, types, pipeline.metadata.name)
            shape, types = shape.after(transform.step), types_after(transform.step, types)
        columns = shape.names
        for n, expectation in enumerate(spec.expectations):
            yield from _condition(at, ("spec", "expectations", n, "that"), expectation.that, columns, types)
        if spec.deduplicate is not None:
            keys: dict[tuple[str | int, ...], str] = {
                ("keys", n): key for n, key in enumerate(spec.deduplicate.keys)
            }
            if spec.deduplicate.order_by is not None:
                keys["orderBy", "column"] = spec.deduplicate.order_by.column
            for path, column in keys.items():
                yield from _column(at, ("spec", "deduplicate", *path), column, columns)

    def view(self, at: Placed, view: FeatureView) -> Iterator[SpecError]:
        spec = view.spec
        name = spec.source.pipeline
        yield from self.named(at)
        yield from self._form(at, view)
        columns = self._dataset(name)
        had = self._known.schemas.get(name, {})
        types = self._dataset_types(name)
        named: dict[tuple[str | int, ...], str | None] = {
            ("timestampField",): spec.timestamp_field,
            ("createdTimestampField",): spec.created_timestamp_field,
        }
        for n, key in enumerate(spec.entity.join_keys):
            named["entity", "joinKeys", n, "name"] = key.name
        for path, column in named.items():
            if column is not None:
                yield from _column(at, ("spec", *path), column, columns)
        if spec.filter is not None:
            yield from _condition(at, ("spec", "filter"), spec.filter, columns, types)
        yield from _misfits(at, spec, {**{column: type_name(kind) for column, kind in types.items()}, **had})
        yield from self._immediate(at, spec)
        for n, feature in enumerate(spec.features):
            where = ("spec", "features", n)
            if feature.column is not None:
                yield from _column(at, (*where, "column"), feature.column, columns)
            if feature.expression is not None:
                yield from check_feature_expression(at, where, feature, columns, types)
            if feature.aggregate is not None:
                yield from _column(at, (*where, "aggregate", "column"), feature.aggregate.column, columns)

    def _immediate(self, at: Placed, spec: FeatureViewSpec) -> Iterator[SpecError]:
        """Rows are read before their batch only where the pipeline and the store can do that."""
        name, where = spec.source.pipeline, at.where("spec", "online", "write")
        pipeline = self._pipeline(name)
        if not is_immediate(spec):
            return
        if pipeline is not None and ("DataPipeline", name) not in self._known.broken:
            for path, why in lacks_of_pipeline(pipeline.spec):
                field = ".".join(map(str, ("spec", *path)))
                yield SpecError(
                    "rows of this pipeline cannot be read before their batch",
                    where=where,
                    wanted="source.push, and steps that look at one row alone",
                    got=f"{field} of {name!r}: {why}",
                    hint="`write: Batch` reads them when their batch is published",
                )
        stores = [one for one in self._resources.values() if isinstance(one, FeatureStore)]
        lack = lack_of_store(stores[-1].spec) if stores else None
        if lack is not None:
            yield SpecError(lack, where=where, wanted="online: {redis: …} of the FeatureStore")

    def _step(
        self,
        at: Placed,
        where: tuple[str | int, ...],
        transform: Transform,
        columns: Columns,
        types: Types,
        pipeline: str,
    ) -> Iterator[SpecError]:
        match step := transform.step:
            case Derive():
                for name, text in step.columns.items():
                    yield from _expression(at, (*where, "columns", name), text, columns, types)
            case Filter():
                yield from _condition(at, (*where, "where"), step.where, columns, types)
            case Sql():
                try:
                    query_text(step.query, where=at.where(*where, "query"))
                except SpecError as problem:
                    yield problem
            case Python():
                if self._known.folders is not None:
                    try:
                        check_callable(step.callable, self._known.folders, where=at.where(*where, "callable"))
                    except SpecError as problem:
                        yield problem
            case Rename() | Cast() | FillNull():
                for name in step.columns:
                    yield from _column(at, (*where, "columns", name), name, columns)
            case Select() | Drop():
                for n, name in enumerate(step.columns):
                    if isinstance(step, Drop) and not re.match(COLUMN_PATTERN, name):
                        continue  # Of a name that no later step could use; it is left out where files are read.
                    yield from _column(at, (*where, "columns", n), name, columns)
            case Sort():
                for n, key in enumerate(step.by):
                    yield from _column(at, (*where, "by", n, "column"), key.column, columns)
            case Deduplicate():
                for n, name in enumerate(step.keys):
                    yield from _column(at, (*where, "keys", n), name, columns)
                if step.order_by is not None:
                    yield from _column(at, (*where, "orderBy", "column"), step.order_by.column, columns)
            case Lookup():
                yield from self._lookup(at, where, step, columns, pipeline)

    def _lookup(
        self, at: Placed, where: tuple[str | int, ...], step: Lookup, columns: Columns, pipeline: str
    ) -> Iterator[SpecError]:
        if step.pipeline == pipeline:
            place = at.where(*where, "pipeline")
            yield SpecError("a pipeline cannot look up its own dataset", where=place, got=repr(pipeline))
            return
        yield from self._check_exists(at, (*where, "pipeline"), "DataPipeline", step.pipeline)
        if way := self._way(step.pipeline, pipeline):
            yield SpecError(
                "pipelines look up each other in a circle",
                where=at.where(*where, "pipeline"),
                got=" → ".join((pipeline, *way)),
                hint="Each would wait for the dataset of the next",
            )
        dataset_columns = self._dataset(step.pipeline)
        for here, key in step.keys.items():
            yield from _column(at, (*where, "keys", here), here, columns)
            yield from _column(at, (*where, "keys", here), key, dataset_columns, of=step.pipeline)
        for column, name in step.columns.items():
            yield from _column(at, (*where, "columns", column), column, dataset_columns, of=step.pipeline)
            if columns is not None and name in columns:
                place = at.where(*where, "columns", column)
                yield SpecError(f"column {name!r} exists already", where=place, hint="Give it another name")

    def _way(self, start: str, end: str) -> tuple[str, ...]:
        """From one pipeline by lookups to another; empty if there is no way."""
        ways: list[tuple[str, ...]] = [(start,)]
        visited = {start}
        while ways:
            way = ways.pop()
            if way[-1] == end:
                return way
            last = self._pipeline(way[-1])
            if last is not None:
                looked_up = last.spec.looked_up
                ways += [(*way, name) for name in looked_up if name not in visited]
                visited.update(looked_up)
        return ()

    def _check_exists(
        self, at: Placed, path: tuple[str | int, ...], kind: str, name: str
    ) -> Iterator[SpecError]:
        if self._known.growing:
            return
        existing = {*self._resources, *self._known.broken}
        if (kind, name) not in existing:
            hint = did_you_mean(name, {other for its_kind, other in existing if its_kind == kind})
            yield SpecError(f"unknown {kind} {name!r}", where=at.where(*path), hint=hint)

    def _dataset_types(self, name: str) -> Types:
        """Types of the columns of a pipeline's dataset, as far as they are known."""
        source = self._pipeline(name)
        if source is None or ("DataPipeline", name) in self._known.broken:
            return {}
        # A column of the dataset keeps its type, whatever later specs make of it.
        had = known_types(self._known.schemas.get(name, {}))
        return {**dataset_types(source.spec, self._known.sources.get(name)), **had}

    def _dataset(self, name: str) -> Columns:
        """Columns of a pipeline's dataset: what its spec says, and what it has had until now."""
        pipeline = self._pipeline(name)
        if pipeline is None or ("DataPipeline", name) in self._known.broken:
            return None
        columns = Shape.of_dataset(pipeline.spec).names
        had = self._known.schemas.get(name)
        if columns is None:
            same = name in self._known.tried or self._before.get(("DataPipeline", name)) == pipeline
            return frozenset(had) if had is not None and same else None
        return columns | frozenset(had or ())


def _misfits(at: Placed, spec: FeatureViewSpec, had: Mapping[str, str]) -> Iterator[SpecError]:
    """Columns of the dataset whose values never become what the view wants of them."""
    wanted: list[tuple[tuple[str | int, ...], str, str]] = [
        (("entity", "joinKeys", n, "type"), key.name, key.type.value)
        for n, key in enumerate(spec.entity.join_keys)
    ]
    wanted.append((("timestampField",), spec.timestamp_field, ColumnType.TIMESTAMP.value))
    if spec.created_timestamp_field is not None:
        wanted.append((("createdTimestampField",), spec.created_timestamp_field, ColumnType.TIMESTAMP.value))
    for n, feature in enumerate(spec.features):
        if feature.column is not None:
            wanted.append((("features", n, "type"), feature.column, feature.type.value))
        elif feature.aggregate is not None and not AGGREGATES[feature.aggregate.function].counts:
            kept = aggregate_input_type(feature).value
            wanted.append((("features", n, "aggregate", "column"), feature.aggregate.column, kept))
    for path, column, kind in wanted:
        got = had.get(column, "")
        where = at.where("spec", *path)
        if path[0] == "entity" and kind == "string" and got == "timestamp":
            hint = "A timestamp can be written in many ways: declare the column as string in the pipeline"
            yield SpecError(
                "a timestamp cannot be a string key", where=where, got=f"column {column!r}", hint=hint
            )
        elif not may_become(got, kind):
            hint = "Derive a column of that type in the pipeline, or declare another type"
            if kind == "timestamp" and got.startswith(("int", "float")):
                hint = "A number has no unit of time: convert it to a timestamp in the pipeline"
            yield SpecError(
                f"the values of column {column!r} do not fit", where=where, wanted=kind, got=got, hint=hint
            )


def _field(transform: Transform) -> str:
    """The YAML name of the step."""
    return next(iter(transform.model_dump(by_alias=True, exclude_none=True)))


def _expression(
    at: Placed, path: tuple[str | int, ...], text: str, columns: Columns, types: Types
) -> Iterator[SpecError]:
    try:
        check_expression(text, where=at.where(*path), columns=columns, types=types)
    except SpecError as problem:
        yield problem


def _condition(
    at: Placed, path: tuple[str | int, ...], text: str, columns: Columns, types: Types
) -> Iterator[SpecError]:
    try:
        check_condition(text, where=at.where(*path), columns=columns, types=types)
    except SpecError as problem:
        yield problem


def _column(
    at: Placed, path: tuple[str | int, ...], name: str, columns: Columns, *, of: str = ""
) -> Iterator[SpecError]:
    if columns is not None and name not in columns:
        dataset = f" of {of!r}" if of else ""
        hint = did_you_mean(name, columns)
        yield SpecError(f"unknown column {name!r}{dataset}", where=at.where(*path), hint=hint)
