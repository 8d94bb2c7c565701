"""What a service account is granted, held against what it asked the API server for.

Both are cells: a verb on a resource (``jobs.batch``, ``pods``, ``featureviews.featurestore.dev/status``), perhaps on
one name only. Rules of roles become cells, and so do entries of the audit log.
https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Rule = Mapping[str, Any]


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
