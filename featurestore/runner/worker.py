"""One warm process with the data engine: a request in, progress and one result or failure out, as JSON lines.

It is a process of its own so that a callable that crashes, or a batch that takes too much memory, harms nothing else.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from featurestore.errors import CodeError, TransientError
from featurestore.failure import Failure, as_error
from featurestore.protocol import EngineResult, Request

_RESULT: TypeAdapter[EngineResult] = TypeAdapter(EngineResult)
_TAIL_BYTES = 2000


class Worker:
    """Starts at the first request, and again after it died. Not for several threads at once.

    ``folder``: where it runs, so that callables of the project can be imported.
    """

    def __init__(self, folder: Path, command: Sequence[str] = ()) -> None:
        self._folder = folder
        self._command = command or (sys.executable, "-m", "featurestore_transforms", "--serve")
        self._process: subprocess.Popen[str] | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115

    def run(self, request: Request, progress: Callable[[dict[str, Any]], None]) -> EngineResult:
        """The result of the request.

        Raises:
            FeatureStoreError: what the request failed with, of the class that it failed with.
            TransientError: the process died before it answered.
        """
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        self._stderr.seek(0)
        self._stderr.truncate()
        try:
            process.stdin.write(request.model_dump_json() + "\n")
            process.stdin.flush()
        except OSError as error:
            raise self._died(process) from error
        for line in process.stdout:
            answer = _answer(line)
            if "progress" in answer:
                progress(answer["progress"])
            elif "result" in answer:
                return _RESULT.validate_python(answer["result"])
            elif "failure" in answer:
                raise as_error(Failure.model_validate(answer["failure"]))
        raise self._died(process)

    def warm(self) -> None:
        """Start the process now, so that the first request finds it ready."""
        self._started()

    def close(self) -> None:
        """Let the process end, which it does as soon as its request is done."""
        if self._process is not None:
            self._end(self._process)
        self._stderr.close()

    def kill(self) -> None:
        """End the process at once: what it did not commit is not there, and is done again."""
        if self._process is not None:
            self._process.kill()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is not None:
            if self._process.poll() is None:
                return self._process
            self._end(self._process)
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            # Ctrl-C in the terminal is for the runner, which lets the request under way end.
            start_new_session=True,
        )
        return self._process

    def _end(self, process: subprocess.Popen[str]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        process.wait()
        self._process = None

    def _died(self, process: subprocess.Popen[str]) -> TransientError:
        code = process.wait()
        self._end(process)
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - _TAIL_BYTES))
        said = self._stderr.read().decode(errors="replace").strip()
        return TransientError(
            "the worker process died before it answered",
            where=f"process {process.pid}",
            got=_cause(code) + (f"; its last words: {said}" if said else ""),
            hint=_remedy(code),
        )


def check_engine() -> None:
    """Nothing, if the data engine is installed.

    Raises:
        CodeError: it is not.
    """
    missing = [name for name in ("featurestore_transforms", "polars") if not importlib.util.find_spec(name)]
    if missing:
        raise CodeError(
            "the data engine is not installed",
            where=sys.prefix,
            wanted="the extra [transforms]",
            got=f"no package {missing[0]!r}",
            hint="pip install 'featurestore[transforms]'",
        )


def _answer(line: str) -> dict[str, Any]:
    """The line as an answer; {} for what a user's code printed."""
    try:
        answer = json.loads(line)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _remedy(code: int) -> str:
    if code == -signal.SIGKILL:
        return (
            "If nobody killed it, the kernel did, for memory: lower spec.resources.memory "
            "or spec.trigger.arrivals.maxBytes, or give the machine more"
        )
    return "Nothing is lost or doubled: the same request is tried again"
