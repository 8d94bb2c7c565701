"""On-demand feature views of Feast as ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from featurestore.feast.feast_function import FeastFunction, python_name, read_function
from featurestore.feast.feature_types import of_feast
from featurestore.feast.function_expressions import (
    FeastExpression,
    FeastInput,
    NotAnExpression,
    expressions_of,
)
from featurestore.feast.remark import LeftOut, Remarks
from featurestore.feast.repository import FeastField, FeastOnDemandView, Projection
from featurestore.feast.resource_draft import ResourceDraft, check, check_model, draft
from featurestore.feast.resource_names import ResourceNames, feature_name
from featurestore.feast.view_import import ImportedView
from featurestore.resources.feature_view import Feature
from featurestore.resources.value import ColumnType

MODULE = "feast_functions"
"""The module with functions that stay Python, beside the resources."""
_KIND = "OnDemandFeatureView"
_WIDEST = {ColumnType.INT32: ColumnType.INT64, ColumnType.FLOAT32: ColumnType.FLOAT64}
_NUMBERS = (ColumnType.INT32, ColumnType.INT64, ColumnType.FLOAT32, ColumnType.FLOAT64)
_BEGINNING = '''\
"""Functions of on-demand feature views, as they stood in the Feast repository.

Those with two underscores in their names give a feature each, and are named in views.yaml.
"""

from __future__ import annotations

import pyarrow as pa

'''


@dataclass(frozen=True)
class _Input:
    """A column that a function can use, here. ``projection``: of the view that has it, -1 of the request."""

    projection: int
    column: FeastInput


class OnDemandImport:
    """Makes ours of on-demand views. ``views``: those that are here, by their names in Feast."""

    def __init__(self, views: Mapping[str, ImportedView], names: ResourceNames, remarks: Remarks) -> None:
        self._views = views
        self._names = names
        self._remarks = remarks
        self._definitions: dict[str, str] = {}
        self._functions: dict[str, str] = {}

    @property
    def module(self) -> str:
        """The text of the module with what stays Python; "" if nothing does."""
        if not self._functions:
            return ""
        definitions = "".join(f"{line}\n" for line in self._definitions.values())
        return "\n\n".join([f"{_BEGINNING}{definitions}".rstrip("\n") + "\n", *self._functions.values()])

    def view(self, view: FeastOnDemandView) -> ImportedView:
        """The view, with expressions where its function is of such, else with the function itself.

        Raises:
            LeftOut: it does more than compute values of a row, or its function or an input is not to be had.
        """
        if view.aggregates:
            raise LeftOut("it aggregates the rows of a request: write a feature with aggregate")
        if view.mode not in ("pandas", "python"):
            raise LeftOut(f"its function is of mode {view.mode}: write expressions, or a function of columns")
        function = read_function(view.source, view.names)
        inputs = dict(self._inputs(view))
        columns = {name: given.column for name, given in inputs.items()}
        try:
            expressions = expressions_of(function, view.mode, view.singleton, columns)
            if missing := [field.name for field in view.fields if field.name not in expressions]:
                raise LeftOut(f"its function does not give {', '.join(missing)}")
            used = {name for made in expressions.values() for name in made.inputs}
            features = dict(self._computed(view, expressions))
        except NotAnExpression:
            used = self._used(view, function, inputs)
            features = dict(self._called(view, function, {name: columns[name] for name in used}))
            used = {columns[name].name for name in used}
        return ImportedView(view, _KIND, self._document(view, features, inputs, used), features)

    def _document(
        self,
        view: FeastOnDemandView,
        features: Mapping[str, ResourceDraft],
        inputs: Mapping[str, _Input],
        used: set[str],
    ) -> ResourceDraft:
        """``used``: names, as they are here, of what the features are computed from."""
        on_demand: ResourceDraft = {}
        if view.request:
            on_demand["request"] = [
                {"name": field.name, "type": inputs[field.name].column.type.value} for field in view.request
            ]
        selections: list[str | ResourceDraft] = []
        for number, projection in enumerate(view.inputs):
            names = {given.column.name for given in inputs.values() if given.projection == number} & used
            selections += (
                _selections(projection, self._views[projection.view].name, sorted(names)) if names else []
            )
        if selections:
            on_demand["inputs"] = selections
        spec: ResourceDraft = {"onDemand": on_demand, "features": list(features.values())}
        document = draft("FeatureView", self._names.new(view.name), spec, view, _KIND, self._remarks)
        check(document)
        if view.stored:
            self._remarks.say(_KIND, view.name, "is computed when it is read, and not when rows are written")
        if not view.enabled:
            self._remarks.say(_KIND, view.name, "can be read, though it is not enabled")
        return document

    def _inputs(self, view: FeastOnDemandView) -> Iterator[tuple[str, _Input]]:
        """What its function can use, by the names that it has in Feast: of a view also ``view__feature``.

        Raises:
            LeftOut: two have one name, or a view or a type is not here.
        """
        given: set[str] = set()
        for field in view.request:
            kind = of_feast(field.type)
            if kind is None:
                raise LeftOut(f"no field of a request can be {field.type}: {field.name}")
            given.add(field.name)
            yield field.name, _Input(-1, FeastInput(field.name, kind))
        for number, projection in enumerate(view.inputs):
            known = self._views.get(projection.view)
            if known is None:
                raise LeftOut(f"it is computed from {projection.view}, which is left out")
            for name in projection.features or tuple(known.features):
                if name not in known.features:
                    continue
                feature = known.features[name]
                if name in given or feature["name"] in given:
                    raise LeftOut(f"two of its inputs are named {name}")
                given |= {name, feature["name"]}
                column = _Input(number, FeastInput(feature["name"], ColumnType(feature["type"])))
                yield name, column
                yield f"{projection.view}__{name}", column

    def _used(
        self, view: FeastOnDemandView, function: FeastFunction, inputs: Mapping[str, _Input]
    ) -> set[str]:
        """Names in Feast of what a function that stays Python uses.

        Raises:
            LeftOut: one of them is not here.
        """
        wanted = function.columns
        if wanted is None:
            wanted = frozenset(
                [field.name for field in view.request]
                + [name for projection in view.inputs for name in projection.features or ()]
                + list(inputs)
            )
        if missing := sorted(wanted - inputs.keys()):
            raise LeftOut(f"its function {function.name} uses {', '.join(missing)}, which is left out")
        return set(wanted)

    def _computed(
        self, view: FeastOnDemandView, expressions: Mapping[str, FeastExpression]
    ) -> Iterator[tuple[str, ResourceDraft]]:
        for field, name, kind in self._fields(view):
            made = expressions[field.name]
            if kind not in _NUMBERS:
                raise LeftOut(
                    f"its function gives numbers for {field.name}, which is declared as {field.type}"
                )
            wanted = ColumnType.INT64
            if made.type is not ColumnType.INT64 or kind in (ColumnType.FLOAT32, ColumnType.FLOAT64):
                wanted = ColumnType.FLOAT64
            if made.rounds:
                remark = (
                    "is computed with doubles, as Feast does online; in training it computes with Float32"
                )
                self._remarks.say(_KIND, f"{view.name}:{field.name}", remark)
            yield field.name, self._feature(view, field, name, kind, wanted, {"expression": made.text})

    def _called(
        self, view: FeastOnDemandView, function: FeastFunction, inputs: Mapping[str, FeastInput]
    ) -> Iterator[tuple[str, ResourceDraft]]:
        """Its features, each by a function of the module that calls the one of the repository."""
        definitions = function.definitions()
        if other := [name for name, line in definitions.items() if self._definitions.get(name, line) != line]:
            raise LeftOut(f"functions of the repository mean different things by the name {other[0]}")
        if function.name in self._functions:
            raise LeftOut(f"another function is named {function.name}")
        names: dict[str, list[str]] = {}
        for name, column in sorted(inputs.items()):
            names.setdefault(column.name, []).append(name)
        lines = [function.text]
        features = {}
        for field, name, kind in self._fields(view):
            caller = f"{function.name}__{python_name(name)}"
            lines.append(_caller(caller, function.name, view, field.name, names))
            wanted = _WIDEST.get(kind, kind)
            called = {"python": {"callable": f"{MODULE}:{caller}"}}
            features[field.name] = self._feature(view, field, name, kind, wanted, called)
        self._definitions |= definitions
        self._functions[function.name] = "\n\n".join(lines)
        remark = (
            f"is computed by {MODULE}.py: what reads it needs that, and what it imports, on its PYTHONPATH"
        )
        self._remarks.say(_KIND, view.name, remark)
        yield from features.items()

    def _fields(self, view: FeastOnDemandView) -> Iterator[tuple[FeastField, str, ColumnType]]:
        """Its features, with names and types here."""
        given: set[str] = set()
        for field in view.fields:
            kind = of_feast(field.type)
            if kind is None:
                raise LeftOut(f"no feature can be {field.type}: {field.name}")
            name = feature_name(field.name, given)
            given.add(name.lower())
            yield field, name, kind

    def _feature(
        self,
        view: FeastOnDemandView,
        field: FeastField,
        name: str,
        declared: ColumnType,
        wanted: ColumnType,
        origin: ResourceDraft,
    ) -> ResourceDraft:
        feature: ResourceDraft = {"name": name, "type": wanted.value, **origin}
        if field.description:
            feature["description"] = field.description
        check_model(Feature, feature)
        of = f"{view.name}:{field.name}"
        if name != field.name:
            self._remarks.say(_KIND, of, f"is named {name}: calls must say so")
        if wanted is not declared:
            remark = f"is {wanted.value} and not {field.type}, as its function gives it: Feast gives these in training"
            self._remarks.say(_KIND, of, remark)
        return feature


def _selections(projection: Projection, view: str, names: list[str]) -> list[str | ResourceDraft]:
    if projection.keys:
        return [{"view": view, "joinKeyMap": dict(projection.keys), "features": names}]
    return [f"{view}:{name}" for name in names]


def _caller(
    name: str, function: str, view: FeastOnDemandView, column: str, names: Mapping[str, list[str]]
) -> str:
    """A function of a table, as features here have it, that calls one as Feast has it."""
    given = {feast: ours for ours, feasts in names.items() for feast in feasts}
    columns = ", ".join(f"{feast!r}: table[{ours!r}]" for feast, ours in given.items())
    match view:
        case FeastOnDemandView(mode="pandas"):
            made = f"pa.Array.from_pandas({function}(inputs.to_pandas())[{column!r}])"
        case FeastOnDemandView(singleton=True):
            made = f"pa.array([{function}(row)[{column!r}] for row in inputs.to_pylist()])"
        case _:
            made = f"pa.array({function}(inputs.to_pydict())[{column!r}])"
    return (
        f"def {name}(table: pa.Table) -> pa.Array:\n    inputs = pa.table({{{columns}}})\n    return {made}\n"
    )
