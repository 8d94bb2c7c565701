"""Several processes that answer at one port: started, started again if one dies, and ended together."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead
from pydantic import TypeAdapter

from featurestore.online.shared_folder import FOLDER as GENERATIONS_FOLDER
from featurestore.online.shared_folder import shared_folder
from featurestore.server.measurements import SHARED_FOLDER
from featurestore.server.server_settings import ServerSettings

_log = logging.getLogger("featurestore.server")
_POLL_S = 0.1
_RESTART_S = 1.0
"""A worker that dies is not started again sooner than this after its last start."""


class WorkerPool:
    """Watches ``settings.workers`` processes."""

    def __init__(self, settings: ServerSettings, listener: socket.socket) -> None:
        self._settings, self._listener = settings, listener
        self._workers: list[tuple[subprocess.Popen[bytes], float]] = []
        self._signals = 0

    def run(self) -> None:
        """Return when all workers have ended after a signal."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        with (
            tempfile.TemporaryDirectory(prefix="featurestore-metrics-") as shared,
            shared_folder() as generations,
        ):
            environment = {**os.environ, SHARED_FOLDER: shared, GENERATIONS_FOLDER: str(generations)}
            self._workers = [self._start(environment) for _ in range(self._settings.workers)]
            while any(worker.poll() is None for worker, _ in self._workers) or not self._signals:
                time.sleep(_POLL_S)
                if not self._signals:
                    self._workers = [self._kept(each, environment, shared) for each in self._workers]

    def _start(self, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], float]:
        number = self._listener.fileno()
        arguments = [TypeAdapter(ServerSettings).dump_json(self._settings).decode(), str(number)]
        worker = subprocess.Popen(
            [sys.executable, "-m", "featurestore.server.worker_process", *arguments],
            env=environment,
            pass_fds=[number],
            start_new_session=True,  # Ctrl-C reaches them by way of this process, once.
        )
        return worker, time.monotonic()

    def _kept(
        self, each: tuple[subprocess.Popen[bytes], float], environment: dict[str, str], shared: str
    ) -> tuple[subprocess.Popen[bytes], float]:
        """The worker, or if it died a new one in its place."""
        worker, started_s = each
        if worker.poll() is None or time.monotonic() < started_s + _RESTART_S:
            return each
        _log.error("worker %d ended with %d and is started again", worker.pid, worker.returncode)
        mark_process_dead(worker.pid, shared)  # type: ignore[no-untyped-call]
        return self._start(environment)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        for worker, _ in self._workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGKILL if self._signals > 2 else signal.SIGTERM)
