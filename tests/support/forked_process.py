"""Processes of the product that are forked from one that has imported it, as multiprocessing's forkserver does.

``python -m featurestore…`` spends most of a second on importing data engines, and tests start hundreds. While
:func:`forking` is entered, ``subprocess.Popen`` has such a process forked by a server, which imported all once and did
nothing else. Arguments, environment, folder, standard streams, process group or session, signals and exit status are
those of a new process; what a process starts that was forked is forked as well. Three things differ: its parent is the
server (:func:`started_by` says who asked for it), ``/proc`` shows the server's command, and what Python does at its end
after it has run what is registered for that is left out.

Whatever asks for more than the server can give (another Python, ``PYTHONPATH``, a user, open files) is started anew.
"""

from __future__ import annotations

import atexit
import ctypes
import inspect
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

AS_IMPORTED = (
    *(
        "PYTHON",
        "HOME",
        "LC_",
        "LANG",
        "LD_",
        "MALLOC_",
        "OPENBLAS_",
        "OMP_",
        "ARROW_",
        "POLARS_",
        "NUMPY_",
        "NPY_",
    ),
    *("PANDAS_", "PYDANTIC_", "TYPER_", "FSSPEC_", "KUBECONFIG", "SSL_", "SSLKEYLOGFILE", "PROMETHEUS_"),
)
"""Variables that begin so are looked at when Python starts, or while libraries are imported: what is forked has them as
the server has."""

START_S = 120.0
_HERE = str(Path(__file__).parent)
_PDEATHSIG = 1
ALONE = {"OPENBLAS_NUM_THREADS": "1", "_RJEM_MALLOC_CONF": "background_thread:false"}
"""What keeps libraries from starting threads when they are imported."""


class ForkServerError(Exception):
    """The server did not start, or ended before the processes that it forked."""


