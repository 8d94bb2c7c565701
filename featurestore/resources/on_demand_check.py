"""What a view on demand says: its inputs are there, its expressions fit their types, and it is not its own input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from featurestore.errors import SpecError
from featurestore.expressions.value_type import ValueType, declared
from featurestore.resources.callable import check_callable
from featurestore.resources.feature_check import (
    Fields,
    Find,
    check_feature_expression,
    check_selections,
    input_of,
    selected,
)
from featurestore.resources.feature_view import OnDemandView
from featurestore.resources.outputs import outputs


def check_on_demand(
    at: Fields, view: OnDemandView, find: Find, folders: Sequence[Path] | None
) -> Iterator[SpecError]:
    """All that is wrong with it, as far as the views that it reads are there. ``folders``: as of known resources."""
    wanted = view.spec.on_demand
    taken = {field.name: f"the request field {field.name!r}" for field in wanted.request}
    yield from check_selections(
        at, ("spec", "onDemand", "inputs"), wanted.inputs, find, name_of=input_of, taken=taken
    )
    way = _way(view.metadata.name, find, (view.metadata.name,))
    if way:
        yield SpecError(
            "views on demand are computed from each other in a circle",
            where=at.where("spec", "onDemand", "inputs"),
            got=" → ".join(way),
        )
    types, complete = _types(view, find)
    for n, feature in enumerate(view.spec.features):
        where = ("spec", "features", n)
        if feature.python is not None and folders is not None:
            try:
                check_callable(feature.python.callable, folders, where=at.where(*where, "python", "callable"))
            except SpecError as problem:
                yield problem
        if feature.expression is not None:
            yield from check_feature_expression(at, where, feature, types.keys() if complete else None, types)


def _types(view: OnDemandView, find: Find) -> tuple[dict[str, ValueType], bool]:
    """Types of the names that expressions may use, and whether these are all."""
    types = {field.name: declared(field.type) for field in view.spec.on_demand.request}
    complete = True
    for selection in view.spec.on_demand.inputs:
        known = find(selection.view)
        if known is None:
            complete = False
            continue
        for output in selected(selection, outputs(known.spec)):
            types[input_of(selection, output.name)] = declared(output.type)
    return types, complete


def _way(end: str, find: Find, way: tuple[str, ...]) -> tuple[str, ...]:
    """From the last of the way by inputs to ``end``; empty if there is no way."""
    todo, visited = [way], {end}
    while todo:
        so_far = todo.pop()
        view = find(so_far[-1])
        for selection in view.spec.on_demand.inputs if isinstance(view, OnDemandView) else ():
            if selection.view == end:
                return (*so_far, end)
            if selection.view not in visited:
                visited.add(selection.view)
                todo.append((*so_far, selection.view))
    return ()
