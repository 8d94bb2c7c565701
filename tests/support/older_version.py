"""The version before this one. None was ever released: it is made from today's definitions, without some fields of ``spec``."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from cluster.fixtures import CRDS

NEW_FIELDS = {
    "datapipelines": ("job", "execution", "deletionPolicy", "resources.memoryLimit", "source.secretRef"),
    "featureviews": ("deletionPolicy", "owner", "tags", "monitoring", "statistics"),
    "featurestores": ("online.redis.managed", "serving", "workers", "events", "owner", "tags"),
    "featureservices": ("owner", "tags"),
    "trainingsets": ("owner", "tags", "engine"),
    "erasures": ("description",),
}
"""What came since: each may be left out."""


def write_older_definitions(folder: Path, but: Collection[str] = ()) -> None:
    """The kinds as the version before had them, a file each in a new folder; ``but``: new fields that it had already."""
    folder.mkdir()
    for plural, fields in NEW_FIELDS.items():
        definition = yaml.load((CRDS / f"{plural}.yaml").read_text(), yaml.CSafeLoader)
        new = tuple(field for field in fields if field not in but)
        (folder / f"{plural}.yaml").write_text(json.dumps(older(definition, new)))


def older(definition: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """The definition without these fields of ``spec``, and without the rules that speak of them."""
    made = copy.deepcopy(definition)
    [version] = made["spec"]["versions"]
    version["additionalPrinterColumns"] = version["additionalPrinterColumns"][:2]
    for field in fields:
        *outer, name = field.split(".")
        node = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        for part in outer:
            node = node["properties"][part]
        del node["properties"][name]
        rules = node.pop("x-kubernetes-validations", ())
        if kept := [rule for rule in rules if f"self.{name}" not in rule["rule"]]:
            node["x-kubernetes-validations"] = kept
    return made
