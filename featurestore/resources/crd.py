"""CustomResourceDefinitions made from the models: ``python -m featurestore.resources.crd crds`` writes them.

The schemas are *structural*, as the API server wants them: no references, no ``anyOf``, no null, every field
described; what pydantic says with those is said here in Kubernetes' own ways.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from featurestore.resources.annotation import plain
from featurestore.resources.kinds import API_VERSION, GROUP, VERSIONS, PrinterColumn, ResourceKind, defined
from featurestore.resources.metadata import NAME_PATTERN
from featurestore.resources.model import Model
from featurestore.resources.quantity import SENTENCES
from featurestore.resources.rule import SpecRule, Transition, Unique
from featurestore.resources.status import UNSEEN

_HEADER = "# Made from the models in featurestore/resources by `make crds`. Change those, not this.\n"
_READY = '.status.conditions[?(@.type=="Ready")]'
_INT64_MAX = 2**63 - 1
_KEPT = (
    *("type", "enum", "pattern", "format", "minimum", "maximum", "minLength", "maxLength"),
    *("minItems", "maxItems", "minProperties", "maxProperties"),
)


_FIRST = (PrinterColumn("Ready", "string", f"{_READY}.status", "Whether everything is as the spec asks."),)
# The sentence is the last: only it may be wider than the screen, and one that is moves no other column out of sight.
_LAST = (
    PrinterColumn("Age", "date", ".metadata.creationTimestamp", "When the object was created."),
    PrinterColumn("Reason", "string", f"{_READY}.reason", "Why it is ready or not."),
    PrinterColumn("Message", "string", f"{_READY}.message", "What is wrong."),
)


def definition(kind: ResourceKind, versions: Sequence[str] = VERSIONS) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind. ``versions``: as :data:`featurestore.resources.kinds.VERSIONS`."""
    name = kind.name
    schema = _installed(described_schema(kind))
    if kind.status:
        schema["properties"]["status"]["default"] = UNSEEN
    first, last = (_FIRST, _LAST) if kind.status else ((), _LAST[:1])
    columns = [
        {
            "name": column.name,
            "type": column.type,
            "jsonPath": column.path,
            "description": column.description,
            **priority,
        }
        for shown, priority in ((first, {}), (kind.columns, {}), (kind.wide, {"priority": 1}), (last, {}))
        for column in shown
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": kind.plural,
                "singular": name.lower(),
                "shortNames": [kind.short],
                "categories": ["features"],
            },
            "scope": "Cluster" if kind.cluster_wide else "Namespaced",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == versions[0],
                    **({"subresources": {"status": {}}} if kind.status else {}),
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
                for version in versions
            ],
        },
    }


def described_schema(kind: ResourceKind) -> dict[str, Any]:
    """The schema of a kind's objects with all that the models say of a field: patterns, and each default."""
    return {
        "type": "object",
        "description": (kind.model.__doc__ or _summary(kind.model)).strip(),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": API_VERSION},
            "kind": {"type": "string", "description": kind.name},
            # The API server describes it itself, and refuses whoever tries.
            "metadata": {"type": "object"},
            "spec": _field("spec", kind.model.model_fields["spec"], kind.model),
            **(
                {"status": {**_object(kind.status), "description": "What was last seen."}}
                if kind.status
                else {}
            ),
        },
        "x-kubernetes-validations": [
            {
                "rule": f"self.metadata.name.size() <= 63 && self.metadata.name.matches('{NAME_PATTERN}')",
                "message": "the name must be of a-z, 0-9 and '-', at most 63 long",
            }
        ],
    }


def files() -> dict[str, str]:
    """File name to text of all CustomResourceDefinitions."""
    return {
        f"{kind.plural}.yaml": _HEADER
        + yaml.safe_dump(definition(kind), sort_keys=False, width=110, allow_unicode=True)
        for kind in defined()
    }


def _object(model: type[Model]) -> dict[str, Any]:
    fields = {str(field.alias): (name, field) for name, field in model.model_fields.items()}
    schema: dict[str, Any] = {"type": "object"}
    required = [alias for alias, (_, field) in fields.items() if field.is_required()]
    if required:
        schema["required"] = required
    if fields:
        schema["properties"] = {alias: _field(name, field, model) for alias, (name, field) in fields.items()}
    rules: list[SpecRule | Transition] = [*model.rules, *model.transitions]
    validations = [
        {"rule": rule.cel, "message": rule.message, **({"fieldPath": f".{rule.field}"} if rule.field else {})}
        for rule in rules
        if rule.cel
    ]
    if validations:
        schema["x-kubernetes-validations"] = validations
    return schema


def _field(name: str, field: FieldInfo, model: type[Model]) -> dict[str, Any]:
    described = _described(model)
    property_ = described["properties"][field.alias]
    schema = {"description": field.description or "", **_schema(field.annotation, property_, described)}
    if schema.get("type") == "array":
        unique = next((rule for rule in field.metadata if isinstance(rule, Unique)), None)
        schema["x-kubernetes-list-type"] = "atomic" if unique is None else "map" if unique.key else "set"
        if unique is not None and unique.key:
            schema["x-kubernetes-list-map-keys"] = [to_camel(unique.key)]
    # An empty list or mapping means what an absent one means, and would stand in every object that is shown.
    if not field.is_required() and field.default not in (None, (), {}):
        schema["default"] = _default(name, field, model)
    return schema


