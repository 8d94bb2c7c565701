"""``featurestore features``: what the store answers for some entities, now or at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from featurestore.cli.output import OutputFormat, columns, dump, listing
from featurestore.cli.summary import view_summary
from featurestore.errors import RequestError
from featurestore.registry.project import Project
from featurestore.resources import FeatureViewSpec
from featurestore.resources.value import KeyType


def features(
    project: Project, names: Sequence[str], entities: Sequence[str], at: str | None, form: OutputFormat | None
) -> str:
    """What to print: one row per entity, each value with its status.

    ``names``: ``view`` for all its features, or ``view:feature``. ``entities``: ``key=value[,key=value]``.

    Raises:
        NotFound: there is no such view or feature.
        RequestError: an entity lacks a key, or its value is not of the key's type.
    """
    from featurestore.client.connection import Store

    views = {name.partition(":")[0] for name in names}
    specs = [view_summary(project, view).accepted.resource.spec for view in sorted(views)]
    wanted = [name if ":" in name else f"{name}:*" for name in names]
    rows = [parse_entity(text, specs) for text in entities]
    store = Store(project)
    asked: list[dict[str, Any]] = [dict(row) for row in rows]
    if at is None:
        answer = store.get_features(wanted, asked)
    else:
        asked = [{**row, "event_timestamp": at} for row in asked]
        answer = store.get_features(wanted, asked, timestamp_column="event_timestamp")
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
        [*(values[key][row] for key in keys), name, _value(values[name][row]), statuses[name][row]]
        for row in range(len(rows))
        for name in statuses
    ]
    return columns([*(key.upper() for key in keys), "FEATURE", "VALUE", "STATUS"], shown)


def parse_entity(text: str, specs: Sequence[FeatureViewSpec]) -> dict[str, str | int]:
    """The keys of one entity, of the types that the views declare.

    Raises:
        RequestError: the text is not ``key=value[,key=value]``, or a value is no integer.
    """
    types = {key.name: key.type for spec in specs for key in spec.entity.join_keys}
    entity: dict[str, str | int] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or key not in types:
            wanted = ",".join(f"{name}=<{kind.value}>" for name, kind in types.items())
            raise RequestError("this is not an entity", where="--entity", wanted=wanted, got=text)
        if types[key] is KeyType.STRING:
            entity[key] = value
            continue
        try:
            entity[key] = int(value)
        except ValueError:
            raise RequestError(
                f"the key {key!r} has another type",
                where="--entity",
                wanted=types[key].value,
                got=repr(value),
            ) from None
    return entity


def _value(value: object) -> str | None:
    if value is None:
        return None
    return json.dumps(value, default=str) if isinstance(value, list | dict) else str(value)
