"""``featurestore features``: what the store answers for some entities, now or at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from featurestore.cli.output import OutputFormat, columns, dump, listing
from featurestore.errors import RequestError
from featurestore.registry.project import Project
from featurestore.resources.value import ColumnType, KeyType


def features(
    project: Project, names: Sequence[str], entities: Sequence[str], at: str | None, form: OutputFormat | None
) -> str:
    """What to print: one row per entity, each value with its status.

    ``names``: ``view`` for all its features, ``view:feature``, or the name of a service. Features are named in full if
    two of them have one name. ``entities``: see :func:`parse_entities`.

    Raises:
        NotFound: there is no such view or feature.
        RequestError: an entity lacks a key, or its value does not have the key's type.
    """
    from featurestore.client.connection import Store
    from featurestore.client.resolution import resolve
    from featurestore.views.served import ServedViews

    resolution = resolve(names, ServedViews(project.storage))
    short = [column.output.name for column in resolution.columns]
    full_feature_names = len({*short}) < len(short)
    rows = [
        row
        for text in entities
        for row in parse_entities(text, {**resolution.key_types, **resolution.request})
    ]
    store = Store(project)
    asked: list[dict[str, Any]] = [dict(row) for row in rows]
    if at is None:
        answer = store.get_online_features(names, asked, full_feature_names)
    else:
        asked = [{**row, "event_timestamp": at} for row in asked]
        answer = store.get_features(
            names, asked, timestamp_column="event_timestamp", full_feature_names=full_feature_names
        )
    values = answer.to_dict()
    statuses = {name: [status.name for status in each] for name, each in answer.statuses().items()}
    keys = [key for key in values if key not in statuses]
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        items = [
            {
                **{key: values[key][at_row] for key in keys},
                "features": {
                    name: {"value": values[name][at_row], "status": statuses[name][at_row]}
                    for name in statuses
                },
            }
            for at_row in range(len(rows))
        ]
        return dump(listing(items), form)
    shown = [
        [*(_value(values[key][row]) for key in keys), name, _value(values[name][row]), statuses[name][row]]
        for row in range(len(rows))
        for name in statuses
    ]
    return columns([*(key.upper() for key in keys), "FEATURE", "VALUE", "STATUS"], shown)


def parse_entities(text: str, types: Mapping[str, KeyType | ColumnType]) -> list[dict[str, str | int]]:
    """The keys of one or several entities. ``types``: columns that an entity has, with the types that views declare.

    ``key=value[,key=value]`` is one entity. A key that comes again begins the next one, and where there is one key
    only, a value alone does: ``tailnum=N1,N2``. A value that has a comma is written as JSON: ``{"city": "Rome, NY"}``.

    Raises:
        RequestError: the text is none of these, or a value is not an integer.
    """
    wanted = ",".join(f"{name}=<{kind.value}>" for name, kind in types.items())
    pairs = (
        _of_json(text) if text.startswith("{") else _pairs(text, next(iter(types)) if len(types) == 1 else "")
    )
    entities: list[dict[str, str | int]] = [{}]
    for key, value in pairs:
        if key not in types:
            raise RequestError("this is not an entity", where="--entity", wanted=wanted, got=text)
        if key in entities[-1]:
            entities.append({})
        entities[-1][key] = _key(key, value, types[key])
    if any(entity.keys() != types.keys() for entity in entities):
        raise RequestError("an entity lacks a key", where="--entity", wanted=wanted, got=text)
    return entities


def _of_json(text: str) -> list[tuple[str, str]]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise RequestError("this is not JSON", where="--entity", got=f"{text}: {error}") from error
    if not all(isinstance(item, str | int) and not isinstance(item, bool) for item in value.values()):
        raise RequestError("a key is not a string or an integer", where="--entity", got=text)
    return [(key, str(item)) for key, item in value.items()]


def _pairs(text: str, only_key: str) -> list[tuple[str, str]]:
    """``only_key``: the key that a value alone belongs to; "" if there are several."""
    pairs = []
    for part in text.split(","):
        key, equals, value = part.partition("=")
        pairs.append((key, value) if equals else (only_key, part))
    return pairs


def _key(name: str, text: str, kind: KeyType | ColumnType) -> str | int:
    if not isinstance(kind, KeyType) or kind is KeyType.STRING:
        # A field of the request becomes of its type where it is used.
        return text
    try:
        return int(text)
    except ValueError:
        raise RequestError(
            f"the key {name!r} has another type", where="--entity", wanted=kind.value, got=repr(text)
        ) from None


def _value(value: object) -> str | None:
    if value is None:
        return None
    return json.dumps(value, default=str) if isinstance(value, list | dict) else str(value)
