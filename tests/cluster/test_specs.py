"""Every spec of fixtures/specs: the API server takes the valid ones and refuses the invalid ones.

What our own rules (CEL) refuse, it refuses in the words of the laptop. What it cannot see is listed here, with
the reason, and proved: those it takes.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from cluster.access import KubectlError
from cluster.control_plane import ControlPlane

ROOT = Path(__file__).parents[2]
INVALID = sorted((ROOT / "fixtures" / "specs" / "invalid").glob("*.yaml"))
VALID = sorted((ROOT / "fixtures" / "specs" / "valid").glob("*.yaml"))

SQL = "only a parser of SQL knows what an expression means"
SEVERAL = "it lies between several objects, or in the code of the user"
DURATION = "CEL does not know durations such as 30d"
COST = "CEL would compare all pairs, beyond its cost budget"
YAML = "kubectl's YAML drops the first of two fields, makes names text, and knows tags"
UNSEEN = {
    "duration-too-long": DURATION,
    "expression-types": SQL,
    "expression-wrong": SQL,
    "fill-with-list": "a value of any type is one that the schema does not look into",
    "hop-longer-than-window": DURATION,
    "hop-too-short": DURATION,
    "iceberg-column-declared": COST,
    "kafka-avro-of-a-decimal": "what is in a text is nothing that CEL reads",
    "kafka-protobuf-of-another-message": "what is in a text is nothing that CEL reads",
    "kafka-column-declared-twice": COST,
    "kafka-column-twice": COST,
    "kafka-start-no-time": "CEL ends with an error of its own at a day that there is not",
    "name-twice": "for the API server the second is an update of the first",
    "query-wrong": SQL,
    "on-demand-named-like-request": COST,
    "on-demand-wrong": SEVERAL,
    "partition-declared-twice": COST,
    "reference-callable-absent": SEVERAL,
    "reference-column-absent": SEVERAL,
    "reference-lookup-absent": SEVERAL,
    "reference-lookup-column-absent": SEVERAL,
    "reference-pipeline-absent": SEVERAL,
    "rename-to-one-name": COST,
    "service-feature-form": "an item that is a text or a mapping is one that the schema does not look into",
    "service-features-absent": SEVERAL,
    "sql-start-wrong": "CEL ends with an error of its own at a day that there is not",
    "store-twice": SEVERAL,
    "window-named-like-feature": COST,
    "window-twice": DURATION + ": 1d and 24h are two texts",
    "yaml-duplicate-field": YAML,
    "yaml-number-as-field": YAML,
    "yaml-tag": YAML,
}
# A file that is no YAML, or no object of ours, never reaches the API server: kubectl says so in its own words.
UNSENT = {
    "document-empty": "no objects passed",
    "document-list": "invalid object",
    "document-text": "invalid object",
    "kind-missing": "kind not set",
    "kind-unknown": "no matches for kind",
    "api-version-unknown": "no matches for kind",
    "name-missing": "name may not be empty",
    "yaml-alias-bomb": "excessive aliasing",
    "yaml-broken": "error converting YAML",
    "yaml-tab": "error converting YAML",
}
A_DURATION = "wanted a duration such as 30s, 5m, 1h30m or 30d"
CHOSEN_TWICE = "namespaces are chosen by names or by matchLabels, not by both"
KEEPS_ITS_FORM = (
    "a view of a dataset stays one, and one on demand too: delete it first, or give the other another name"
)
STAYS = "a store stays where it is: make another FeatureStore at the new place and apply all to it"
SAME_ERASURE = "an erasure stays as it is: make another one"
SEEN = [spec for spec in INVALID if spec.stem not in UNSEEN | UNSENT]


def answer(plane: ControlPlane, namespace: str, spec: Path) -> str:
    """Why the file is refused; "" if all in it is taken."""
    # The laptop lets one leave the version out.
    text = re.sub(
        r"(?m)(?<!v1alpha1\n)(?<!v2\n)^kind:",
        "apiVersion: featurestore.dev/v1alpha1\nkind:",
        spec.read_text(),
    )
    try:
        plane.kubectl("apply", "--dry-run=server", f"--namespace={namespace}", "--filename=-", stdin=text)
    except KubectlError as refused:
        return str(refused)
    return ""


@cache
def words_of_our_rules() -> set[str]:
    def walk(node: object) -> set[str]:
        if isinstance(node, list):
            return set[str]().union(*map(walk, node))
        if not isinstance(node, dict):
            return set()
        own = {rule["message"] for rule in node.get("x-kubernetes-validations", ())}
        return own.union(*map(walk, node.values()))

    return set[str]().union(
        *(walk(yaml.load(path.read_text(), yaml.CSafeLoader)) for path in (ROOT / "crds").glob("*.yaml"))
    )


@pytest.mark.parametrize("spec", VALID, ids=lambda spec: spec.stem)
def test_a_valid_spec_is_taken(control_plane: ControlPlane, untouched_namespace: str, spec: Path) -> None:
    found = re.search(r"namespace: ([a-z]+)", spec.read_text())
    namespace = found[1] if found else untouched_namespace
    if found:
        control_plane.kubectl("create", "namespace", namespace)
    try:
        assert answer(control_plane, namespace, spec) == ""
    finally:
        if found:
            control_plane.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.parametrize("spec", SEEN, ids=lambda spec: spec.stem)
def test_an_invalid_spec_is_refused_for_what_the_laptop_refuses_it_for(
    control_plane: ControlPlane, untouched_namespace: str, spec: Path
) -> None:
    said = answer(control_plane, untouched_namespace, spec)
    expected = spec.with_suffix(".expected").read_text().splitlines()
    fields = [match[1] for line in expected if (match := re.search(r"yaml:\d+: ([\w.\[\]]*[\w\]])", line))]
    assert len(fields) == len(expected)
    # Of the name the API server cannot say where it stands.
    assert any(field.replace("metadata.name", "the name") in said for field in fields), said
    for line in expected:
        for words in words_of_our_rules():
            # Rules are not looked at where a field has another type, or none is there.
            assert words not in line or words in said or "rules were not checked" in said, said


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("{trigger: {arrivals: {pollInterval: 10 minutes}}}", A_DURATION),
        ('{trigger: {arrivals: {pollInterval: "600"}}}', A_DURATION),
        ("{trigger: {arrivals: {maxWait: -2s}}}", A_DURATION),
        ("{trigger: {arrivals: {pollInterval: 0s}}}", "wanted a duration longer than zero"),
        ("{job: {activeDeadline: 0h0m}}", "wanted a duration longer than zero"),
        ("{trigger: {arrivals: {maxBytes: 2 GB}}}", "wanted a size such as 500M or 2Gi"),
        ("{trigger: {arrivals: {maxBytes: 0}}}", "wanted a size such as 500M or 2Gi"),
        ("{trigger: {arrivals: {maxBytes: 1.5Gi}}}", "wanted a size such as 500M or 2Gi"),
        ("{job: {template: {cpu: half}}}", "wanted a number of CPUs such as 500m or 2"),
    ],
)
def test_a_wrong_quantity_is_answered_with_an_example_and_not_with_a_pattern(
    control_plane: ControlPlane, untouched_namespace: str, tmp_path: Path, wrong: str, words: str
) -> None:
    source = {"uri": "s3://raw/*.parquet", "format": "Parquet"}
    spec = {"source": source, **yaml.safe_load(wrong)}
    document = {"kind": "DataPipeline", "metadata": {"name": "it"}, "spec": spec}
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    text = answer(control_plane, untouched_namespace, file)
    assert text.count("Invalid value") == 1, text
    assert words in text
    assert "should match" not in text


def test_every_rule_of_ours_about_one_object_is_broken_by_a_spec() -> None:
    texts = [spec.with_suffix(".expected").read_text() for spec in SEEN]
    unbroken = {message for message in words_of_our_rules() if not any(message in text for text in texts)}
    # The name is refused in the words of the API server first; what must not change, and policies: see the next tests.
    assert unbroken == {
        "the name must be of a-z, 0-9 and '-', at most 63 long",
        STAYS,
        KEEPS_ITS_FORM,
        CHOSEN_TWICE,
        SAME_ERASURE,
    }


def test_a_policy_chooses_namespaces_in_one_way(control_plane: ControlPlane) -> None:
    policy = "apiVersion: featurestore.dev/v1alpha1\nkind: FeatureStorePolicy\nmetadata: {name: it}\nspec: "
    both = "{namespaces: {names: [a], matchLabels: {b: c}}}\n"
    with pytest.raises(KubectlError, match=CHOSEN_TWICE):
        control_plane.kubectl("apply", "--filename=-", stdin=policy + both)


def test_what_must_not_change_cannot_be_changed(control_plane: ControlPlane, namespace: str) -> None:
    store = "apiVersion: featurestore.dev/v1alpha1\nkind: FeatureStore\nmetadata: {name: it}\nspec: {offline: {uri: a}}\n"
    apply = ("apply", f"--namespace={namespace}", "--filename=-")
    control_plane.kubectl(*apply, stdin=store)
    with pytest.raises(KubectlError, match=STAYS):
        control_plane.kubectl(*apply, stdin=store.replace("uri: a", "uri: b"))


def test_a_view_keeps_its_form(control_plane: ControlPlane, namespace: str) -> None:
    view = "apiVersion: featurestore.dev/v1alpha1\nkind: FeatureView\nmetadata: {name: it}\nspec: "
    on_demand = (
        "{onDemand: {request: [{name: a, type: int64}]}, features: [{name: x, type: int64, expression: a}]}\n"
    )
    rows = (
        "{entity: {name: e, joinKeys: [{name: k, type: string}]}, source: {pipeline: p}, timestampField: t, "
        "features: [{name: x, type: int64}]}\n"
    )
    apply = ("apply", f"--namespace={namespace}", "--filename=-")
    control_plane.kubectl(*apply, stdin=view + on_demand)
    with pytest.raises(KubectlError, match=KEEPS_ITS_FORM):
        control_plane.kubectl(*apply, stdin=view + rows)


def test_a_store_that_said_nothing_of_its_online_store_can_choose_one_later(
    control_plane: ControlPlane, namespace: str
) -> None:
    metadata = "apiVersion: featurestore.dev/v1alpha1\nkind: FeatureStore\nmetadata: {name: it}\n"
    apply = ("apply", f"--namespace={namespace}", "--filename=-")
    control_plane.kubectl(*apply, stdin=metadata + "spec: {offline: {uri: a}}\n")
    control_plane.kubectl(
        *apply, stdin=metadata + "spec: {offline: {uri: a}, online: {redis: {managed: {}}}}\n"
    )


@pytest.mark.parametrize(
    "spec", [spec for spec in INVALID if spec.stem in UNSENT], ids=lambda spec: spec.stem
)
def test_what_is_no_object_of_ours_is_not_even_sent(
    control_plane: ControlPlane, untouched_namespace: str, spec: Path
) -> None:
    assert UNSENT[spec.stem] in answer(control_plane, untouched_namespace, spec)


@pytest.mark.parametrize(
    "spec", [spec for spec in INVALID if spec.stem in UNSEEN], ids=lambda spec: spec.stem
)
def test_what_the_api_server_cannot_see_it_takes(
    control_plane: ControlPlane, untouched_namespace: str, spec: Path
) -> None:
    assert answer(control_plane, untouched_namespace, spec) == "", (
        f"it can see it now, though: {UNSEEN[spec.stem]}"
    )


def test_every_exception_is_a_spec() -> None:
    assert UNSEEN.keys() | UNSENT.keys() <= {spec.stem for spec in INVALID}