def _installed(schema: Mapping[str, Any], *, in_list: bool = False) -> dict[str, Any]:
    """What the API server gets of a schema: it refuses quantities in words, and descriptions say defaults, which `kubectl
    explain` does not show.

    To an item of a list it adds nothing: ``kubectl apply`` compares lists as a whole, so that what was added would be a
    change each time that the same file is applied. Nor does it add one of several choices, which it would keep beside
    another one that somebody applies later. Such defaults are the operator's.
    """
    default = schema.get("default")
    is_choice = (bool(default) and "properties" in schema) or "x-kubernetes-preserve-unknown-fields" in schema
    kept = not in_list and not is_choice
    installed = {name: value for name, value in schema.items() if name != "default" or kept}
    # What an object is by default, the defaults of its fields say.
    if default not in (None, {}):
        installed["description"] = f"{schema['description']} Default: {shown_default(default)}."
    sentences = SENTENCES.get(schema.get("pattern", ""), ())
    if sentences:
        del installed["pattern"]
        installed["x-kubernetes-validations"] = [
            # What it got could be said by a messageExpression, but for its cost.
            {"rule": rule, "message": message}
            for rule, message in sentences
        ]
    if "properties" in schema:
        installed["properties"] = {
            name: _installed(field, in_list=in_list) for name, field in schema["properties"].items()
        }
    for name, is_item in (("items", True), ("additionalProperties", in_list)):
        if name in schema:
            installed[name] = _installed(schema[name], in_list=is_item)
    return installed


def shown_default(default: object) -> str:
    """A default as one would write it: ``10s``, ``false``, and in quotation marks what would not be seen without.

    >>> shown_default("10s"), shown_default(""), shown_default(True), shown_default([1])
    ('10s', '""', 'true', '[1]')
    """
    if isinstance(default, str) and re.fullmatch(r"\w[\w.:/-]*", default):
        return default
    return json.dumps(default, ensure_ascii=False)


@cache
def _described(model: type[Model]) -> Mapping[str, Any]:
    """What pydantic says of a whole model."""
    return model.model_json_schema(by_alias=True)


def _is_choice(field: FieldInfo) -> bool:
    """Whether the default is an object that chooses one of several, and not what its own fields' defaults say."""
    return isinstance(field.default, Model) and field.default != type(field.default).model_construct()


def _default(name: str, field: FieldInfo, model: type[Model]) -> Any:
    """A default as JSON. That of an object that chooses nothing is what its own fields' defaults say."""
    if isinstance(field.default, Model) and not _is_choice(field):
        return {}
    only = model.model_construct(**{name: field.default})
    return only.model_dump(mode="json", by_alias=True, include={name}, exclude_none=True)[str(field.alias)]


def _schema(annotation: Any, described: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """The structural schema of what pydantic says about a type."""
    annotation = plain(annotation)
    if "$ref" in described:
        described = {**root["$defs"][described["$ref"].rsplit("/", 1)[-1]], **described}
    if described.get("x-kubernetes-int-or-string"):
        whole_or_text = [{"type": "integer"}, {"type": "string"}]
        return {"anyOf": whole_or_text, "pattern": described["pattern"], "x-kubernetes-int-or-string": True}
    if described.get("x-kubernetes-preserve-unknown-fields"):
        return {**_kept(described), "x-kubernetes-preserve-unknown-fields": True}
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return _object(annotation)
    if "anyOf" in described:
        members = [member for member in described["anyOf"] if member.get("type") != "null"]
        if len(members) > 1:
            return {"x-kubernetes-preserve-unknown-fields": True}
        outer = {key: value for key, value in described.items() if key != "anyOf"}
        return _schema(annotation, {**outer, **members[0]}, root)
    schema = _kept(described)
    if "const" in described:
        schema["enum"] = [described["const"]]
    if "enum" in schema:
        # So that the cost of rules about it can be estimated.
        schema["maxLength"] = max(map(len, schema["enum"]))
    if get_origin(annotation) is tuple:
        schema["items"] = _schema(get_args(annotation)[0], described["items"], root)
    if get_origin(annotation) is dict:
        # Names cannot be bound in a structural schema: pydantic's pattern for them stays behind.
        patterns = list(described.get("patternProperties", {}).values())
        item = patterns[0] if patterns else described["additionalProperties"]
        schema["additionalProperties"] = _schema(get_args(annotation)[1], item, root)
    if schema.get("type") == "integer":
        schema["format"] = "int64"
        if schema.get("maximum") == _INT64_MAX:
            # The format says it; as a bound the API server reads it as a float, and is one off.
            del schema["maximum"]
    return schema


def _kept(described: Mapping[str, Any]) -> dict[str, Any]:
    # Copied, since YAML writes a list that stands twice as a reference to its first place.
    return {key: copy(described[key]) for key in _KEPT if key in described}


def _summary(model: type[Model]) -> str:
    """The first line of the module's docstring: what the kind is."""
    return (sys.modules[model.__module__].__doc__ or "").split("\n")[0]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text)
        print(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "crds"))
