"""``featurestore import feast``: a Feast repository as YAML of ours, and a report of what it does not say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from featurestore.errors import RequestError
from featurestore.feast.on_demand_import import MODULE
from featurestore.feast.remark import Remark
from featurestore.feast.repository import Repository, read_repository
from featurestore.feast.resource_draft import ResourceDraft
from featurestore.feast.translation import Translation, translate
from featurestore.humanize import count
from featurestore.resources.json_schema import EDITOR_LINE, SCHEMA_FILE, json_schema_text
from featurestore.resources.kinds import KINDS
from featurestore.resources.location import FILE_ROOTS
from featurestore.resources.quantity import DURATION_PATTERN

REPORT = "feast-report.md"
_FILES = {
    "FeatureStore": "store.yaml",
    "DataPipeline": "pipelines.yaml",
    "FeatureView": "views.yaml",
    "FeatureService": "services.yaml",
}
_MODULE_FILE = f"{MODULE}.py"


def import_feast(repository: Path, folder: Path, python: str | None, environ: Mapping[str, str]) -> str:
    """Write the resources that a Feast repository means into ``folder``, and the report. Returns what to print.

    Raises:
        NotFound: there is no repository, or no such interpreter.
        CodeError: Feast is not installed, or the repository cannot be imported.
        RequestError: nothing of it can be imported, or the folder has files that would be overwritten. Nothing is written then.
    """
    existing = [name for name in (*_FILES.values(), _MODULE_FILE, REPORT) if (folder / name).exists()]
    if existing:
        raise RequestError(
            "the folder has files that would be overwritten",
            where=str(folder),
            wanted="an empty or a new folder",
            got=", ".join(existing),
        )
    read = read_repository(repository, python, environ)
    translation = translate(read, folder)
    if not translation.documents["FeatureView"]:
        raise RequestError(
            "no feature view of the repository can be imported",
            where=str(repository),
            got="; ".join(f"{remark.of}: {remark.text}" for remark in translation.remarks if remark.left_out)
            or "no feature view",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for kind, documents in translation.documents.items():
        if documents:
            (folder / _FILES[kind]).write_text(EDITOR_LINE + "---\n".join(map(yaml_text, documents)))
    if translation.module:
        (folder / _MODULE_FILE).write_text(translation.module)
    (folder / SCHEMA_FILE).write_text(json_schema_text())
    text = report(read, translation, repository, folder)
    (folder / REPORT).write_text(text)
    return text.rstrip()


def report(read: Repository, translation: Translation, repository: Path, folder: Path) -> str:
    """What was written, what was left out and why, what differs, and what to do next."""
    written = ", ".join(
        count(len(documents), KINDS[kind].noun)
        for kind, documents in translation.documents.items()
        if documents
    )
    lines = [f"Imported {repository} (feast {read.version}) into {folder}: {written}."]
    lines += _section("Left out", (remark for remark in translation.remarks if remark.left_out))
    lines += _section("Differs from Feast", (remark for remark in translation.remarks if not remark.left_out))
    allowed = f"{FILE_ROOTS}={shlex.quote(':'.join(translation.roots))} " if translation.roots else ""
    lines += [
        "",
        f"Next: cd {shlex.quote(str(folder))} && {allowed}featurestore apply -f . && featurestore run --once",
    ]
    return "\n".join(lines) + "\n"


def _section(title: str, remarks: Iterable[Remark]) -> list[str]:
    lines = [f"- {remark.of}: {remark.text}." for remark in remarks]
    return ["", f"{title}:", "", *lines] if lines else []


def yaml_text(document: ResourceDraft) -> str:
    """A document of YAML: an item of a list or a mapping of plain values stands on one line.

    >>> print(yaml_text({"kind": "FeatureView", "spec": {"features": [{"name": "a", "type": "int64"}]}}), end="")
    kind: FeatureView
    spec:
      features:
      - {name: a, type: int64}
    """
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes what is read alike by the YAML 1.2 of resources: what a text begins with decides whether it is quoted."""

    def represent_text(self, value: str) -> yaml.ScalarNode:
        plain = value[:1].isalpha() or value[:1] == "/" or re.fullmatch(DURATION_PATTERN, value)
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')

    def represent_mapping_of(self, value: ResourceDraft) -> yaml.MappingNode:
        plain = not any(isinstance(item, dict | list) for item in value.values())
        return self.represent_mapping("tag:yaml.org,2002:map", value, flow_style=plain and bool(value))


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(dict, _Dumper.represent_mapping_of)
