"""What a Job's process writes, and how it ends.

Its log for people goes to standard error, its result as one line of JSON to standard output, and its failure to the
termination log, which is what Kubernetes keeps of a container that has ended: the controller reads there why.
https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TextIO

from pydantic import ValidationError

from featurestore.errors import Crash, FeatureStoreError, RequestError, TransientError, Unforeseen, foreseen
from featurestore.failure import Failure, as_failure
from featurestore.protocol import JobRequest, Progress
from featurestore.storage.objects import Storage
from featurestore_transforms.entrypoint.supervisor import supervised

TERMINATION_LOG = "FEATURESTORE_TERMINATION_LOG"
_KUBERNETES_LOG = Path("/dev/termination-log")
_TERMINATION_BYTES = 4096
"""Kubernetes cuts anything longer, and a cut failure cannot be read."""
_BETWEEN_S = 10.0
"""How often progress is logged at most."""


def main(text: str, results: TextIO) -> int:
    """The exit code of the Job that ``text`` asks for, as JSON; see ``featurestore.errors``.

    What nobody foresaw ends it with Python's own 1, and is tried again.
    """
    try:
        request = _parse(text)
    except RequestError as error:
        return _failed(error, error.exit_code)
    return supervised(lambda: _run(request, results), request.time_limit_s, _tell)


def _run(request: JobRequest, results: TextIO) -> int:
    _end_when_told()
    try:
        # The engine is loaded here, so that an error in the request is told at once.
        from featurestore_transforms.entrypoint.job import run_job

        result = run_job(Storage(request.request.root), request, say, ProgressLog())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - panics of engines and exits of callables are failures, too
        known = foreseen(error)
        if known is not error:
            traceback.print_exception(error)
        return _failed(known, 1 if isinstance(known, Unforeseen) else known.exit_code)
    if result is not None:
        results.write(f'{{"result": {result.model_dump_json(by_alias=True)}}}\n')
    say("done")
    return 0


def say(line: str) -> None:
    """One line of the log, with the time."""
    now = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
    print(f"{now} {line}", file=sys.stderr, flush=True)


class ProgressLog:
    """Progress as lines of the log."""

    def __init__(self) -> None:
        self._told_s = time.monotonic()

    def __call__(self, how_far: Progress) -> None:
        if time.monotonic() - self._told_s >= _BETWEEN_S:
            self._told_s = time.monotonic()
            of = f" of {how_far.total:,}" if how_far.total is not None else ""
            say(f"{how_far.step}: {how_far.done:,}{of} {how_far.unit}")


def _end_when_told() -> None:
    """End at once at SIGTERM, as a pod that is evicted has to: what is not committed is done again by the next Job.

    A thread waits for the signal, because Python runs handlers in the main thread alone, and not before an engine
    comes back from a query that may take minutes. Threads that start later inherit that the signal is blocked.
    """

    def wait() -> None:
        number = signal.sigwait({signal.SIGTERM})
        stopped = TransientError("the Job was told to stop", where="its pod", got=signal.Signals(number).name)
        os._exit(_failed(stopped, stopped.exit_code))

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    Thread(target=wait, name="termination", daemon=True).start()


def _tell(crash: Crash) -> None:
    _failed(crash, crash.exit_code)


def _failed(error: FeatureStoreError, exit_code: int) -> int:
    """The exit code, once the failure is logged and left for Kubernetes."""
    say(f"failed: {error}")
    named = os.environ.get(TERMINATION_LOG)
    # Outside of a pod there is no such file, and none is to be made.
    path = Path(named) if named else _KUBERNETES_LOG
    if named or path.exists():
        try:
            path.write_bytes(termination_message(as_failure(error)))
        except OSError as lost:
            say(f"the termination log cannot be written: {lost}")
    return exit_code


def termination_message(failure: Failure) -> bytes:
    """The failure as JSON of at most 4096 bytes: its longest words are cut until it fits."""
    parts = failure.model_dump()
    while len(message := Failure.model_validate(parts).model_dump_json().encode()) > _TERMINATION_BYTES:
        longest = max(
            (name for name in parts if isinstance(parts[name], str)), key=lambda name: len(parts[name])
        )
        parts[longest] = parts[longest].removesuffix("…")[: len(parts[longest]) // 2] + "…"
    return message


def _parse(text: str) -> JobRequest:
    try:
        return JobRequest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RequestError("the request cannot be read", where=where, got=first["msg"]) from error
