"""What is known of a process with the data engine that did not end by itself."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

from featurestore.errors import Crash, OutOfMemory, WorkerKilled
from featurestore.failure import Failure, as_error

_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
_NO_MEMORY = "memory allocation of"
"""What Rust's allocator says when it is refused."""
_SAID, _PLACES = 500, 3
_TRACES = ("Fatal Python error: ", "Stack (most recent call first)")
"""How Python's fault handler begins, when a signal ends the process and when it is asked."""


def is_crash(failure: Failure) -> bool:
    """Whether the process with the data engine did not end by itself."""
    return isinstance(as_error(failure), Crash)


def is_from_outside(failure: Failure) -> bool:
    """Whether somebody may have ended the process: by a signal that people and systems send, and engines do not."""
    return failure.type == "WorkerKilled" and any(f"signal {name}" in failure.got for name in _OUTSIDE)


def died(what: str, where: str, got: str, stderr: str, hint: str, *, by_kernel: bool) -> Crash:
    """How ``what`` died. ``got``: what was seen; ``stderr``: its last words; ``by_kernel``: memory had ended."""
    if by_kernel or _NO_MEMORY in stderr:
        hint = (
            "Raise spec.resources.memory and memoryLimit, or make batches smaller: "
            "spec.trigger.arrivals.maxBytes"
        )
        return OutOfMemory(f"{what} ran out of memory", where=where, got=got, hint=hint)
    return WorkerKilled(f"{what} died before it answered", where=where, got=got, hint=hint)


def signal_name(number: int) -> str:
    """
    >>> signal_name(11), signal_name(99)
    ('signal SIGSEGV', 'signal 99')
    """
    with suppress(ValueError):
        return f"signal {signal.Signals(number).name}"
    return f"signal {number}"


def last_words(stderr: str) -> str:
    r"""What a process said before it died, in one line; of a traceback of its end, the places that it was at.

    >>> last_words('Fatal Python error: Aborted\n\nThread 0x1 (most recent call first):\n  File "a/b.py", line 4 in f')
    'Fatal Python error: Aborted, in b.py line 4 in f'
    """
    begin = max(stderr.rfind(mark) for mark in _TRACES)
    if begin < 0:
        return " ".join(stderr[-_SAID:].split())
    before, (first, *lines) = stderr[max(0, begin - _SAID) : begin], stderr[begin:].splitlines()
    words = " ".join([*before.split(), *([first] if first.startswith(_TRACES[0]) else [])])
    places = _places(lines)
    return ", ".join(filter(None, [words, f"in {', '.join(places)}" if places else ""]))


def _places(lines: list[str]) -> list[str]:
    """Where the thread was that met the signal; if it ran no Python, the thread that is told last: the main one."""
    threads: list[list[str]] = [[]]
    current = threads[0]
    for line in lines:
        if line.startswith(("Thread 0x", "Current thread 0x")):
            threads.append([])
            if line.startswith("Current"):
                current = threads[-1]
        elif line.startswith("  File "):
            file, _, rest = line.strip().removeprefix('File "').partition('", ')
            threads[-1].append(f"{file.rpartition('/')[2]} {rest}")
    return (current or threads[-1])[:_PLACES]


def kernel_kills() -> int:
    """How many processes the kernel has ended for want of memory since it began; 0 where it does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