class _Server:
    """The address of this process's server. A forked process has that of the server that forked it."""

    def __init__(self) -> None:
        self.address = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()

    def connect(self) -> socket.socket:
        with self._starting:
            if not self.address:
                self._start()
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(START_S)
        connection.connect(self.address)
        return connection

    def _start(self) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("")  # Linux chooses a free name, which is no file.
            listener.listen(512)
            serve = f"fork_server.serve({listener.fileno()})"
            process = _NEW(
                [
                    sys.executable,
                    "-c",
                    f"import sys; sys.path.insert(0, {_HERE!r}); import fork_server; {serve}",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd="/",
                pass_fds=[listener.fileno()],
                env={**os.environ, **ALONE},
            )
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                process.communicate()
                raise ForkServerError(f"the fork server ended with {process.returncode}")
            self.address, self._process = listener.getsockname(), process
        atexit.register(self.stop)

    def stop(self) -> None:
        """End it, and all that it forked."""
        process, self._process, self.address = self._process, None, b""
        if process is not None:
            process.communicate()


_NEW = subprocess.Popen
_SIGNATURE = inspect.signature(_NEW._execute_child)  # type: ignore[attr-defined]
SERVER = _Server()


class ForkedPopen(subprocess.Popen[Any]):
    """A ``subprocess.Popen`` whose process is forked by the server if that can be."""

    _connection: socket.socket | None = None

    def _execute_child(self, *given: Any) -> None:
        asked = _SIGNATURE.bind(self, *given).arguments
        request = _request(asked)
        connection = None
        if request is not None:
            streams = [asked["p2cread"], asked["c2pwrite"], asked["errwrite"]]
            connection = _ask(request, [own if it == -1 else it for own, it in enumerate(streams)])
        if connection is None:
            super()._execute_child(*given)  # type: ignore[misc]
            return
        self.pid, self._connection, self._child_created = connection[0], connection[1], True
        self._close_pipe_fds(*(asked[it] for it in _PIPES))  # type: ignore[attr-defined]

    def _internal_poll(self, *given: Any, **named: Any) -> int | None:
        if self._connection is None or self.returncode is not None:
            return super()._internal_poll(*given, **named)  # type: ignore[misc, no-any-return]
        if self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                self._hear()
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._connection is None:
            return super()._wait(timeout)  # type: ignore[misc, no-any-return]
        end_s = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            with self._waitpid_lock:  # type: ignore[attr-defined]
                connection = self._connection if self._hear() is None else None
            if connection is None:
                break
            left_s = None if end_s is None else end_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            with suppress(ValueError):  # Another thread heard of the end, and closed the connection.
                _is_readable(connection, 0.1 if left_s is None else min(left_s, 0.1))
        assert self.returncode is not None
        return self.returncode

    def _hear(self) -> int | None:
        """The exit status, if the process has ended. As a zombie its number is kept until this was asked."""
        if self.returncode is None and self._connection is not None:
            if not _is_readable(self._connection, 0):
                return None
            heard = _hear(self._connection)
            # The server ends after all that it forked, unless it was killed, which ends them.
            self.returncode = heard[1] if heard is not None else -signal.SIGKILL
            self._connection.close()
        return self.returncode


_PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


@contextmanager
def forking() -> Iterator[None]:
    """``subprocess.Popen`` forks, until the end of the block."""
    if sys.platform != "linux" or version("duckdb").startswith("1."):
        # DuckDB 1 starts a thread when it is imported, which a fork would lose.
        yield
        return
    before, subprocess.Popen = subprocess.Popen, ForkedPopen  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = before  # type: ignore[misc]


def started_by(pid: int) -> list[int]:
    """The processes that the server forked for this one and that run."""
    if not SERVER.address:
        return []
    with SERVER.connect() as connection:
        _send(connection, {"started_by": pid}, [])
        pids: list[int] = json.loads(connection.makefile("rb").readline())
        return pids


def as_imported() -> dict[str, str]:
    """Variables of this process that one with an environment of its own must have, too, to be forked."""
    return {name: text for name, text in os.environ.items() if name.startswith(AS_IMPORTED)}


def end_with_parent() -> None:
    """As ``preexec_fn``: also a killed test session leaves no process behind. A forked one ends with its server anyway."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def _request(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the server is asked for; None if it cannot be asked for that."""
    args = asked["args"]
    if not isinstance(args, list | tuple):
        return None
    command = [os.fspath(it) for it in args]
    cwd = os.path.abspath(asked["cwd"] or os.getcwd())
    wants_more = (
        asked["executable"] not in (None, sys.executable)
        or asked["preexec_fn"] not in (None, end_with_parent)
        or any(asked[it] for it in ("pass_fds", "shell", "startupinfo"))
        or any(asked[it] is not None for it in ("gid", "gids", "uid"))
        or asked["umask"] >= 0
        or asked["process_group"] >= 0
        or not asked["close_fds"]
        or not os.path.isdir(cwd)
    )
    if not _is_ours(command) or wants_more or not all(isinstance(it, str) for it in (*command, cwd)):
        return None
    environ = os.environ if asked["env"] is None else asked["env"]
    return {
        "command": command[1:],
        "environ": {os.fsdecode(name): os.fsdecode(value) for name, value in environ.items()},
        "cwd": cwd,
        "by": os.getpid(),
        "group": None if asked["start_new_session"] else os.getpgid(0),
        "session": os.getsid(0),
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    }


def _is_ours(command: Sequence[str]) -> bool:
    """Whether it is Python with a module of the product or its demo, with a file, or with a program that names the product."""
    match command:
        case [sys.executable, "-m", module, *_]:
            return module.partition(".")[0] in {
                "demo",
                "featurestore",
                "featurestore_transforms",
                "featurestore_operator",
            }
        case [sys.executable, "-c", program, *_]:
            return "featurestore" in program
        case [sys.executable, script, *_]:
            return script.endswith(".py")
    return False


def _ask(request: Mapping[str, Any], streams: list[int]) -> tuple[int, socket.socket] | None:
    """The number of the process that was forked, and where its exit status will be heard; None if it was refused."""
    connection = SERVER.connect()
    try:
        _send(connection, request, streams)
        heard = _hear(connection)
        if heard is None:
            raise ForkServerError("the fork server has ended")
        if heard[0] == BEGUN:
            connection.settimeout(None)
            return heard[1], connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def _is_readable(connection: socket.socket, within_s: float) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


BEGUN, ENDED, REFUSED = range(3)


def tell(connection: socket.socket, what: int, number: int) -> None:
    connection.sendall(struct.pack("ii", what, number))


def _hear(connection: socket.socket) -> tuple[int, int] | None:
    """What the server says, and the number of the process or its exit status; None if it says nothing any more."""
    said = connection.recv(struct.calcsize("ii"), socket.MSG_WAITALL)
    return struct.unpack("ii", said) if said else None


def _send(connection: socket.socket, request: Mapping[str, Any], streams: list[int]) -> None:
    text = json.dumps(request).encode()
    head = len(text).to_bytes(8, "big")
    if streams:
        socket.send_fds(connection, [head], streams)
    else:
        connection.sendall(head)
    connection.sendall(text)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as rest:
        head += rest.read(8 - len(head))
        request: dict[str, Any] = json.loads(rest.read(int.from_bytes(head, "big")))
    return request, streams
