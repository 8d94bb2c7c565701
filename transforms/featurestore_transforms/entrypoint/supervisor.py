"""A process around the one with the engine: it sees how that one ends, and stops it when its time is over.

A process that a signal ends cannot say why, one that an engine holds cannot look at the clock, and the first process
of a container cannot be ended from within it. So the work is done by a child, and the parent has nothing to do but
to wait: it loads nothing, and shares its memory with the child.
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from featurestore.arrivals.crash import died, kernel_kills, last_words, signal_name
from featurestore.errors import Crash, OutOfTime
from featurestore.humanize import size

_LOOK_S = 0.05
_TO_TELL_S = 0.5
"""How long a process has to print where it is, which a signal handler in C does at once."""
_TRACE_BYTES = 16_000
_PDEATHSIG = 1


def supervised(work: Callable[[], int], time_limit_s: float | None, tell: Callable[[Crash], None]) -> int:
    """The exit code of ``work``, which runs in a child process; a crash of it is reported.

    It returns in the parent, when the child has ended. If a signal ended the child, the same one ends the parent, unless
    it is the first process of a container.
    """
    trace, parent, kills = tempfile.TemporaryFile(), os.getpid(), kernel_kills()  # noqa: SIM115
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        end_with(parent)
        faulthandler.enable(file=trace)
        faulthandler.register(signal.SIGUSR1, file=trace, all_threads=False)
        end_now(work())

    def forward(number: int, frame: FrameType | None) -> None:
        os.kill(child, number)

    signal.signal(signal.SIGTERM, forward)
    status, most_bytes, in_time = _wait(child, time_limit_s)
    code = os.waitstatus_to_exitcode(status)
    held = f"; it held {size(most_bytes)} at most"
    printed = os.pread(trace.fileno(), _TRACE_BYTES, 0).decode(errors="replace")
    if printed and code:
        sys.stderr.write(printed)
    words = last_words(printed)
    if not in_time:
        tell(
            OutOfTime(
                "the Job was ended: it took more time than it was given",
                where="its pod",
                wanted=f"an end within {time_limit_s:,.0f} s",
                got=f"none{held}; its last words: {words}",
                hint="Raise spec.job.activeDeadline, or make batches smaller: spec.trigger.arrivals.maxBytes",
            )
        )
        return OutOfTime.exit_code
    if code >= 0:
        return code
    got = signal_name(-code) + held + (f"; its last words: {words}" if words else "")
    hint = "Nothing is lost or doubled: it is tried again. The log of the Job says more while its pod is kept"
    tell(died("the Job", "its pod", got, printed, hint, by_kernel=kernel_kills() > kills))
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(parent, -code)
    return 128 - code


def _wait(child: int, time_limit_s: float | None) -> tuple[int, int, bool]:
    """The child's wait status, the most bytes that it held, and whether it ended by itself in time."""
    began_s = time.monotonic()
    while time_limit_s is None or time.monotonic() - began_s < time_limit_s:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            return status, usage.ru_maxrss * 1024, True
        time.sleep(_LOOK_S)
    os.kill(child, signal.SIGUSR1)
    time.sleep(_TO_TELL_S)
    os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    return status, usage.ru_maxrss * 1024, False


def end_now(code: int) -> NoReturn:
    """End this process at once: what is to last is in storage, and engines take up to a second to give back all they hold."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends, in whatever way."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
