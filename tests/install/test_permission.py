"""Permissions that nobody uses are found, and so are those that are missing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from permission import Cell, granted, missing, unused

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
