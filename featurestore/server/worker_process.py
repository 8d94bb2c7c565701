"""A process that serves, from its first look at the store until it is drained.

After SIGTERM or SIGINT it answers for ``drain_s`` more seconds, with ``/readyz`` failing and each connection closed after
its answer; then it takes no new connection, finishes what it has begun, and ends. A second signal ends it at once.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import time
from pathlib import Path
from types import FrameType

import uvicorn

from featurestore.client.connection import Store
from featurestore.registry.project import open_project
from featurestore.server.application import Application
from featurestore.server.backend import Backend
from featurestore.server.measurements import Measurements
from featurestore.server.server_settings import ServerSettings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class DrainingServer(uvicorn.Server):
    """Ends in two steps: see the module."""

    def __init__(self, config: uvicorn.Config, backend: Backend) -> None:
        super().__init__(config)
        self._backend = backend
        self._end_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._end_s is not None:
            self.should_exit = self.force_exit = True
        self._backend.readiness.draining = True
        self._end_s = time.monotonic() + self._backend.settings.drain_s

    async def on_tick(self, counter: int) -> bool:
        if self._end_s is not None and time.monotonic() >= self._end_s:
            self.should_exit = True
        return await super().on_tick(counter)


def open_backend(settings: ServerSettings) -> Backend:
    """The store that the settings name, and what routes ask of it."""
    store = Store(open_project(settings.folder, os.environ, Path.cwd()))
    return Backend(store, settings, Measurements())


def serve(settings: ServerSettings, listener: socket.socket) -> None:
    """Answer what comes in by the socket, until a signal."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)
    backend = open_backend(settings)
    config = uvicorn.Config(
        Application(backend),
        access_log=settings.access_log,
        log_config=None,
        log_level="info" if settings.access_log else "warning",
        lifespan="on",
        ws="none",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
    )
    # What was loaded stays; looking through it for garbage would take a fifth of the time of a large answer.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    DrainingServer(config, backend).run(sockets=[listener])


def bind(settings: ServerSettings) -> socket.socket:
    """A listening socket that several processes may share.

    Raises:
        OSError: the address is taken, or is not of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=2048)


if __name__ == "__main__":
    # A worker of a pool: settings, and the socket it inherited.
    serve(ServerSettings.model_validate_json(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
