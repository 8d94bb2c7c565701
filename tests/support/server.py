"""Servers as processes of their own: started on a free port, waited for, ended with the process that started them."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from forked_process import end_with_parent

START_S = 120.0
_POLL_S = 0.02


class ServerError(Exception):
    """A server did not start, or is not ready in time. The message ends with what it printed last."""


class Server:
    """A process that serves. What it prints goes to ``log``.

    ``ready()`` is true once it serves; start waits for that.
    """

    def __init__(
        self,
        command: Sequence[object],
        log: Path,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        self._ready = ready
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        # It may be ended by a thread, while another sees that and starts it again.
        self._changing = threading.Lock()

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.command[0]} was not started"
        return self._process.pid

    def launch(self) -> None:
        """Start it and do not wait."""
        with self._changing, self.log.open("ab") as output:
            assert self._process is None, f"{self.command[0]} runs already"
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                preexec_fn=end_with_parent,
            )

    def wait(self, timeout_s: float = START_S) -> None:
        """Return once it is ready.

        Raises:
            ServerError: it ended, or is not ready in time.
        """
        assert self._process is not None
        deadline = time.monotonic() + timeout_s
        while not self._ready():
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_POLL_S)
            if self._process.returncode is not None or time.monotonic() > deadline:
                code = self._process.returncode
                why = f"is not ready after {timeout_s:g} s" if code is None else f"ended with {code}"
                said = self.log.read_text(errors="replace")[-4000:]
                self.stop()
                raise ServerError(f"{self.command[0]} {why}, {self.log}:\n{said}")

    def start(self, timeout_s: float = START_S) -> None:
        self.launch()
        self.wait(timeout_s)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, politely unless told otherwise; nothing if it does not run."""
        with self._changing:
            if self._process is None:
                return
            self._process.send_signal(number)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        """Such as SIGSTOP, which lets it hang, and SIGCONT."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash would."""
        self.stop(signal.SIGKILL)


@contextmanager
def serving(
    command: Sequence[object],
    port: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    address: str = "127.0.0.1",
) -> Iterator[Server]:
    """A server that is ready when its port accepts connections, until the end of the block."""
    server = Server(command, log, lambda: accepts(port, address), environment)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def accepts(port: int, address: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((address, port), timeout=0.1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port that nobody listens on. Within the time in which servers start, no other process of tests is given it.

    Below those that the system gives to clients: so that no client takes it while its server is restarted.
    """
    ports, now_s = _ports(), time.monotonic()
    for port, since_s in list(_reserved.items()):
        if since_s < now_s - START_S:
            fcntl.lockf(ports, fcntl.LOCK_UN, 1, port)
            del _reserved[port]
    while True:
        port = random.SystemRandom().randrange(12_000, 30_000)
        if port in _reserved:
            continue
        try:
            fcntl.lockf(ports, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            continue
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("0.0.0.0", port))
            _reserved[port] = now_s
            return port
        fcntl.lockf(ports, fcntl.LOCK_UN, 1, port)


_reserved: dict[int, float] = {}
"""Ports that this process was given, and when."""


@cache
def _ports() -> BinaryIO:
    """A file of which a process that was given port n has locked byte n: the lock ends with the process."""
    return Path(tempfile.gettempdir(), f"featurestore-ports-{os.getuid()}").open("ab")
