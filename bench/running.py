"""The operator as a process before a real API server, and what the server's audit log says of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "measured"
LOOKS = "featurestore_operator_reconcile_seconds_count"
IMAGE = {"MALLOC_ARENA_MAX": "2"}
"""What the operator's image sets."""
QUIET_S = 5.0
DEADLINE_S = 900.0


@dataclass
class Operator:
    """A process that runs since ``start`` (monotonic), and what it asked the API server since ``mark``.

    ``deadline_s``: what is waited for is so within this time after the start.
    """

    plane: Any
    pid: int
    port: int
    start: float
    mark: int
    deadline_s: float = DEADLINE_S

    def code(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def value(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = (it.rsplit(" ", 1) for it in self.metrics().splitlines() if it.startswith(name))
        return sum(float(number) for _, number in lines)

    def requests(self, since: int | None = None) -> list[Any]:
        found: list[Any] = self.plane.audit.requests(USER, self.mark if since is None else since)
        return found

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> tuple[float, float]:
        """Resident memory now and at its greatest."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        found = {name: value for name, _, value in (line.partition(":") for line in lines)}
        return int(found["VmRSS"].split()[0]) / 1024, int(found["VmHWM"].split()[0]) / 1024

    def until(self, holds: Callable[[], bool], every_s: float = 0.05) -> float:
        """Seconds since the start when it holds."""
        while not holds():
            if time.monotonic() - self.start > self.deadline_s:
                raise TimeoutError(f"not so within {self.deadline_s:g} s")
            time.sleep(every_s)
        return time.monotonic() - self.start

    def until_all_told(self, number: int) -> float:
        """Seconds since the start when so many resources have got a status."""
        told: set[tuple[str, str, str]] = set()
        mark = self.mark

        def all_told() -> bool:
            nonlocal mark
            since, mark = mark, self.plane.audit.mark()
            told.update(
                (it.resource, it.namespace, it.name)
                for it in self.requests(since)
                if it.verb == "patch" and it.resource.endswith("/status")
            )
            return len(told) >= number

        return self.until(all_told, 0.5)

    def until_quiet(self) -> None:
        """Return when it has written nothing for a while."""
        while True:
            mark = self.plane.audit.mark()
            time.sleep(QUIET_S)
            if not writes(self.requests(mark)):
                return


@contextmanager
def run(
    plane: Any, log: Any, environment: Mapping[str, str] | None = None, options: Sequence[str] = ()
) -> Iterator[Operator]:
    from server import free_port

    port, kubeconfig = free_port(), plane.kubeconfig_of(USER, ["system:masters"])
    command = [
        *(sys.executable, "-m", "featurestore_operator"),
        *(f"--kubeconfig={kubeconfig}", f"--port={port}", "--no-leader-elect", "--trust-namespaces"),
        *options,
    ]
    mark, start = plane.audit.mark(), time.monotonic()
    process = subprocess.Popen(
        command, stdout=log, stderr=log, env={**os.environ, **IMAGE, **(environment or {})}
    )
    try:
        yield Operator(plane, process.pid, port, start, mark)
    finally:
        process.terminate()
        process.wait(60)


def writes(requests: list[Any]) -> list[Any]:
    return [it for it in requests if it.writes]


def said(requests: list[Any]) -> str:
    """How many of each kind."""
    kinds = Counter(it.verb for it in requests)
    return ", ".join(f"{number} {verb}" for verb, number in sorted(kinds.items())) or "none"
