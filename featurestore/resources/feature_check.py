"""What specs say of features: those that a list names are there, no two columns get one name, expressions fit their types."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

from featurestore.errors import SpecError, did_you_mean
from featurestore.expressions.check import checked
from featurestore.expressions.value_type import ValueType
from featurestore.resources.column_types import fits
from featurestore.resources.feature_selection import FeatureSelection
from featurestore.resources.feature_view import Feature, FeatureView, OnDemandView, View
from featurestore.resources.outputs import Output, outputs
from featurestore.resources.resource import Resource
from featurestore.resources.value import KeyType

Find = Callable[[str], View | None]
"""A view by its name; None if it is not there, or not known well enough to say what it has."""


class Fields(Protocol):
    """Says where a field of the resource stands."""

    def where(self, *path: str | int) -> str: ...


def full_name(role: str, output: str) -> str:
    """As a column is called in full.

    >>> full_name("origin_weather", "temp")
    'origin_weather__temp'
    """
    return f"{role}__{output}"


def selected(selection: FeatureSelection, known: Sequence[Output]) -> list[Output]:
    """The outputs of its view that a selection means, in its order; those that there are not are left out."""
    if selection.features is None:
        return list(known)
    by_name = {output.name: output for output in known}
    return [by_name[name] for name in selection.features if name in by_name]


def count_features(selections: Sequence[FeatureSelection], find: Find) -> int:
    """How many features the selections give, of the views that there are."""
    views = ((selection, find(selection.view)) for selection in selections)
    return sum(len(selected(selection, outputs(view.spec))) for selection, view in views if view is not None)


def column_of(selection: FeatureSelection, output: str) -> str:
    """The full name of a column of a service."""
    return full_name(selection.called, output)


def input_of(selection: FeatureSelection, output: str) -> str:
    """What an expression of a view on demand calls it."""
    return full_name(selection.role, output) if selection.role else output


def join_keys(view: View, find: Find, on_the_way: frozenset[str] = frozenset()) -> dict[str, KeyType]:
    """Columns that entities must have for the view, as far as what it is computed from is known."""
    if isinstance(view, FeatureView):
        return {key.name: key.type for key in view.spec.entity.join_keys}
    keys: dict[str, KeyType] = {}
    name = view.metadata.name
    for selection in view.spec.on_demand.inputs if isinstance(view, OnDemandView) else ():
        inner = find(selection.view)
        if inner is not None and selection.view not in on_the_way:
            for key, kind in join_keys(inner, find, on_the_way | {name}).items():
                keys[selection.join_key_map.get(key, key)] = kind
    return keys


def check_selections(
    at: Fields,
    path: Sequence[str | int],
    selections: Sequence[FeatureSelection],
    find: Find,
    name_of: Callable[[FeatureSelection, str], str] = column_of,
    taken: Mapping[str, str] | None = None,
) -> Iterator[SpecError]:
    """All that is wrong with what selections say of the views that there are. ``path``: of the list.

    ``name_of``: what an output is called. ``taken``: names that others have, to what these are.
    """
    owners: dict[str, str] = dict(taken or {})
    for n, selection in enumerate(selections):
        view = find(selection.view)
        here = (*path, n)
        if view is None:
            continue
        yield from _features(at, here, selection, view)
        yield from _join_keys(at, here, selection, join_keys(view, find))
        for output in selected(selection, outputs(view.spec)):
            name = name_of(selection, output.name)
            if name in owners:
                yield SpecError(
                    f"two features would have the name {name!r}",
                    where=at.where(*here),
                    got=f"{selection.view}:{output.name}, and {owners[name]}",
                    hint="`as` gives one of them another name",
                )
            owners[name] = f"{selection.view}:{output.name}"


def check_feature_expression(
    at: Fields,
    where: tuple[str | int, ...],
    feature: Feature,
    columns: Collection[str] | None,
    types: Mapping[str, ValueType],
) -> Iterator[SpecError]:
    """What is wrong with the expression of a feature. ``columns``: all that there are, as far as that is known."""
    assert feature.expression is not None
    place = at.where(*where, "expression")
    try:
        value_type = checked(feature.expression, where=place, columns=columns, types=types).tree.type
    except SpecError as problem:
        yield problem
        return
    if not fits(value_type, feature.type.value):
        yield SpecError(
            "the values of the expression do not fit",
            where=at.where(*where, "type"),
            wanted=feature.type.value,
            got=f"{feature.expression}, which is {value_type}",
        )


def check_service_name(at: Fields, service: Resource, find: Find) -> Iterator[SpecError]:
    """A service is not called as a view: a request for that name would be about either."""
    if find(service.metadata.name) is not None:
        yield from same_name(at, service)


def same_name(at: Fields, one: Resource) -> Iterator[SpecError]:
    """A view or a service has the name of one of the other kind."""
    other = "service" if one.kind == "FeatureView" else "view"
    yield SpecError(
        f"a {other} has the name of this {'view' if other == 'service' else 'service'}",
        where=at.where("metadata", "name"),
        got=repr(one.metadata.name),
        hint="get_features() would not know which of them is meant: give one another name",
    )


def _features(
    at: Fields, path: tuple[str | int, ...], selection: FeatureSelection, view: View
) -> Iterator[SpecError]:
    known = [output.name for output in outputs(view.spec)]
    for n, name in enumerate(selection.features or ()):
        if name not in known:
            at_name = (*path, "features", n) if _is_mapping(selection) else path
            yield SpecError(
                f"the view {selection.view!r} has no feature {name!r}",
                where=at.where(*at_name),
                hint=did_you_mean(name, known),
            )


def _join_keys(
    at: Fields, path: tuple[str | int, ...], selection: FeatureSelection, known: Collection[str]
) -> Iterator[SpecError]:
    for key in selection.join_key_map:
        if key not in known:
            yield SpecError(
                f"the view {selection.view!r} has no join key {key!r}",
                where=at.where(*path, "joinKeyMap", key),
                hint=did_you_mean(key, known),
            )


def _is_mapping(selection: FeatureSelection) -> bool:
    """Whether the selection is written as a mapping: what one text can say is written so."""
    return not isinstance(selection.model_dump(), str)
