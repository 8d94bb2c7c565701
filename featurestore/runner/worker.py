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
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from featurestore.arrivals.crash import died, kernel_kills, last_words, signal_name
from featurestore.arrivals.dry_run_result import DryRunResult
from featurestore.errors import CodeError, FeatureStoreError, TransientError
from featurestore.failure import Failure, as_error
from featurestore.humanize import size
from featurestore.protocol import (
    AnyRequest,
    DryRunRequest,
    EngineResult,
    ErasureRequest,
    ErasureResult,
    Request,
)
from featurestore.runner.guard import NO_LIMITS, Guard, Limits, held_bytes, volunteer
from featurestore.runner.scratch import Scratch

_RESULT: TypeAdapter[EngineResult] = TypeAdapter(EngineResult)
_TAIL_BYTES = 16_000
_KEPT = 4
"""A process that keeps more than this part of its memory after a request is ended."""


class Worker:
    """Starts at the first request, and again after it died. Not for several threads at once.

    ``folder``: where it runs, so that callables of the project can be imported.
    """

    def __init__(self, folder: Path, command: Sequence[str] = ()) -> None:
        self._folder = folder
        self._command = command or (sys.executable, "-m", "featurestore_transforms", "--serve")
        self._process: subprocess.Popen[str] | None = None
        self._scratch: Scratch | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115

    def run(
        self, request: Request, progress: Callable[[dict[str, Any]], None], limits: Limits = NO_LIMITS
    ) -> EngineResult:
        """The result of the request.

        Raises:
            FeatureStoreError: what the request failed with, of the class that it failed with.
            Crash: the process died before it answered, or took more than its limits.
            TransientError: it died before it began.
        """
        return _RESULT.validate_python(self._answer(request, progress, limits))

    def dry_run(self, request: DryRunRequest, limits: Limits) -> DryRunResult:
        """What a spec would make of files that are there.

        Raises:
            FeatureStoreError: as :meth:`run`.
        """
        return DryRunResult.model_validate(self._answer(request, lambda _: None, limits))

    def erase(self, request: ErasureRequest, progress: Callable[[dict[str, Any]], None]) -> ErasureResult:
        """What was erased.

        Raises:
            FeatureStoreError: as :meth:`run`.
        """
        return ErasureResult.model_validate(self._answer(request, progress, NO_LIMITS))

    def _answer(
        self, request: AnyRequest, progress: Callable[[dict[str, Any]], None], limits: Limits
    ) -> dict[str, Any]:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        self._stderr.seek(0)
        self._stderr.truncate()
        kills = kernel_kills()
        with Guard(process.pid, limits) as guard:
            heard = _Heard(progress, guard.begun)
            try:
                process.stdin.write(request.model_dump_json() + "\n")
                process.stdin.flush()
                answer = heard.answer(process.stdout)
            except OSError:
                answer = None
        if answer is None:
            raise self._died(process, heard, guard, kernel_kills() > kills)
        if limits.memory_bytes and held_bytes(process.pid) > limits.memory_bytes // _KEPT:
            # What an allocator keeps for later counts: the next request would have less.
            self._end(process)
        if "failure" in answer:
            raise as_error(Failure.model_validate(answer["failure"]))
        result: dict[str, Any] = answer["result"]
        return result

    @property
    def pid(self) -> int | None:
        """Of the process that does the next request; None if it is to be started."""
        return self._process.pid if self._process is not None else None

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
        self._scratch = Scratch()
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            # A process that is killed deletes nothing.
            env={**os.environ, "TMPDIR": str(self._scratch.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            # Ctrl-C in the terminal is for the runner, which lets the request under way end.
            start_new_session=True,
        )
        volunteer(self._process.pid)
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
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    def _died(
        self, process: subprocess.Popen[str], heard: _Heard, guard: Guard, by_kernel: bool
    ) -> FeatureStoreError:
        code = process.wait()
        self._end(process)
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - _TAIL_BYTES))
        words = last_words(self._stderr.read().decode(errors="replace"))
        last = f"; last step: {heard.step}" if heard.step else ""
        where = f"process {process.pid}"
        if guard.exceeded is not None:
            over = guard.exceeded
            return type(over)(
                over.problem, where=where, wanted=over.wanted, got=over.got + last, hint=over.hint
            )
        got = _cause(code) + last + (f"; its last words: {words}" if words else "")
        held = f"; it held {size(guard.peak_bytes)} at most" if guard.peak_bytes else ""
        if not heard.began:
            return TransientError(
                "the worker process died before it started", where=where, got=got, hint=_remedy(code)
            )
        return died("the worker process", where, got + held, words, _remedy(code), by_kernel=by_kernel)


class _Heard:
    """What a process said on its way to an answer."""

    def __init__(self, progress: Callable[[dict[str, Any]], None], begun: Callable[[], None]) -> None:
        self._progress, self._begun = progress, begun
        self.began = False
        self.step = ""

    def answer(self, lines: Iterable[str]) -> dict[str, Any] | None:
        """The answer; None if the process ended without one."""
        for line in lines:
            message = _parse(line)
            if "progress" in message:
                self.step = str(message["progress"].get("step", ""))
                self._progress(message["progress"])
            elif "result" in message or "failure" in message:
                return message
            elif "begun" in message:
                self._begun()
            self.began = self.began or "begun" in message or "progress" in message
        return None


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


def _parse(line: str) -> dict[str, Any]:
    """The line as an answer; {} for what a user's code printed."""
    try:
        answer = json.loads(line)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _cause(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal_name(-code)


def _remedy(code: int) -> str:
    if code == -signal.SIGKILL:
        return (
            "If nobody killed it, the kernel did, for memory: lower spec.resources.memory "
            "or spec.trigger.arrivals.maxBytes, or give the machine more"
        )
    return "Nothing is lost or doubled: the same request is tried again"
