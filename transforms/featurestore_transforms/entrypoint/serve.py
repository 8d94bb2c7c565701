"""Requests and answers as JSON lines: how a runner talks to this process.

A line in is a request. Lines out are ``{"begun": true}``, any number of ``{"progress": …}``, then ``{"result": …}`` or
``{"failure": …}``. A signal that ends the process leaves a traceback on standard error.
What users' functions print goes to standard error, so that it never gets between the lines.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
import time
import traceback
from functools import lru_cache
from typing import TextIO

from pydantic import TypeAdapter, ValidationError

from featurestore.errors import RequestError, foreseen
from featurestore.failure import as_failure
from featurestore.protocol import AnyRequest, Progress
from featurestore.storage.objects import Storage
from featurestore_transforms.batch.peak import forget_peak
from featurestore_transforms.entrypoint.engine import run
from featurestore_transforms.training.freed_memory import give_back

_REQUEST: TypeAdapter[AnyRequest] = TypeAdapter(AnyRequest)
_BETWEEN_S = 0.1
"""How often progress is reported at most."""


def own_stdout() -> TextIO:
    """Standard output for answers alone: what else is printed from now on goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer every request, until there are no more. What one leaves behind is gone before the next."""
    faulthandler.enable()
    # The engine is loaded while the first request is still on its way.
    import featurestore_transforms.batch.batch
    import featurestore_transforms.views.build  # noqa: F401

    modules = 0
    for line in requests:
        if len(sys.modules) > modules:
            # They stay: to look through them for garbage would take 50 ms after each request.
            modules = len(sys.modules)
            gc.freeze()
        if line.strip():
            answer(line, answers)
            # Garbage that refers to itself is small for Python, and may hold connections and an engine's memory.
            gc.collect()
            give_back()


def answer(request: str, answers: TextIO) -> int:
    """The exit code of the request, after its answer was written."""
    step_s, step = 0.0, ""

    def progress(how_far: Progress) -> None:
        nonlocal step_s, step
        # A new step is told at once: it may be the last one.
        if time.monotonic() - step_s >= _BETWEEN_S or how_far.step != step:
            step_s, step = time.monotonic(), how_far.step
            answers.write(f'{{"progress": {how_far.model_dump_json(by_alias=True)}}}\n')

    try:
        asked = _parse(request)
        answers.write('{"begun": true}\n')
        forget_peak()
        result = run(_storage(asked.root), asked, progress)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - panics of engines and exits of callables are answers, too
        known = foreseen(error)
        if known is not error:
            traceback.print_exception(error)
        answers.write(f'{{"failure": {as_failure(known).model_dump_json(by_alias=True)}}}\n')
        return known.exit_code
    answers.write(f'{{"result": {result.model_dump_json(by_alias=True)}}}\n')
    return 0


@lru_cache(maxsize=1)
def _storage(root: str) -> Storage:
    """The same for each request: what one has opened of a table, the next one finds open."""
    return Storage(root)


def _parse(text: str) -> AnyRequest:
    try:
        return _REQUEST.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RequestError("the request cannot be read", where=where, got=first["msg"]) from error
