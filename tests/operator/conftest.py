"""Operators before a real API server; they end with the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cluster.control_plane import ControlPlane
from operating import OBSERVING_OPERATOR, Operator, Start
from server import Server, free_port


@pytest.fixture
def start(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Start]:
    """Starts operators, by default one that is ready, serves all namespaces and elects no leader."""
    with ExitStack() as stack:

        def start_one(*options: str, user: str = "operator", wait: bool = True) -> Operator:
            kubeconfig = control_plane.kubeconfig_of(user, ["system:masters"])
            port = free_port()
            command = [
                sys.executable,
                OBSERVING_OPERATOR,
                f"--kubeconfig={kubeconfig}",
                f"--port={port}",
                f"--identity={user}",
                *(options or ("--no-leader-elect",)),
            ]
            server = Server(command, tmp_path / f"{user}.log", lambda: operator.get("/readyz")[0] == 200)
            operator = Operator(server, port, user, namespace)
            server.launch()
            stack.callback(server.stop)
            if wait:
                server.wait()
            return operator

        yield start_one
