"""Memory of a build: what rows may take of the bound on the whole process, and what is freed goes back to the system.

An allocator that keeps what was freed, for each thread, makes a process that reads in threads grow far beyond what it
holds. So Arrow takes its memory from the C library meanwhile, and that is asked to give back what is free.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from featurestore.runner.guard import held_bytes

_MARGIN = 6
"""Share of the bound that is for what cannot be counted: buffers of threads, what lies between pieces of memory."""
_ARENA_MAX, _ARENAS = -8, 2
"""As malloc.h of the GNU C library has it. Nought: as many as it likes."""
LEAST_BYTES = 64 * 2**20


def room_for_rows(memory_bytes: int) -> int:
    """What is left of a bound on the whole process, beside what it holds already; some in any case."""
    return max(memory_bytes - held_bytes(os.getpid()) - memory_bytes // _MARGIN, LEAST_BYTES)


@contextmanager
def from_the_system() -> Iterator[None]:
    """Arrow's memory is the C library's meanwhile, with few places of its own for threads."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    _set(_ARENA_MAX, _ARENAS)
    try:
        yield
    finally:
        pa.set_memory_pool(before)
        _set(_ARENA_MAX, 0)


def give_back() -> None:
    """Nothing that is free is held any more, where the C library can do that."""
    pa.default_memory_pool().release_unused()
    if _trim is not None:
        _trim(0)


_library = ctypes.CDLL(None)
_trim: Callable[[int], Any] | None = getattr(_library, "malloc_trim", None)
_set: Callable[[int, int], Any] = getattr(_library, "mallopt", lambda option, value: None)
