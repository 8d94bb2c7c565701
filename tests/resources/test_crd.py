"""The CRDs are those of the models, and such as an API server takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from featurestore.resources.crd import definition, described_schema, files, shown_default
from featurestore.resources.document import load
from featurestore.resources.kinds import KINDS, ResourceKind
from featurestore.resources.roles import written

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
SPECS = Path(__file__).parents[2] / "fixtures" / "specs"
RESERVED_BY_CEL = frozenset(
    """true false null in as break const continue else for function if import let loop package namespace return
    var void while""".split()  # noqa: SIM905
)


def schema(kind: ResourceKind) -> dict[str, Any]:
    found: dict[str, Any] = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def walk(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if "items" in node:
        yield from walk(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from walk(node["additionalProperties"], f"{path}{{}}")


@cache
def fields() -> list[tuple[str, dict[str, Any]]]:
    """Of all kinds every field, by its path."""
    return [(f"{kind.short}{path}", node) for kind in KINDS.values() for path, node in walk(schema(kind))]


@pytest.mark.parametrize("folder", ["chart/templates", "chart/definitions"])
def test_roles_and_rules_list_the_kinds_of_the_table(folder: str) -> None:
    manifests = {path: path.read_text() for path in (ROOT / "operator" / folder).glob("*.yaml")}
    listing = [path for path, text in manifests.items() if "# kinds: " in text]
    assert len(listing) == (1 if folder == "chart/definitions" else 3)
    assert [path for path in listing if written(manifests[path]) != manifests[path]] == [], "run `make crds`"
    assert written((ROOT / "docs" / "install.md").read_text()) == (ROOT / "docs" / "install.md").read_text()
    # What no mark keeps would be forgotten when a kind comes.
    unmarked = re.compile(r"resources: \[[^]]*(featureviews|datapipelines)[^]]*\]\s*$", re.MULTILINE)
    assert [path for path, text in manifests.items() if unmarked.search(text)] == []


def test_the_files_are_those_that_the_models_make() -> None:
    assert {path.name: path.read_text() for path in CRDS.glob("*.yaml")} == files(), "run `make crds`"


def test_the_schema_is_structural() -> None:
    # https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
    forbidden = {
        *("$ref", "$defs", "definitions", "deprecated", "discriminator", "id", "oneOf", "allOf", "const"),
        *("patternProperties", "propertyNames", "readOnly", "writeOnly", "xml", "uniqueItems", "title"),
    }
    for path, node in fields():
        assert not forbidden & node.keys(), path
        whole_or_text = node.get("x-kubernetes-int-or-string", False)
        anything = node.get("x-kubernetes-preserve-unknown-fields", False)
        if whole_or_text:
            assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}], path
            assert "type" not in node, path
        elif anything:
            # One type of several, or an object of Kubernetes' own whose size is bounded.
            assert node.get("type", "object") == "object", path
            assert ("type" in node) == ("maxProperties" in node), path
        else:
            assert node["type"] in ("object", "array", "string", "integer", "number", "boolean"), path
            assert "anyOf" not in node, path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert node.get("additionalProperties") is not False, path
        assert set(node.get("required", ())) <= node.get("properties", {}).keys(), path


def test_every_string_list_and_mapping_is_bounded() -> None:
    for path, node in fields():
        match node.get("type"):
            case "string" if "enum" not in node and node.get("description") not in KUBERNETES_OWN:
                assert 0 < node["maxLength"] <= 262_144, path
            case "array":
                assert 0 < node["maxItems"] <= 2000, path
            case "object" if "additionalProperties" in node:
                assert 0 < node["maxProperties"] <= 1000, path


KUBERNETES_OWN = {"featurestore.dev/v1alpha1", *(kind.name for kind in KINDS.values())}


def test_every_field_is_described() -> None:
    for path, node in fields():
        for name, child in node.get("properties", {}).items():
            if name != "metadata":  # Which the API server describes itself.
                assert child.get("description", "").strip(), f"{path}.{name}"


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.short)
def test_the_description_of_each_field_tells_its_default_in_the_same_words(kind: ResourceKind) -> None:
    """`kubectl explain` shows descriptions, and no defaults."""
    described, installed = walk(described_schema(kind)), dict(walk(schema(kind)))
    defaults = {path: node["default"] for path, node in described if node.get("default") not in (None, {})}
    assert defaults
    for path, default in defaults.items():
        assert installed[path]["description"].endswith(f" Default: {shown_default(default)}."), path
    for path, node in installed.items():
        # What is no value, such as what the operator was told, is said in the same words.
        assert not re.search(r"\b[Ee]lse the|\. Else|[Bb]y default", node.get("description", "")), path


def test_the_server_adds_nothing_to_an_item_of_a_list() -> None:
    assert [path for path, node in fields() if "[]" in path and "default" in node] == []


def test_lists_say_how_they_are_merged() -> None:
    for path, node in fields():
        if node.get("type") != "array":
            continue
        match node["x-kubernetes-list-type"]:
            case "map":
                assert set(node["x-kubernetes-list-map-keys"]) <= set(node["items"]["required"]), path
            case "set":
                assert node["items"]["type"] in ("string", "integer", "boolean"), path
            case other:
                assert other == "atomic", path


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.short)
def test_a_default_fits_its_schema(kind: ResourceKind) -> None:
    for path, node in walk(described_schema(kind)):
        if "default" in node:
            assert fits(node["default"], node), path


def fits(value: Any, node: dict[str, Any]) -> bool:
    match node.get("type"):
        case "string":
            in_enum = value in node.get("enum", [value])
            return in_enum and re.search(node.get("pattern", ""), value) is not None
        case "integer":
            return isinstance(value, int)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list) and all(fits(item, node["items"]) for item in value)
        case "object":
            known = node.get("properties", {})
            return all(name in known and fits(item, known[name]) for name, item in value.items())
    anything = node.get("x-kubernetes-preserve-unknown-fields", False)
    return anything or re.search(node["pattern"], value) is not None


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.short)
def test_rules_name_fields_that_there_are(kind: ResourceKind) -> None:
    rules = [
        (node, rule) for _, node in walk(schema(kind)) for rule in node.get("x-kubernetes-validations", ())
    ]
    assert rules
    for node, rule in rules:
        known = node.get("properties", {})
        assert 0 < len(rule["message"]) <= 2048
        assert "\n" not in rule["message"]
        if "fieldPath" in rule:
            assert rule["fieldPath"].split(".")[1] in known, rule
        for name in re.findall(r"(?:self|oldSelf)\.(\w+)(?!\w*\()", rule["rule"]):
            plain = re.sub(r"^__(\w+)__$", r"\1", name)
            assert plain in known or plain in ("size", "matches", "contains", "startsWith"), name
            assert (name != plain) == (plain in RESERVED_BY_CEL), f"{plain} is written __{plain}__ in CEL"


def test_the_cost_of_rules_has_bounds_to_be_estimated_from() -> None:
    """The API server refuses a CRD whose rules could cost too much: all that they touch is bounded."""
    for path, node in fields():
        for rule in node.get("x-kubernetes-validations", ()):
            for name in re.findall(
                r"self\.(\w+)\.(?:all|exists|filter|matches|contains|startsWith)\(", rule["rule"]
            ):
                touched = node["properties"][name.strip("_")]
                bounds = {"maxLength", "maxItems", "maxProperties"}
                assert bounds & touched.keys() or path.count(".") == 0, (path, rule)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.short)
def test_kubectl_shows_freshness_rows_and_what_is_wrong(kind: ResourceKind) -> None:
    version = definition(kind)["spec"]["versions"][0]
    assert version["subresources"] == {"status": {}}
    nodes = {path for path, _ in walk(schema(kind))}
    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"]
        if path.startswith(".status.conditions[?(@.type=="):
            path = ".status.conditions[]" + path.rpartition("]")[2]
        if not path.startswith(".metadata"):
            assert path in nodes, path
    shown = [column for column in version["additionalPrinterColumns"] if not column.get("priority")]
    names = [column["name"] for column in shown]
    assert len(names) <= 8
    assert names[0] == "Ready"
    assert names[-3:] == ["Age", "Reason", "Message"]
    # Also with -o wide: a sentence that is moved by the screen's end moves nothing else.
    assert version["additionalPrinterColumns"][-1]["name"] == "Message"
    if kind.has_data:
        assert "Rows" in names
    # One word, one meaning: the age of the greatest event time.
    freshness = [column["jsonPath"] for column in shown if column["name"] == "Freshness"]
    assert freshness == ([".status.watermark"] if kind.short in ("fv", "fsv") else [])


def test_no_word_of_the_command_line_means_two_kinds() -> None:
    words = [word for kind in KINDS.values() for word in {*kind.words}]
    assert len(words) == len({*words})
    assert [kind.short for kind in KINDS.values()][:3] == ["fs", "dp", "fv"]


@pytest.mark.parametrize("spec", sorted((SPECS / "valid").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_the_models_take_has_only_fields_that_the_schema_keeps(spec: Path) -> None:
    """The API server prunes what a schema does not name: silently."""
    by_name = {kind.name: schema(kind) for kind in KINDS.values()}
    for document in yaml.safe_load_all(spec.read_text()):
        assert_kept(document["spec"], by_name[document["kind"]]["properties"]["spec"], document["kind"])
    assert not load([spec]).problems


def assert_kept(value: Any, node: dict[str, Any], path: str) -> None:
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return
    if node.get("type") == "object":
        assert set(node.get("required", ())) <= value.keys(), path
        for name, item in value.items():
            child = node.get("properties", {}).get(name) or node.get("additionalProperties")
            assert child is not None, f"{path}.{name}"
            assert_kept(item, child, f"{path}.{name}")
    elif node.get("type") == "array":
        for item in value:
            assert_kept(item, node["items"], f"{path}[]")
    elif "pattern" in node and isinstance(value, str):
        assert re.search(node["pattern"], value), path
    elif "enum" in node:
        assert value in node["enum"], path
