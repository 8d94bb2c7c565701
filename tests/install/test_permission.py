"""Permissions that nobody uses are found, and so are those that are missing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import yaml
from installation import DEPLOY, NAMESPACE
from permission import ELSEWHERE, Cell, granted, missing, stale, unused

RULES = [
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "create"]},
    {"apiGroups": ["featurestore.dev"], "resources": ["featureviews/status"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["own"], "verbs": ["get"]},
]


@dataclass(frozen=True)
class Request:
    verb: str
    resource: str
    namespace: str = "prod"
    name: str = ""


ALL = [
    Request("list", "jobs.batch", namespace=""),
    Request("create", "jobs.batch"),
    Request("patch", "featureviews.featurestore.dev/status", name="delays"),
    Request("get", "secrets", name="own"),
]


def test_what_is_used_is_neither_unused_nor_missing() -> None:
    cells = granted(RULES)
    assert unused(cells, ALL) == []
    assert missing(cells, ALL) == []


@pytest.mark.parametrize("left_out", range(len(ALL)))
def test_each_verb_that_is_never_used_is_found(left_out: int) -> None:
    request = ALL[left_out]
    [cell] = unused(granted(RULES), [it for it in ALL if it is not request])
    assert (cell.verb, cell.resource) == (request.verb, request.resource)


def test_what_is_asked_beyond_the_rules_is_missing() -> None:
    others = [
        Request("delete", "jobs.batch", name="a"),
        Request("patch", "featureviews.featurestore.dev", name="delays"),
        Request("get", "secrets", name="another"),
    ]
    assert list(map(str, missing(granted(RULES), [*ALL, *others]))) == [
        "patch featureviews.featurestore.dev delays in prod",
        "delete jobs.batch a in prod",
        "get secrets another in prod",
    ]


def test_a_role_grants_nothing_in_other_namespaces() -> None:
    cells = granted(RULES, namespace="prod")
    assert Cell("jobs.batch", "list", "prod") in unused(cells, ALL)
    assert missing(cells, ALL) == [Cell("jobs.batch", "list")]


def test_other_urls_are_nothing_that_is_granted_by_resource() -> None:
    assert missing(granted(RULES), [Request("get", "")]) == []


def test_a_wildcard_is_no_permission_that_can_be_checked() -> None:
    with pytest.raises(ValueError, match="grants all"):
        granted([{"apiGroups": ["*"], "resources": ["jobs"], "verbs": ["get"]}])


OF_PEOPLE = ("featurestore-view", "featurestore-edit", "featurestore-admin", "featurestore-metrics")


def installed() -> set[Cell]:
    everything = yaml.safe_load_all((DEPLOY / "operator.yaml").read_text())
    # Roles that are aggregated to those of people grant the operator nothing.
    roles = [it for it in everything if "rules" in it and not it["metadata"]["name"].startswith(OF_PEOPLE)]
    of_one = {"ClusterRole": "", "Role": NAMESPACE}
    return {cell for role in roles for cell in granted(role["rules"], of_one[role["kind"]])}


def test_each_permission_that_a_node_need_not_use_is_still_granted_and_used_by_the_test_that_is_named() -> (
    None
):
    assert stale(ELSEWHERE, installed()) == []


@pytest.mark.parametrize(
    ("cell", "test"),
    [
        ("get nodes", "tests/operator/test_api.py::test_what_no_watch_told_is_fetched"),
        ("get pods", "tests/operator/test_api.py::test_that_was_renamed"),
        ("get pods", "tests/operator/test_that_is_gone.py::test_what_no_watch_told_is_fetched"),
    ],
)
def test_what_is_not_granted_or_not_tested_any_more_is_stale(cell: str, test: str) -> None:
    assert stale({cell: test}, installed()) == [cell]
