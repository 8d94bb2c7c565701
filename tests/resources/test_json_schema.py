"""The JSON Schema for editors takes what the models take, and knows no field that they do not know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from featurestore.cli.template import FILES
from featurestore.resources.crd import definition
from featurestore.resources.json_schema import EDITOR_LINE, SCHEMA_FILE, json_schema, json_schema_text
from featurestore.resources.kinds import KINDS

SPECS = Path(__file__).parents[2] / "fixtures" / "specs"
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
KEYWORDS = {
    *("$schema", "title", "description", "default", "type", "enum", "const", "pattern", "required", "properties"),
    *("additionalProperties", "items", "allOf", "if", "then", "minimum", "maximum", "minLength", "maxLength"),
    *("minItems", "maxItems", "minProperties", "maxProperties", "propertyNames"),
}  # fmt: skip


@cache
def schema_of_all() -> dict[str, Any]:
    return json_schema()


def problems(value: Any, schema: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """What a validator of JSON Schema says: the part of the draft that the schema uses, and nothing else may be used."""
    assert schema.keys() <= KEYWORDS, schema.keys() - KEYWORDS
    types = schema.get("type", [])
    names = [types] if isinstance(types, str) else types
    if names and not any(_is(value, name) for name in names):
        yield f"{at}: not {names}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: not one of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{at}: not {schema['const']}"
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{at}: not like {schema['pattern']}"
        yield from _bounds(len(value), schema, "Length", at)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _bounds(value, schema, "imum", at)
    if isinstance(value, list):
        yield from _bounds(len(value), schema, "Items", at)
        for n, item in enumerate(value):
            yield from problems(item, schema.get("items", {}), f"{at}[{n}]")
    if isinstance(value, dict):
        yield from _bounds(len(value), schema, "Properties", at)
        yield from (f"{at}.{name}: missing" for name in schema.get("required", ()) if name not in value)
        for name, item in value.items():
            yield from problems(name, schema.get("propertyNames", {}), f"{at}.{name}")
            more = schema.get("additionalProperties", True)
            if name in schema.get("properties", {}):
                yield from problems(item, schema["properties"][name], f"{at}.{name}")
            elif more is False:
                yield f"{at}.{name}: unknown"
            elif isinstance(more, dict):
                yield from problems(item, more, f"{at}.{name}")
    for part in schema.get("allOf", ()):
        if not list(problems(value, part["if"], at)):
            yield from problems(value, part["then"], at)


def _is(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _bounds(size: float, schema: Mapping[str, Any], word: str, at: str) -> Iterator[str]:
    if size < schema.get(f"min{word}", size):
        yield f"{at}: too small"
    if size > schema.get(f"max{word}", size):
        yield f"{at}: too large"


def documents(text: str) -> list[Any]:
    return [it for it in yaml.safe_load_all(text) if it is not None]


def test_what_init_writes_is_right_by_the_schema_that_it_writes() -> None:
    for name, text in FILES.items():
        if name.endswith(".yaml"):
            for document in documents(text):
                assert list(problems(document, schema_of_all())) == [], name


@pytest.mark.parametrize("file", sorted((SPECS / "valid").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_valid_resource_is_right_by_the_schema(file: Path) -> None:
    for document in documents(file.read_text()):
        assert list(problems(json.loads(json.dumps(document, default=str)), schema_of_all())) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("field-unknown", "unknown"),
        ("enum-unknown", "not one of"),
        ("features-none", "too small"),
        ("feature-name-wrong", "not like"),
        ("field-in-snake-case", "unknown"),
        ("column-type-unknown", "not one of"),
    ],
)
def test_a_typing_error_is_found_while_one_types(name: str, problem: str) -> None:
    found = [
        it
        for document in documents((SPECS / "invalid" / f"{name}.yaml").read_text())
        for it in problems(document, schema_of_all())
    ]
    assert any(problem in it for it in found), found


def paths(schema: Mapping[str, Any], at: str = "") -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        yield f"{at}.{name}"
        yield from paths(field, f"{at}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from paths(schema[name], f"{at}.{name}")


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_the_fields_of_the_custom_resource_definitions(kind: str) -> None:
    [version] = definition(KINDS[kind])["spec"]["versions"]
    wanted = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    [part] = [
        it["then"] for it in schema_of_all()["allOf"] if it["if"]["properties"]["kind"]["const"] == kind
    ]
    assert list(paths(part["properties"]["spec"])) == list(paths(wanted))
    assert "x-kubernetes" not in json.dumps(part)


def test_every_field_is_described_for_the_hover_of_an_editor() -> None:
    def fields(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        for field in schema.get("properties", {}).values():
            yield field
            yield from fields(field)
        for inner in (schema.get("items"), schema.get("additionalProperties")):
            if isinstance(inner, dict):
                yield from fields(inner)

    for part in schema_of_all()["allOf"]:
        for field in fields(part["then"]["properties"]["spec"]):
            assert field.get("description"), field


def test_editors_find_the_schema_by_the_first_line_of_a_file() -> None:
    assert f"# yaml-language-server: $schema={SCHEMA_FILE}\n" == EDITOR_LINE
    assert json.loads(json_schema_text()) == schema_of_all()
