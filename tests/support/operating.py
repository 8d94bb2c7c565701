"""Operators as processes of their own."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from server import Server

OBSERVING_OPERATOR = Path(__file__).with_name("observing_operator.py")


@dataclass
class Operator:
    """A running operator; ``user`` is who it is to the API server, ``namespace`` that of the test."""

    server: Server
    port: int
    user: str
    namespace: str

    def seen(self) -> list[dict[str, Any]]:
        """Its looks at the test's own resources, the oldest first: other tests' namespaces hold some as well."""
        looks = [json.loads(line) for line in self.log().splitlines() if line.startswith('{"kind"')]
        return [it for it in looks if it["namespace"] == self.namespace]

    def looks_at(self, kind: str, name: str) -> list[dict[str, Any]]:
        return [it for it in self.seen() if (it["kind"], it["name"]) == (kind, name)]

    def at_rest(self) -> bool:
        """Whether it looked at all that it knows, and no resource is in work or waits for a worker."""
        told = self.get("/metrics")[1]
        looks, known = samples(told, "reconcile_seconds_count"), samples(told, "ready")
        waiting = [*samples(told, 'queue{state="ready"}'), *samples(told, 'queue{state="under_way"}')]
        return sum(looks) >= len(known) > 0 and waiting == [0, 0]

    def looks(self) -> int:
        """How often it looked at a pipeline."""
        return int(sum(samples(self.get("/metrics")[1], 'reconcile_seconds_count{kind="DataPipeline"}')))

    def log(self) -> str:
        return self.server.log.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of what its endpoint answers; 0 if it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


def samples(told: str, name: str) -> list[float]:
    """Values of a metric of ours, by whatever labels ``name`` leaves open."""
    wanted = (f"featurestore_operator_{name}{{", f"featurestore_operator_{name} ")
    return [float(line.rsplit(" ", 1)[1]) for line in told.splitlines() if line.startswith(wanted)]


class Start(Protocol):
    def __call__(self, *options: str, user: str = ..., wait: bool = ...) -> Operator: ...
