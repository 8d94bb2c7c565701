"""The dashboard is one that Grafana loads: its own schema knows every key and every value of it.

The schema is that of ``grafana-foundation-sdk``, made from Grafana's source. It drops what it does not know, and takes
any value: so what went in must come out again, and each value must be of the type that is declared. What it leaves
open is not checked: the query of a variable, words without a list of their own, as names of colors, and how it looks.
"""

from __future__ import annotations

import copy
import json
import types
import typing
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any

import pytest
from examples import sample
from installation import DASHBOARD, PANELS

Path = tuple[str | int, ...]
# What the schema leaves open: a query is text or any object. And what is null is as if it were not there.
OPEN = {
    "misspelt": {
        "templating.list.query.query",
        "templating.list.query.refId",
        "panels.fieldConfig.defaults.thresholds.steps.value",
    },
    "of-a-wrong-type": {
        "templating.list.query",
        "templating.list.query.query",
        "templating.list.query.refId",
    },
}

# Grafana's classic format is what its sidecar loads; the schema prefers one that is newer.
pytestmark = pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")


def problems(dashboard: dict[str, Any]) -> Iterator[str]:
    """What Grafana's schema does not know in it."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    read = Dashboard.from_json(dashboard)
    yield from lost(dashboard, json.loads(json.dumps(read, cls=JSONEncoder)))
    yield from misfits(read, Dashboard)


def lost(given: Any, read: Any, where: str = "dashboard") -> Iterator[str]:
    """What is given and not read. More may be read than is given: defaults."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            # What is null is left out when it is written again.
            yield from lost(value, read.get(key), f"{where}.{key}")
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for number, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from lost(one, other, f"{where}[{number}]")
    elif given != read:
        yield f"{where} is {given!r}, and read as {read!r}"


def misfits(value: Any, hint: Any, where: str = "dashboard") -> Iterator[str]:
    """Values that are not of the declared type."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    alternatives = typing.get_args(hint) if union else (hint,)
    lists = [it for it in alternatives if typing.get_origin(it) is list]
    if hasattr(value, "to_json"):
        for name, inner in declared(type(value)).items():
            yield from misfits(getattr(value, name), inner, f"{where}.{name}")
    elif isinstance(value, list) and lists:
        [inner] = typing.get_args(lists[0])
        for number, it in enumerate(value):
            yield from misfits(it, inner, f"{where}[{number}]")
    elif not any(fits(value, it) for it in alternatives):
        yield f"{where} is {value!r}, and no {hint}"


@cache
def declared(model: type) -> dict[str, Any]:
    return typing.get_type_hints(model)


def fits(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Literal:
        return any(value is it or (value == it and isinstance(it, str)) for it in typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return value in [it.value for it in hint] and not isinstance(value, bool)
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return isinstance(value, typing.get_origin(hint) or hint)


def places(value: Any) -> dict[str, Path]:
    """Where there are keys, one of each kind: what all panels have is there once."""
    found: dict[str, Path] = {}
    for path in _all_places(value):
        found.setdefault(".".join(it for it in path if isinstance(it, str)), path)
    return found


def _all_places(value: Any, path: Path = ()) -> Iterator[Path]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, it in inner:
        if isinstance(key, str):
            yield (*path, key)
        yield from _all_places(it, (*path, key))


def test_grafanas_schema_knows_all_that_the_dashboard_says() -> None:
    assert list(problems(DASHBOARD)) == []


def is_refused(path: Path, change: str) -> bool:
    """Whether the schema finds fault with the dashboard once the key is misspelt, or its value of a wrong type."""
    changed = copy.deepcopy(DASHBOARD)
    *parents, key = path
    it = changed
    for parent in parents:
        it = it[parent]
    if change == "misspelt":
        it[f"{key}x"] = it.pop(key)
    else:
        it[key] = [[]] if isinstance(it[key], dict) else {"x": 1}
    try:
        return bool(list(problems(changed)))
    except (AttributeError, KeyError, TypeError):
        return True  # It cannot even be read.


@pytest.mark.parametrize("change", OPEN)
def test_whatever_is_wrong_in_the_dashboard_is_found(change: str) -> None:
    everywhere = places(DASHBOARD)
    assert len(everywhere) > 60
    tried = {*sample(sorted(everywhere), 20), *OPEN[change]}
    assert {kind for kind in tried if not is_refused(everywhere[kind], change)} == OPEN[change]


def test_units_are_those_that_grafana_has() -> None:
    from grafana_foundation_sdk.models import units

    names = {it for name, it in vars(units).items() if name[0].isupper()}
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS} <= names


def test_each_panel_says_what_it_shows_and_asks_the_data_source_that_is_chosen() -> None:
    [chosen] = [it["name"] for it in DASHBOARD["templating"]["list"] if it["type"] == "datasource"]
    asked = [it for panel in PANELS for it in (panel, *panel["targets"])]
    asked += [it for it in DASHBOARD["templating"]["list"] if it["type"] == "query"]
    for it in asked:
        assert it["datasource"] == {"type": "prometheus", "uid": f"${{{chosen}}}"}
    for panel in PANELS:
        assert panel["description"].endswith(".")
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters))


def test_no_two_panels_have_one_number() -> None:
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
