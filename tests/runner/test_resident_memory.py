"""A soak says of a process that leaks that it grows, and of one that has warmed up that it does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench.resident_memory import ResidentMemory

KIB_A_BATCH = 160
"""What the worker of a laptop once leaked."""
BATCHES = 200
BATCH_S = 5.0
LEAKING = """
import sys
kept = []
for line in sys.stdin:
    kept.append(bytearray(b"x" * (int(line) << 10)))
    print("done", flush=True)
"""

Take = Callable[[int], None]


@contextmanager
def process() -> Iterator[tuple[int, Take]]:
    """A process, and what has it take so many KiB for ever."""
    command = [sys.executable, "-c", LEAKING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def take(kib: int) -> None:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(f"{kib}\n")
            child.stdin.flush()
            assert child.stdout.readline() == "done\n"

        yield child.pid, take


def fault(kib: Sequence[int], batch_s: float = BATCH_S) -> str:
    """What is said of a process that takes so much with each of its batches."""
    memory = ResidentMemory()
    with process() as (pid, take):
        for number, each in enumerate(kib):
            take(each)
            memory.sample(number * batch_s, {"worker": pid}, {"worker": number})
    return memory.fault("worker")


def test_a_process_that_leaks_with_each_batch_is_at_fault() -> None:
    assert "worker grows by" in fault([KIB_A_BATCH] * BATCHES)


def test_a_leak_is_seen_behind_much_that_was_taken_to_warm_up() -> None:
    warm = BATCHES // 4
    assert "worker grows by" in fault([4 * KIB_A_BATCH] * warm + [KIB_A_BATCH] * (BATCHES - warm))


def test_a_leak_is_seen_on_a_machine_that_does_few_batches_in_a_minute() -> None:
    few_s = 60.0
    said = fault([KIB_A_BATCH] * 40, few_s)
    assert "worker grows by +0.1" in said
    assert "KiB a batch" in said


def test_a_process_that_has_warmed_up_is_not_at_fault() -> None:
    assert fault([KIB_A_BATCH] * (BATCHES // 2) + [0] * (BATCHES // 2)) == ""


def test_processes_that_none_lived_long_enough_to_be_judged_are_at_fault() -> None:
    memory = ResidentMemory()
    for number in range(6):
        with process() as (pid, _):
            for second in range(0, 400, 100):
                memory.sample(400.0 * number + second, {"worker": pid}, {"worker": 0})
    assert "nobody knows whether it grows" in memory.fault("worker")


def test_a_short_look_says_nothing() -> None:
    memory = ResidentMemory()
    with process() as (pid, take):
        take(10_000)
        memory.sample(0.0, {"worker": pid}, {"worker": 0})
        memory.sample(60.0, {"worker": pid}, {"worker": 1})
    assert (memory.growth("worker"), memory.fault("worker")) == (None, "")
