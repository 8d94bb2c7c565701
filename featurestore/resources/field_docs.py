"""The fields of a kind with types, defaults and descriptions, in human-readable form: for ``explain`` and the docs.

They come from the schema of the CustomResourceDefinition, and so from the models.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurestore.errors import NotFound, did_you_mean
from featurestore.resources.crd import described_schema
from featurestore.resources.kinds import ResourceKind, defined

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FieldDoc:
    """One field. ``path``: from the kind, with ``[]`` for each item and ``.*`` for each value of a mapping.

    ``default``: as YAML; "" if there is none. ``rules``: what must hold of it, as sentences.
    """

    path: str
    type: str
    required: bool
    default: str
    description: str
    rules: tuple[str, ...] = ()


def spec_schema(kind: ResourceKind) -> Schema:
    """The schema of a kind's objects, without their status."""
    schema = described_schema(kind)
    schema["properties"] = {name: field for name, field in schema["properties"].items() if name != "status"}
    return schema


def explain_field(kind: ResourceKind, path: Sequence[str]) -> tuple[FieldDoc, list[FieldDoc]]:
    """A field of a kind, and the fields right below it.

    Raises:
        NotFound: the kind has no such field; the message names the nearest.
    """
    schema, at, required = spec_schema(kind), "", True
    for name in path:
        inner, below = _inside(schema)
        fields = inner.get("properties", {})
        if name not in fields:
            raise NotFound(
                f"there is no field {name!r}",
                where=f"{kind.name}{at}",
                hint=did_you_mean(name, fields) if fields else "It has no fields",
            )
        required = name in inner.get("required", ())
        schema, at = fields[name], f"{at}{below}.{name}"
    inner, below = _inside(schema)
    return _field(at.removeprefix("."), schema, required=required), list(_fields(inner, f"{at}{below}"))


def all_fields(kind: ResourceKind) -> Iterator[FieldDoc]:
    """Every field of a kind's spec, from the outside in."""
    return _walk(spec_schema(kind)["properties"]["spec"], "spec")


def _walk(schema: Schema, at: str) -> Iterator[FieldDoc]:
    inner, below = _inside(schema)
    for field in _fields(inner, f"{at}{below}"):
        yield field
        yield from _walk(inner["properties"][field.path.rpartition(".")[2]], field.path)


def _inside(schema: Schema) -> tuple[Schema, str]:
    """The object that a list or a mapping holds, and how its path goes on."""
    below = ""
    while True:
        if "items" in schema:
            schema, below = schema["items"], f"{below}[]"
        elif "additionalProperties" in schema:
            schema, below = schema["additionalProperties"], f"{below}.*"
        else:
            return schema, below


def _fields(schema: Schema, at: str) -> Iterator[FieldDoc]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield _field(f"{at}.{name}".removeprefix("."), field, required=name in required)


def _field(path: str, schema: Schema, *, required: bool) -> FieldDoc:
    default = schema.get("default")
    shown = "" if default in (None, {}) else json.dumps(default, ensure_ascii=False)
    rules = tuple(rule["message"] for rule in schema.get("x-kubernetes-validations", ()))
    return FieldDoc(path, _type(schema), required, shown, schema.get("description", ""), rules)


def _type(schema: Schema) -> str:
    """The type in a few words: ``Parquet | CSV``, ``list of string``, ``integer, 1 to 500``."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema['items'])}"
        case "object" if "additionalProperties" in schema:
            return f"mapping to {_type(schema['additionalProperties'])}"
        case None:
            return "any"
        case named:
            bounds = [schema.get("minimum"), schema.get("maximum")]
            if bounds == [None, None]:
                return str(named)
            low, high = bounds
            if high is None:
                return f"{named}, at least {low}"
            return f"{named}, at most {high}" if low is None else f"{named}, {low} to {high}"


def fields_page() -> str:
    """``docs/resources.md``: every field of every kind."""
    parts = [_HEAD]
    for kind in defined():
        parts.append(f"## {kind.name}\n\n{spec_schema(kind)['description']}\n")
        rules: dict[str, str] = {}
        rows = []
        for field in all_fields(kind):
            rows.append(
                f"| `{field.path.removeprefix('spec.')}` | {_cell(field.type)} | {_need(field)} | {_cell(field.description)} |"
            )
            rules |= dict.fromkeys(field.rules, field.path)
        parts.append(
            "\n".join(["| field of `spec` | type | default | what it says |", "|---|---|---|---|", *rows])
            + "\n"
        )
        if rules:
            lines = [f"- `{path}`: {rule}." for rule, path in rules.items()]
            parts.append("What must hold of several fields together:\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


_HEAD = """\
# Every field of every resource

Made from the models by `make crds`: change those, not this page. `featurestore explain KIND.FIELD` shows the same in a terminal,
and `featurestore schema` gives it to editors. `[]` is each item of a list, `.*` each value of a mapping. All kinds have
`apiVersion: featurestore.dev/v1alpha1` (may be left out on a laptop), `kind` and `metadata.name`. In a cluster,
the annotation `featurestore.dev/rebuild` of a DataPipeline or a FeatureView asks for
[its history to be run again](install.md#running-history-again).
"""


def _need(field: FieldDoc) -> str:
    return "required" if field.required else f"`{field.default}`" if field.default else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(fields_page())
