"""A Prometheus of its own: scrapes what it is told to, and answers queries."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cluster.binaries import installed
from server import Server, free_port


class QueryError(Exception):
    """Prometheus does not understand a query, or cannot answer it."""


@dataclass(frozen=True)
class Prometheus:
    """A running one; ``port`` is on the loopback."""

    port: int

    def ask(self, path: str, **parameters: str) -> Any:
        """The data that its API answers.

        Raises:
            QueryError: it says what is wrong.
        """
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise QueryError(f"{parameters}: {json.load(error)['error']}") from error

    def series(self, query: str) -> list[dict[str, str]]:
        """Labels of each series that the query has now."""
        return [it["metric"] for it in self.ask("query", query=query)["result"]]

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def prometheus(folder: Path, configuration: dict[str, Any]) -> Iterator[Prometheus]:
    """A Prometheus that keeps what it has in ``folder``, until the end of the block.

    Raises:
        MissingError: prometheus is not installed.
    """
    program = installed("prometheus")
    folder.mkdir()
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    it = Prometheus(free_port())
    command = [
        program,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{it.port}",
    ]
    server = Server(command, folder / "prometheus.log", it.is_ready)
    server.start()
    try:
        yield it
    finally:
        server.stop()
