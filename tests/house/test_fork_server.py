"""A process that is forked is to a test what a new one is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually
from forked_process import ForkedPopen, forking, started_by

WHAT_IT_IS = """
import json, os, signal, sys
print("to stderr", file=sys.stderr)
line = sys.stdin.readline()
print(json.dumps({
    "argv": sys.argv,
    "path": sys.path,
    "file": __file__,
    "name": __name__,
    "environ": dict(os.environ),
    "cwd": os.getcwd(),
    "line": line,
    "leads": os.getpgid(0) == os.getpid(),
    "session": os.getsid(0) == os.getpid(),
    "handlers": {it.name: str(signal.getsignal(it)) for it in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)},
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "streams": [(it.encoding, it.errors, it.line_buffering, it.name) for it in (sys.stdin, sys.stdout, sys.stderr)],
    "files": sorted(os.listdir("/proc/self/fd"), key=int)[:3],
}))
"""
ENDS = {
    "by itself": "pass",
    "with a status": "raise SystemExit(7)",
    "with words": "raise SystemExit('that was all')",
    "with an error": "def f():\n    raise ValueError('no')\nf()",
    "with what is registered": "import atexit; atexit.register(print, 'registered')",
    "after its threads": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "interrupted": "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "os.kill(os.getpid(), signal.SIGINT)",
    "without an interpreter": "import os; os._exit(3)",
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")


@contextmanager
def new() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", ForkedPopen.__base__)
        yield


def script(folder: Path, text: str) -> list[str]:
    path = folder / "script.py"
    path.write_text(text)
    return [sys.executable, str(path), "one", "two words"]


def in_both_ways(run: Callable[[], Any]) -> tuple[Any, Any]:
    with new():
        was_new = run()
    with forking():
        return run(), was_new


@pytest.mark.parametrize("session", [False, True])
def test_it_sees_the_same_arguments_environment_folder_streams_and_signals(
    tmp_path: Path, session: bool
) -> None:
    environ = {**os.environ, "GREETING": "caf\u00e9", "FEATURESTORE_URI": "x"}
    environ.pop("PWD", None)

    def run() -> Any:
        done = subprocess.run(
            script(tmp_path, WHAT_IT_IS),
            input="to stdin\n",
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environ,
            start_new_session=session,
            check=True,
        )
        return {**json.loads(done.stdout), "stderr": done.stderr}

    forked, was_new = in_both_ways(run)
    assert forked == was_new


@pytest.mark.parametrize("how", ENDS)
def test_it_ends_with_the_same_status_and_last_words(tmp_path: Path, how: str) -> None:
    def run() -> Any:
        done = subprocess.run(script(tmp_path, ENDS[how]), capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    forked, was_new = in_both_ways(run)
    assert forked == was_new


def test_programs_that_name_the_product_run_as_an_argument(tmp_path: Path) -> None:
    program = "import sys, featurestore; print(sys.argv, sys.path, __name__, featurestore.__file__)"

    def run() -> Any:
        command = [sys.executable, "-c", program, "one", "two words"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    forked, was_new = in_both_ways(run)
    assert forked == was_new


def test_modules_run_by_their_name(tmp_path: Path) -> None:
    def run() -> Any:
        command = [sys.executable, "-m", "featurestore.cli", "--version"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    forked, was_new = in_both_ways(run)
    assert forked == was_new


def test_it_is_polled_signalled_and_waited_for_by_its_number(tmp_path: Path) -> None:
    process = subprocess.Popen(script(tmp_path, "import time\ntime.sleep(600)"))
    assert isinstance(process, ForkedPopen)
    assert started_by(os.getpid()) == [process.pid]
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == process.poll() == -signal.SIGKILL
    assert started_by(os.getpid()) == []


def test_its_number_is_taken_until_its_end_was_heard(tmp_path: Path) -> None:
    with subprocess.Popen(script(tmp_path, "pass"), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
        os.kill(process.pid, 0)
        assert process.wait() == 0

        def gone() -> bool:
            return not Path(f"/proc/{process.pid}").exists()

        eventually(gone)


def test_what_it_starts_is_forked_too_and_told_by_its_starter(tmp_path: Path) -> None:
    inner = tmp_path / "inner.py"
    inner.write_text("import sys; sys.stdin.read()")
    outer = (
        "import subprocess, sys\n"
        f"inner = subprocess.Popen([sys.executable, {str(inner)!r}], stdin=subprocess.PIPE)\n"
        "print(inner.pid, flush=True)\n"
        "sys.stdin.read()\n"
        "inner.stdin.close()\n"
        "sys.exit(inner.wait() or 5)\n"
    )
    with subprocess.Popen(
        script(tmp_path, outer), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        inner_pid = int(process.stdout.readline())
        assert started_by(process.pid) == [inner_pid]
        process.communicate()
    assert process.returncode == 5


@pytest.mark.parametrize("variable", ["PYTHONPATH", "PYTHONHASHSEED", "KUBECONFIG"])
def test_a_process_with_what_is_looked_at_when_python_starts_is_a_new_one(
    tmp_path: Path, variable: str
) -> None:
    command = script(tmp_path, f"import os; print(os.getppid(), os.environ[{variable!r}])")
    done = subprocess.run(
        command, env={**os.environ, variable: "7"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{os.getpid()} 7\n"


def test_a_folder_that_is_not_there_is_told_as_ever(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        subprocess.run(script(tmp_path, "pass"), cwd=tmp_path / "nowhere", check=True)


def test_many_at_once_keep_their_streams_apart(tmp_path: Path) -> None:
    command = script(tmp_path, "import sys; print(sys.stdin.read() * 20000)")
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(16)]
    for number, process in enumerate(running):
        said, _ = process.communicate(str(number).encode())
        assert said == str(number).encode() * 20000 + b"\n"
        assert process.returncode == 0
