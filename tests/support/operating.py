"""Operators as processes of their own."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from server import Server

ONLOOKER = Path(__file__).with_name("onlooker.py")


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
        """Whether no resource is in work or waits for a worker."""
        states = {it[0]: it[1] for it in map(str.split, self.get("/metrics")[1].splitlines()) if len(it) == 2}
        queue = "featurestore_operator_queue"
        return all(states.get(f'{queue}{{state="{it}"}}') == "0.0" for it in ("ready", "under_way"))

    def looks(self) -> int:
        """How often it looked at a pipeline."""
        name = 'featurestore_operator_reconcile_seconds_count{kind="DataPipeline"} '
        lines = self.get("/metrics")[1].splitlines()
        return sum(int(float(line.removeprefix(name))) for line in lines if line.startswith(name))

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


class Start(Protocol):
    def __call__(self, *options: str, user: str = ..., wait: bool = ...) -> Operator: ...
