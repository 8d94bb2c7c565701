"""A Job's process sees how its work ends, ends it when its time is over, and says so to Kubernetes."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from eventually import eventually
from examples import exhaustive
from job_request import batch_job

from featurestore.protocol import JobRequest

HAZARD = """
import ctypes, os, pathlib, signal, time
def f(rows):
    what = pathlib.Path("what").read_text()
    pathlib.Path("pid").write_text(str(os.getpid()))
    if what == "segv": ctypes.string_at(0)
    if what == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if what == "loop":
        while True: time.sleep(0.1)
    if what == "held":
        # Which does not let go of the interpreter, unlike time.sleep.
        while True: ctypes.PyDLL(None).sleep(60)
    return rows
"""


def begin(site: Any, what: str, time_limit_s: float | None = None) -> JobRequest:
    (site.folder / "hazard.py").write_text(HAZARD)
    (site.folder / "what").write_text(what)
    site.pipeline(transforms=[{"python": {"callable": "hazard:f"}}])
    number = site.arrive("1", {"a": 1})
    return batch_job(site.storage.root, "events", number, time_limit_s)


@pytest.mark.parametrize(
    ("what", "number", "words"),
    [("segv", signal.SIGSEGV, "hazard.py line 6 in f"), ("kill", signal.SIGKILL, "it held ")],
)
def test_a_signal_that_ends_the_work_ends_the_job_and_is_told(
    site: Any, what: str, number: int, words: str
) -> None:
    ended = site.end(site.start(begin(site, what)))
    assert (ended.code, ended.failure.type, ended.failure.retryable) == (-number, "WorkerKilled", True)
    assert f"signal {signal.Signals(number).name}" in ended.failure.got
    assert words in ended.failure.got


@pytest.mark.parametrize("what", ["held", *(["loop"] if exhaustive() else [])])
def test_work_that_takes_too_long_is_ended_also_while_code_holds_the_interpreter(
    site: Any, what: str
) -> None:
    ended = site.end(site.start(begin(site, what, time_limit_s=15)))
    assert (ended.code, ended.failure.type) == (75, "OutOfTime")
    assert ended.failure.wanted == "an end within 15 s"
    assert "hazard.py line " in ended.failure.got


def test_work_ends_with_the_process_that_watches_it(site: Any) -> None:
    process = site.start(begin(site, "loop"))
    eventually((site.folder / "pid").exists, timeout_s=120)
    worker = int((site.folder / "pid").read_text())
    assert worker != process.pid
    process.kill()
    process.communicate()
    eventually(lambda: _is_gone(worker))


def _is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_work_that_ends_well_is_not_spoken_of(site: Any) -> None:
    ended = site.end(site.start(begin(site, "well", time_limit_s=600)))
    assert (ended.code, ended.failure) == (0, None)
    assert ended.result["rowsCommitted"] == 1
