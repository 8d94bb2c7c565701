"""The server of :mod:`forked_process`: it imports what takes long, and forks what it is asked for.

A process that has threads must not be forked, so nothing is done here but to import, to fork and to wait.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn, TextIO

from forked_process import (
    ALONE,
    AS_IMPORTED,
    BEGUN,
    ENDED,
    REFUSED,
    SERVER,
    START_S,
    ForkedPopen,
    ForkServerError,
    end_with_parent,
    receive,
    tell,
)

IMPORTED = (
    *("polars", "pyarrow.dataset", "deltalake", "duckdb", "kopf", "kubernetes", "redis"),
    *(f"featurestore.{it}" for it in ("cli.app", "cli.run")),
    *(f"featurestore_transforms.entrypoint.{it}" for it in ("engine", "job", "pod", "serve")),
    *(f"featurestore_operator.{it}" for it in ("controllers.controller", "process", "settings")),
)
THREADS = {"jemalloc_bg_thd", "polars-ooc-clea"}
"""Threads that imports start and that a forked process can do without: of allocators, which know of forks, and of
Polars, which looks for what queries wrote to disk."""
_HERE = Path(__file__).parent


def serve(listening: int) -> None:
    """Fork until standard input ends. Returns in no process: a forked one does what it is for, and ends."""
    environ = dict(os.environ)  # Polars sets some.
    gc.disable()
    for name in IMPORTED:
        importlib.import_module(name)
    threads = {_comm(it) for it in Path("/proc/self/task").iterdir() if it.name != str(os.getpid())}
    if not threads <= THREADS:
        raise ForkServerError(f"imports started threads that a fork would lose: {threads - THREADS}")
    listener = socket.socket(fileno=listening)
    SERVER.address = listener.getsockname()
    at_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those who started this.
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    _Forks(listener, environ, at_interrupt).run()


class _Forks:
    """``environ`` and ``at_interrupt``: what the server was started with."""

    def __init__(self, listener: socket.socket, environ: Mapping[str, str], at_interrupt: Any) -> None:
        self._listener, self._environ, self._at_interrupt = listener, environ, at_interrupt
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(0, selectors.EVENT_READ, self._end)
        self._by: dict[int, int] = {}
        self._heard: dict[int, socket.socket] = {}

    def run(self) -> NoReturn:
        while True:
            for key, _ in self._selector.select():
                key.data()

    def _end(self) -> None:
        for pid in self._by:
            os.kill(pid, signal.SIGKILL)
        for pid in self._by:
            os.waitpid(pid, 0)
        os._exit(0)

    def _accept(self) -> None:
        connection = self._listener.accept()[0]
        connection.settimeout(START_S)
        try:
            request, streams = receive(connection)
        except (OSError, ValueError):
            connection.close()  # Who asked has died.
            return
        if "started_by" in request:
            pids = [pid for pid, by in self._by.items() if by == request["started_by"] and _runs(pid)]
            connection.sendall(json.dumps(pids).encode() + b"\n")
            connection.close()
        elif self._refuses(request):
            tell(connection, REFUSED, 0)
            connection.close()
        else:
            self._fork(request, connection, streams)
        for it in streams:
            os.close(it)

    def _refuses(self, request: Mapping[str, Any]) -> bool:
        environ, group = request["environ"], request["group"]
        names = {name for name in (*environ, *self._environ) if name.startswith(AS_IMPORTED)}
        differ = any(environ.get(name) != self._environ.get(name) for name in names - ALONE.keys())
        return differ or (group is not None and request["session"] != os.getsid(0))

    def _fork(self, request: Mapping[str, Any], connection: socket.socket, streams: list[int]) -> None:
        server = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Of threads, which were looked at.
            pid = os.fork()
        if not pid:
            try:
                self._selector.close()
                for each in (self._listener, *self._heard.values()):
                    each.close()
                signal.signal(signal.SIGINT, self._at_interrupt)
                _become(request, connection, streams, server)
            finally:
                os._exit(1)
        self._by[pid], self._heard[pid] = request["by"], connection
        ended = os.pidfd_open(pid)
        self._selector.register(ended, selectors.EVENT_READ, lambda: self._ended(pid, ended))

    def _ended(self, pid: int, ended: int) -> None:
        """Tell who asked for it, and keep the number taken until they have heard."""
        self._selector.unregister(ended)
        os.close(ended)
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        connection = self._heard[pid]
        try:
            tell(connection, ENDED, code)
        except OSError:
            self._reap(pid)
            return
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._reap(pid))

    def _reap(self, pid: int) -> None:
        os.waitpid(pid, 0)
        connection = self._heard.pop(pid)
        if connection in self._selector.get_map():
            self._selector.unregister(connection)
        connection.close()
        del self._by[pid]


def _become(
    request: Mapping[str, Any], connection: socket.socket, streams: list[int], server: int
) -> NoReturn:
    """In the forked process: be what was asked for, say so, and do it."""
    end_with_parent()
    if os.getppid() != server:
        os._exit(1)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    if request["group"] is None:
        os.setsid()
    else:
        os.setpgid(0, request["group"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    time.tzset()
    signal.pthread_sigmask(signal.SIG_SETMASK, request["mask"])
    sys.stdin, sys.stdout, sys.stderr = (
        _open_stream(0, "r", sys.stdin),
        _open_stream(1, "w", sys.stdout),
        _open_stream(2, "w", sys.stderr),
    )
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)
    sys.argv = list(request["command"])
    sys.orig_argv = [sys.executable, *sys.argv]
    sys.path[:] = [it for it in sys.path if it not in ("", str(_HERE))]
    sys.modules["__main__"] = types.ModuleType("__main__")
    subprocess.Popen = ForkedPopen  # type: ignore[misc]
    gc.enable()
    tell(connection, BEGUN, os.getpid())
    connection.close()
    _end(_exit_status(_run))


def _run() -> None:
    """What ``python`` does with ``sys.argv``."""
    if sys.argv[0] == "-m":
        sys.path.insert(0, os.getcwd())
        runpy._run_module_as_main(sys.argv.pop(1))  # type: ignore[attr-defined]
    elif sys.argv[0] == "-c":
        sys.path.insert(0, "")
        exec(compile(sys.argv.pop(1), "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        script = Path(sys.argv[0])
        sys.path.insert(0, str(script.resolve().parent))
        main = vars(sys.modules["__main__"])
        main["__file__"] = sys.argv[0]
        exec(compile(script.read_bytes(), sys.argv[0], "exec"), main)


def _open_stream(number: int, mode: str, like: TextIO) -> TextIO:
    """Text on a standard stream, as Python opens it when it starts."""
    at_once = bool(sys.__stdout__.write_through)  # type: ignore[union-attr]
    file: Any = open(number, f"{mode}b", 0 if at_once and mode == "w" else -1, closefd=False)  # noqa: SIM115
    getattr(file, "raw", file).name = like.name
    stream: Any = TextIOWrapper(
        file,
        like.encoding,
        like.errors,
        "\n" if mode == "w" else None,
        line_buffering=not at_once and (number == 2 or file.isatty()),
        write_through=at_once,
    )
    stream.mode = mode
    return stream  # type: ignore[no-any-return]


def _exit_status(run: Callable[[], object]) -> int:
    """As Python finds it: a signal's, if below zero."""
    try:
        run()
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return int(ended.code or 0) & 0xFF
        print(ended.code, file=sys.stderr)
        return 1
    except BaseException as error:  # noqa: BLE001 - whatever it is, Python prints it and ends
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _end(status: int) -> NoReturn:
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            status = status or 120  # As Python does if what was printed is lost.
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _comm(task: Path) -> str:
    return (task / "comm").read_text().strip()


def _runs(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None
