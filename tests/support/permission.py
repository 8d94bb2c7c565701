"""What a service account is granted, held against what it asked the API server for.

What is granted and seldom used has a test of its own: ``ELSEWHERE`` names it.

Both are cells: a verb on a resource (``jobs.batch``, ``pods``, ``featureviews.featurestore.dev/status``), perhaps on
one name only. Rules of roles become cells, and so do entries of the audit log.
https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Rule = Mapping[str, Any]
ROOT = Path(__file__).parents[2]
# A certificate is renewed a month before it ends; an object that a watch missed is fetched.
ELSEWHERE = {
    **{
        f"create {resource}": "tests/operator/test_metrics_access.py::"
        "test_metrics_are_for_whom_a_role_lets_read_them_and_probes_for_all"
        for resource in ("tokenreviews.authentication.k8s.io", "subjectaccessreviews.authorization.k8s.io")
    },
    # That somebody may bind a role is asked by the API server, of itself.
    "bind clusterroles.rbac.authorization.k8s.io featurestore-server": (
        "tests/operator/test_serving.py::"
        "test_an_operator_with_its_own_role_alone_lets_servers_ask_and_gives_nothing_else_away"
    ),
    "update secrets featurestore-operator-webhook in featurestore-system": (
        "tests/operator/test_certificate.py::test_after_a_renewal_the_api_server_believes_both"
    ),
    **dict.fromkeys(
        ("get events", "patch events"),
        "tests/operator/test_api.py::test_an_event_of_what_happens_again_is_counted",
    ),
    **dict.fromkeys(
        (
            "get trainingsets.featurestore.dev",
            "patch trainingsets.featurestore.dev",
            "patch trainingsets.featurestore.dev/status",
        ),
        "tests/operator/test_training_sets.py::"
        "test_each_new_commit_makes_a_version_that_readers_find_and_deleting_it_deletes_them",
    ),
    **dict.fromkeys(
        ("get erasures.featurestore.dev", "patch erasures.featurestore.dev/status"),
        "tests/operator/test_key_erasure.py::"
        "test_an_erasure_is_done_once_its_file_is_there_and_its_keys_stay_away",
    ),
    **{
        f"get {resource}": "tests/operator/test_api.py::test_what_no_watch_told_is_fetched"
        for resource in (
            "featurestores.featurestore.dev",
            "datapipelines.featurestore.dev",
            "featureviews.featurestore.dev",
            "featureservices.featurestore.dev",
            "jobs.batch",
            "pods",
        )
    },
}
"""What the operator need not use on a node, as text of its cell, and the test in which it does."""


class Asked(Protocol):
    """A request as the audit log has it: see ``cluster.audit.Request``."""

    @property
    def verb(self) -> str: ...
    @property
    def resource(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """``namespace``, ``name``: in or on which it is granted; "" where it is not restricted."""

    resource: str
    verb: str
    namespace: str = ""
    name: str = ""

    def covers(self, asked: Asked) -> bool:
        return (
            (self.verb, self.resource) == (asked.verb, asked.resource)
            and self.namespace in ("", asked.namespace)
            and self.name in ("", asked.name)
        )

    def __str__(self) -> str:
        where = f" {self.name}" if self.name else ""
        return f"{self.verb} {self.resource}{where}" + (f" in {self.namespace}" if self.namespace else "")


def granted(rules: Iterable[Rule], namespace: str = "") -> set[Cell]:
    """The cells of a role's rules. ``namespace``: of a Role; "" for a ClusterRole.

    Raises:
        ValueError: a rule grants more than it names.
    """
    return {cell for rule in rules for cell in _cells(rule, namespace)}


def unused(granted: Iterable[Cell], requests: Iterable[Asked]) -> list[Cell]:
    """What is granted and was never asked for."""
    asked = list(requests)
    return sorted(cell for cell in granted if not any(cell.covers(it) for it in asked))


def missing(granted: Iterable[Cell], requests: Iterable[Asked]) -> list[Cell]:
    """What was asked for and is not granted. Requests for other URLs than objects are not looked at."""
    cells = list(granted)
    return sorted(
        {
            Cell(it.resource, it.verb, it.namespace, it.name)
            for it in requests
            if it.resource and not any(cell.covers(it) for cell in cells)
        }
    )


def stale(elsewhere: Mapping[str, str], granted: Iterable[Cell]) -> list[str]:
    """Entries that say nothing any more: of what is not granted, or with a test that is not there."""
    cells = set(map(str, granted))
    return sorted(cell for cell, test in elsewhere.items() if cell not in cells or not _is_there(test))


def _is_there(test: str) -> bool:
    file, _, name = test.partition("::")
    if not (ROOT / file).is_file():
        return False
    functions = (it for it in ast.parse((ROOT / file).read_text()).body if isinstance(it, ast.FunctionDef))
    return name in {it.name for it in functions}


def _cells(rule: Rule, namespace: str) -> Iterator[Cell]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            for verb in rule["verbs"]:
                if "*" in (group, resource, verb):
                    raise ValueError(f"a rule grants all that there is and will be: {dict(rule)}")
                plural, slash, subresource = resource.partition("/")
                named = f"{plural}.{group}" if group else plural
                for name in rule.get("resourceNames") or [""]:
                    yield Cell(f"{named}{slash}{subresource}", verb, namespace, name)
