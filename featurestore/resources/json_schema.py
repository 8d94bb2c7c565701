"""One JSON Schema of all kinds, for editors: names, types and descriptions of fields while you type.

It is made from the schemas of the CustomResourceDefinitions. What only they can say (rules in CEL) is left to
``featurestore plan``. https://json-schema.org/draft/2020-12/schema
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from featurestore.resources.field_docs import spec_schema
from featurestore.resources.kinds import API_VERSION, KINDS
from featurestore.resources.metadata import Metadata

SCHEMA_FILE = "featurestore.schema.json"
EDITOR_LINE = f"# yaml-language-server: $schema={SCHEMA_FILE}\n"
"""The first line of a YAML file by which editors find the schema beside it."""


def json_schema() -> dict[str, Any]:
    """The schema of a document of any kind."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A resource of featurestore",
        "type": "object",
        "required": ["kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"enum": [API_VERSION], "description": "Version of the schema."},
            "kind": {"enum": list(KINDS), "description": "What it is."},
            "metadata": _closed(_metadata()),
        },
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
                "then": {
                    "description": spec_schema(kind)["description"],
                    "properties": {"spec": _closed(spec_schema(kind)["properties"]["spec"])},
                },
            }
            for name, kind in KINDS.items()
        ],
    }


def json_schema_text() -> str:
    """The schema as a file."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def _metadata() -> dict[str, Any]:
    schema = Metadata.model_json_schema(by_alias=True)
    properties = {name: _plain(field) for name, field in schema["properties"].items()}
    # Kubernetes writes more there; what is applied from `kubectl get -o yaml` is right, too.
    return {"type": "object", "required": ["name"], "properties": properties, "additionalProperties": True}


def _plain(field: Mapping[str, Any]) -> dict[str, Any]:
    """Pydantic's schema of an optional field, as if it were not: an editor offers what can be written."""
    members = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    kept = {key: value for key, value in field.items() if key not in ("anyOf", "title", "default")}
    return {**kept, **(members[0] if members else {})}


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in which an unknown field is an error, and without what only Kubernetes knows."""
    kept = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string"):
        kept["type"] = ["integer", "string"]
        kept.pop("anyOf", None)
    kept.pop("format", None)
    if "properties" in kept:
        kept["properties"] = {name: _closed(field) for name, field in kept["properties"].items()}
        kept.setdefault("additionalProperties", False)
    elif schema.get("type") == "object" and "additionalProperties" not in kept:
        open_ended = schema.get("x-kubernetes-preserve-unknown-fields", False)
        kept["additionalProperties"] = bool(open_ended)
    if isinstance(kept.get("additionalProperties"), Mapping):
        kept["additionalProperties"] = _closed(kept["additionalProperties"])
    if "items" in kept:
        kept["items"] = _closed(kept["items"])
    return kept
