"""The operator may do what it does, and nothing else: its roles against all that it asked for in the tests here.

Runs last, as it looks at what the others caused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from installation import NAMESPACE
from installed import OPERATOR, Installed
from permission import ELSEWHERE, Cell, granted, missing, unused

ROLES = (
    ("clusterrole", "featurestore-operator", ""),
    ("clusterrole", "featurestore-operator-cluster", ""),
    ("role", "featurestore-operator-own", NAMESPACE),
)


@pytest.fixture
def of_all(request: pytest.FixtureRequest, installed: Installed) -> Installed:
    """The operator after all tests of this folder, but for files that the run leaves out by name."""
    here = request.path.parent
    ran = {item.path.name for item in request.session.items if item.path.parent == here}
    ignored = {Path(it).name for it in request.config.getoption("ignore")}
    left_out = {it.name for it in here.glob("test_*.py")} - ran - ignored
    assert not left_out, f"this is about what all tests of tests/node cause; not run: {sorted(left_out)}"
    return installed


def cells(installed: Installed) -> Iterator[Cell]:
    for kind, name, namespace in ROLES:
        role = json.loads(installed.node.kubectl("get", kind, name, "-n", NAMESPACE, "--output=json"))
        yield from granted(role["rules"], namespace)


def test_all_that_the_operator_may_do_it_did(of_all: Installed) -> None:
    asked = of_all.node.audit.requests(OPERATOR)
    # To apply what is not there is a patch, for which one must be allowed to create.
    made = [replace(it, verb="create") for it in asked if (it.verb, it.code) == ("patch", 201)]
    never = {str(it) for it in unused(cells(of_all), [*asked, *made])}
    assert sorted(never - set(ELSEWHERE)) == []


def test_nothing_that_the_operator_asked_for_was_refused(of_all: Installed) -> None:
    asked = of_all.node.audit.requests(OPERATOR)
    assert [f"{it.verb} {it.uri}" for it in asked if it.forbidden] == []
    # Everybody who is known may ask what there is, and review what it may do itself.
    own = [it for it in asked if not it.resource.endswith("authorization.k8s.io")]
    assert missing(cells(of_all), own) == []


def test_no_job_and_no_model_asked_the_api_server_for_anything_and_servers_for_reviews_alone(
    of_all: Installed,
) -> None:
    requests = list(of_all.node.audit.requests())
    ours = {it.namespace for it in requests if it.user == OPERATOR and it.verb == "create"} - {NAMESPACE}
    assert ours, "the operator made Jobs"
    accounts = tuple(f"system:serviceaccount:{namespace}:" for namespace in ours if namespace)
    asked = {
        (it.user.rpartition(":")[2], it.verb, it.resource) for it in requests if it.user.startswith(accounts)
    }
    reviews = ("tokenreviews.authentication.k8s.io", "subjectaccessreviews.authorization.k8s.io")
    assert asked == {("default-server", "create", resource) for resource in reviews}


def test_the_operator_met_no_defect_of_its_own(of_all: Installed) -> None:
    lines = [line for line in of_all.log().splitlines() if '"level": "ERROR"' in line and "Traceback" in line]
    assert lines == []
