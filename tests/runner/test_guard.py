"""A process keeps within the memory and the time that it was given, and it is said what it exceeded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from featurestore.errors import Crash, OutOfMemory, OutOfTime, TransientError, Unforeseen, WorkerKilled
from featurestore.protocol import BatchRequest
from featurestore.resources.data_pipeline import Resources
from featurestore.runner.guard import Limits, held_bytes, laptop_memory
from featurestore.runner.worker import Worker

REQUEST = BatchRequest(root="/store", pipeline="flights", number=7)
RESULT = {
    **{"kind": "part", "pipeline": "flights", "number": 7, "first": 0, "stop": 1},
    **{"rowsRead": 5, "finishedUs": 1},
}
SPEAKER = """
import json, mmap, os, signal, sys, time
say = lambda answer: print(json.dumps(answer), flush=True)
for line in sys.stdin:
    say({"begun": True})
    {body}
"""
MIB = 1 << 20
Speak = Callable[[str], Worker]


@pytest.fixture
def speak(tmp_path: Path) -> Iterator[Speak]:
    workers: list[Worker] = []

    def start(body: str) -> Worker:
        code = SPEAKER.replace("{body}", body.replace("\n", "\n    "))
        workers.append(Worker(tmp_path, [sys.executable, "-c", code]))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def crash(worker: Worker, limits: Limits) -> Crash:
    with pytest.raises(Crash) as caught:
        worker.run(REQUEST, lambda progress: None, limits)
    return caught.value


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all resident memory counts")
def test_a_process_that_takes_more_memory_than_it_was_given_is_ended_near_the_bound(speak: Speak) -> None:
    worker = speak("held = []\nwhile True: held.append(b'x' * (1 << 20))")
    error = crash(worker, Limits(memory_bytes=200 * MIB))
    assert isinstance(error, OutOfMemory)
    assert error.wanted == "at most 200.0 MiB"
    number, unit = error.got.split(";")[0].split()
    assert unit == "MiB"
    assert 200 < float(number) < 2000


def test_a_process_that_takes_more_time_than_it_was_given_is_ended(speak: Speak) -> None:
    worker = speak("say({'progress': {'step': 'read rows'}})\nwhile True: pass")
    error = crash(worker, Limits(time_s=0.5))
    assert isinstance(error, OutOfTime)
    assert "last step: read rows" in error.got
    assert "spec.job.activeDeadline" in error.hint


def test_what_a_process_started_ends_with_it(speak: Speak, tmp_path: Path) -> None:
    worker = speak(
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    assert isinstance(crash(worker, Limits(time_s=2)), OutOfTime)
    child = int((tmp_path / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all resident memory counts")
def test_files_that_are_mapped_do_not_count(speak: Speak, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (300 * MIB))
    worker = speak(
        "file = open('large', 'rb')\n"
        "mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
        "sum(mapped[at] for at in range(0, len(mapped), 4096))\n"
        f"say({{'result': {RESULT}}})"
    )
    assert worker.run(REQUEST, lambda progress: None, Limits(memory_bytes=150 * MIB)).number == 7


def test_a_process_that_keeps_much_memory_is_replaced_before_the_next_request(speak: Speak) -> None:
    worker = speak(
        "if 'held' not in globals(): held = b'x' * (100 << 20)\n"
        f"say({{'result': {{**{RESULT}, 'number': os.getpid()}}}})"
    )
    limits = Limits(memory_bytes=250 * MIB)
    first, second = (worker.run(REQUEST, lambda progress: None, limits).number for _ in range(2))
    assert first != second


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a score")
def test_the_kernel_ends_the_worker_rather_than_the_runner(speak: Speak) -> None:
    worker = speak(f"say({{'result': {{**{RESULT}, 'number': os.getpid()}}}})")
    number = worker.run(REQUEST, lambda progress: None).number
    scores = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (number, os.getpid())]
    assert scores[0] > scores[1]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", WorkerKilled, "signal SIGSEGV"),
        ("os._exit(9)", WorkerKilled, "exit code 9"),
        ("print('memory allocation of 9 bytes failed', file=sys.stderr)\nos.abort()", OutOfMemory, "SIGABRT"),
    ],
)
def test_how_a_process_died_is_told(speak: Speak, body: str, kind: type[Crash], words: str) -> None:
    error = crash(speak(body), Limits())
    assert type(error) is kind
    assert words in error.got


def test_a_process_that_died_before_it_began_says_nothing_of_its_request(tmp_path: Path) -> None:
    worker = Worker(tmp_path, [sys.executable, "-c", "import os; os.abort()"])
    with pytest.raises(TransientError, match="died before it started") as caught:
        worker.run(REQUEST, lambda progress: None)
    worker.close()
    assert not isinstance(caught.value, Crash)


def test_an_error_that_nobody_foresaw_is_told_as_one_and_the_process_stays(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    root = tmp_path / "root"
    (root / "ledger/flights/manifests/000000000").mkdir(parents=True)
    (root / "ledger/flights/manifests/000000000/000000000007.json").write_text("[]")
    request = BatchRequest(root=str(root), pipeline="flights", number=7)
    worker.warm()
    before = worker.pid
    with pytest.raises((Unforeseen, TransientError)):
        worker.run(request, lambda progress: None)
    assert worker.pid == before
    worker.close()


def test_memory_grows_after_it_was_too_little_only_as_far_as_the_spec_says() -> None:
    limited = Resources.model_validate({"memory": "1Gi", "memoryLimit": "3Gi"})
    assert [laptop_memory(limited, times) >> 20 for times in range(4)] == [1024, 2048, 3072, 3072]
    assert laptop_memory(Resources.model_validate({"memory": "1Gi"}), 3) == 1 << 30


def test_the_memory_of_a_process_that_is_gone_is_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    assert held_bytes(process.pid) == 0
    assert held_bytes(os.getpid()) > MIB
