"""What a Job's process says and how it ends: log lines on standard error, its failure in the termination log.

The termination log is what Kubernetes keeps of a container that has ended: the controller reads there why it failed.
https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from featurestore.errors import FeatureStoreError, RequestError, TransientError
from featurestore.job import Failure, JobRequest, Progress
from featurestore.storage import Storage

TERMINATION_LOG = "FEATURESTORE_TERMINATION_LOG"
_TERMINATION_BYTES = 4096
_BETWEEN_S = 10.0
"""Progress is logged no more often than people read."""


def main(text: str) -> int:
    """The exit code of the Job that ``text`` asks for, as JSON; see ``featurestore.errors``."""
    signal.signal(signal.SIGTERM, _evict)
    try:
        request = _parse(text)
        # The engine is loaded here, so that an error in the request is told at once.
        from featurestore_transforms.job import run_job

        run_job(Storage(request.root), request, say, _Log())
    except FeatureStoreError as error:
        say(f"failed: {error}")
        _leave(Failure.model_validate(error.to_dict()))
        return error.exit_code
    say("done")
    return 0


def say(line: str) -> None:
    """One line of the log, with the time."""
    now = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
    print(f"{now} {line}", file=sys.stderr, flush=True)


class _Log:
    """Progress as lines of the log."""

    def __init__(self) -> None:
        self._told_s = time.monotonic()

    def __call__(self, how_far: Progress) -> None:
        if time.monotonic() - self._told_s >= _BETWEEN_S:
            self._told_s = time.monotonic()
            of = f" of {how_far.total:,}" if how_far.total is not None else ""
            say(f"{how_far.step}: {how_far.done:,}{of} {how_far.unit}")


def _evict(number: int, frame: FrameType | None) -> None:
    """End now: what is not committed is done again, by the next Job."""
    failure = TransientError("the Job was told to end", where="its pod", got=signal.Signals(number).name)
    say(str(failure))
    _leave(Failure.model_validate(failure.to_dict()))
    # Engines have threads of their own that no exception here would end.
    os._exit(failure.exit_code)


def _leave(failure: Failure) -> None:
    """Write the failure where Kubernetes keeps it; its words are cut to what is kept."""
    path = Path(os.environ.get(TERMINATION_LOG, "/dev/termination-log"))
    if not path.parent.is_dir():
        return
    room = _TERMINATION_BYTES // 8
    kept = {
        name: value[:room] if isinstance(value, str) else value
        for name, value in failure.model_dump().items()
    }
    path.write_text(Failure.model_validate(kept).model_dump_json())


def _parse(text: str) -> JobRequest:
    try:
        return JobRequest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RequestError("the request cannot be read", where=where, got=first["msg"]) from error
