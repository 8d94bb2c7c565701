"""What the API server was asked, by whom, from its audit log.

https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

LONGEST_LINE = 1 << 20
WRITES = frozenset(("create", "update", "patch", "delete", "deletecollection"))

# Watches end late or never, so that their start must be seen too.
POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:apiserver"]}
- {level: None, nonResourceURLs: ["/readyz*", "/livez*", "/healthz*"]}
- {level: Metadata}
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as the API server saw it.

    ``resource``: ``featureviews.featurestore.dev``, ``jobs.batch/status``, ``pods``; "" for other URLs.
    ``code``: HTTP status. ``forbidden``: no permission covers it. ``dry_run``: it asked for no effect.
    """

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    forbidden: bool
    uri: str
    agent: str
    at: datetime

    @property
    def dry_run(self) -> bool:
        return "dryRun=" in self.uri

    @property
    def writes(self) -> bool:
        """Whether it could have changed something."""
        return self.verb in WRITES and not self.dry_run


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The requests to one API server, oldest first. Survives restarts of the server.

    An answered request is in the log: the server writes there before it ends its answer.
    """

    path: Path

    def mark(self) -> int:
        """Here and now: ``since`` of the other methods, for what comes after."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # The last line may still be being written.
            start = file.seek(max(0, size - LONGEST_LINE))
            return start + file.read(size - start).rfind(b"\n") + 1

    def requests(self, user: str | None = None, since: int = 0) -> list[Request]:
        """All requests, or those of one user: ``system:serviceaccount:NAMESPACE:NAME`` is one."""
        events = {event["auditID"]: event for event in self._events(since)}
        found = map(_request, events.values())
        return [request for request in found if user is None or request.user == user]

    def writes(self, user: str | None = None, since: int = 0) -> list[Request]:
        """The requests that were to change something, whatever came of them; no dry runs."""
        return [request for request in self.requests(user, since) if request.writes]

    def _events(self, since: int) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(since)
            for line in file:
                if line.endswith(b"\n"):
                    yield json.loads(line)


def _request(event: dict[str, Any]) -> Request:
    target = event.get("objectRef", {})
    resource = ".".join(filter(None, (target.get("resource"), target.get("apiGroup"))))
    return Request(
        user=event["user"].get("username", ""),
        verb=event["verb"],
        resource="/".join(filter(None, (resource, target.get("subresource")))),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        forbidden=event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid",
        uri=event["requestURI"],
        agent=event.get("userAgent", ""),
        at=datetime.fromisoformat(event["requestReceivedTimestamp"]),
    )
