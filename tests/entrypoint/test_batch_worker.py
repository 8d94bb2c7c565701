"""A worker that stays, as a process with the arguments of its pod, asked as the operator asks it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually
from examples import exhaustive, sample
from job_request import STEPS
from server import free_port

from featurestore.errors import TransientError
from featurestore.kubectl.log_sections import worker_sections
from featurestore.protocol import WORKER_PORT, WarmBatch
from featurestore.resources import DataPipeline
from featurestore.storage.delta import Table
from featurestore_operator.jobs.worker_call import WorkerCall

NAME = "events"
KILLS = 120 if exhaustive() else 4
LONGEST_S = 0.6
"""A batch of one row takes about so long."""
CALLABLE = """
import os, time
from pathlib import Path

def step(frame):
    Path("begun").touch()
    if Path("crash").exists():
        os.abort()
    while Path("wait").exists():
        time.sleep(0.01)
    return frame
"""


class Worker:
    """``kind``: of the pipelines that it runs batches of."""

    def __init__(self, site: Any, kind: str = "", **environment: str) -> None:
        port = free_port()
        # All workers have the same port, so each has an address of its own.
        self.address = f"127.{port >> 8}.{port & 255}.9"
        self.log = site.folder / f"{self.address}.log"
        kind = kind or site.registry.current(DataPipeline, NAME).resource.spec.worker_kind
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "featurestore_transforms",
                    "--worker",
                    site.storage.root,
                    "--kind",
                    kind,
                ],
                cwd=site.folder,
                env={**os.environ, "FEATURESTORE_WORKER_HOST": self.address, **environment},
                stderr=log,
            )
        eventually(self.answers, 120, self.log.read_text)

    def answers(self) -> bool:
        try:
            socket.create_connection((self.address, WORKER_PORT), timeout=1).close()
        except OSError:
            return False
        return True

    def call(self, number: int, pipeline: str = NAME, time_limit_s: float = 600.0) -> WorkerCall:
        batch = WarmBatch(pipeline=pipeline, number=number, time_limit_s=time_limit_s)
        return WorkerCall("prod", "worker-1", self.address, batch)

    def run(self, number: int, **more: Any) -> bool:
        """Whether the worker says that the batch is in storage."""
        return self.call(number, **more).run()


@pytest.fixture
def start(site: Any) -> Iterator[Callable[..., Worker]]:
    """Starts workers, which end with the test."""
    site.pipeline(execution="Warm")
    started: list[Worker] = []

    def start_one(**more: str) -> Worker:
        started.append(Worker(site, **more))
        return started[-1]

    yield start_one
    for worker in started:
        worker.process.kill()
        worker.process.wait()


@pytest.fixture
def held(site: Any, start: Callable[..., Worker]) -> Iterator[tuple[Worker, WorkerCall, Future[bool]]]:
    """A worker that is at work at batch 1 until the file ``wait`` is gone; the call, and what it comes to."""
    (site.folder / "held.py").write_text(CALLABLE)
    (site.folder / "wait").touch()
    site.pipeline(execution="Warm", transforms=[{"python": {"callable": "held:step"}}])
    worker, number = start(), site.arrive("1", {"a": 1})
    call = worker.call(number)
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(call.run)
        eventually((site.folder / "begun").exists, 120, worker.log.read_text)
        yield worker, call, ended
        call.cancel()


def test_one_batch_after_the_other_comes_to_readers_by_one_process(
    site: Any, start: Callable[..., Worker]
) -> None:
    site.view("things")
    worker = start()
    for value in (1, 2, 3):
        assert worker.run(site.arrive(f"{value}", {"a": value})), worker.log.read_text()
        assert site.online("things", "a") == [value]
    assert site.rows() == 3
    assert worker.process.poll() is None


def test_a_batch_that_was_run_is_not_run_again(site: Any, start: Callable[..., Worker]) -> None:
    worker, number = start(), site.arrive("1", {"a": 1})
    assert worker.run(number)
    assert not worker.run(number)
    assert site.rows() == 1


def test_two_workers_at_the_same_batch_commit_it_once(site: Any, start: Callable[..., Worker]) -> None:
    workers, number = [start(), start()], site.arrive("1", {"a": 1, "b": 2})
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lambda worker: worker.run(number), workers))
    assert any(ends)
    assert site.rows() == 2


def test_whoever_reaches_it_can_have_done_what_is_due_and_nothing_else(
    site: Any, start: Callable[..., Worker]
) -> None:
    worker = start()
    number = site.arrive("1", {"a": 1})
    later = site.arrive("2", {"a": 2})
    assert not worker.run(later), "batch 1 comes first"
    assert not worker.run(number, pipeline="others")
    site.pipeline(execution="Warm", resources={"memory": "1Gi"})
    assert not worker.run(number), "its pods have other memory now"
    site.pipeline()
    assert not worker.run(number), "it wants no workers"
    assert site.rows() == 0
    for method, body in (
        ("POST", b"{"),
        ("POST", b"x" * 100_000),
        ("GET", b""),
        ("POST", b'{"root": "/etc"}'),
        ("POST", b'{"pipeline": "../events", "number": 1, "timeLimitS": 60}'),
        ("POST", b'{"pipeline": "events\\nforged", "number": 1, "timeLimitS": 60}'),
    ):
        connection = http.client.HTTPConnection(worker.address, WORKER_PORT, timeout=60)
        connection.request(method, "/", body)
        assert connection.getresponse().status in (400, 501)
        connection.close()
    site.pipeline(execution="Warm")
    assert worker.run(number)


def test_a_batch_that_crashes_harms_no_other(site: Any, start: Callable[..., Worker]) -> None:
    (site.folder / "held.py").write_text(CALLABLE)
    (site.folder / "crash").touch()
    site.pipeline(execution="Warm", transforms=[{"python": {"callable": "held:step"}}])
    worker, number = start(), site.arrive("1", {"a": 1})
    assert not worker.run(number)
    assert "SIGABRT" in worker.log.read_text()
    (site.folder / "crash").unlink()
    assert worker.run(number)
    assert site.rows() == 1


def test_its_log_has_what_was_logged_about_each_batch(site: Any, start: Callable[..., Worker]) -> None:
    worker = start()
    assert worker.run(site.arrive("1", {"a": 1}))
    site.pipeline(execution="Warm", transforms=[{"python": {"callable": "absent:step"}}])
    assert not worker.run(site.arrive("2", {"a": 2}))
    # As kubectl gives it.
    log = "".join(f"2026-01-01T00:00:00.123456789Z {line}\n" for line in worker.log.read_text().splitlines())
    first, second = worker_sections(NAME, "worker-1", log)
    assert (first.work, second.work) == ("batch/events/1", "batch/events/2")
    assert ": done after " in first.lines[-1]
    assert "failed: " in str(second)
    assert "absent" in str(second)
    assert "failed: " not in str(first)
    assert [*worker_sections("others", "worker-1", log)] == []


def test_who_comes_while_a_batch_runs_is_turned_away_at_once(
    site: Any, held: tuple[Worker, WorkerCall, Future[bool]]
) -> None:
    worker, _, ended = held
    assert worker.answers(), "a probe finds it alive"
    with suppress(TransientError):  # The answer may be lost with the request that nobody read.
        assert not worker.run(1)
    assert not ended.done()
    (site.folder / "wait").unlink()
    assert ended.result(120)


def test_a_batch_ends_with_who_asked_for_it_and_the_next_one_is_run(
    site: Any, held: tuple[Worker, WorkerCall, Future[bool]]
) -> None:
    worker, call, ended = held
    call.cancel()
    assert not ended.result(120)
    assert site.rows() == 0
    (site.folder / "wait").unlink()
    assert worker.run(1)


def test_a_batch_that_takes_more_than_its_time_is_ended(site: Any, start: Callable[..., Worker]) -> None:
    (site.folder / "held.py").write_text(CALLABLE)
    (site.folder / "wait").touch()
    site.pipeline(execution="Warm", transforms=[{"python": {"callable": "held:step"}}])
    worker = start()
    assert not worker.run(site.arrive("1", {"a": 1}), time_limit_s=0.5)
    assert "its time is over" in worker.log.read_text()


def test_a_worker_that_is_told_to_end_lets_its_batch_end_first(
    site: Any, held: tuple[Worker, WorkerCall, Future[bool]]
) -> None:
    worker, _, ended = held
    worker.process.terminate()
    (site.folder / "wait").unlink()
    assert ended.result(120)
    assert worker.process.wait(120) == 0
    assert site.rows() == 1


def test_what_a_killed_batch_wrote_to_its_temporary_folder_is_gone(
    site: Any, start: Callable[..., Worker]
) -> None:
    (site.folder / "tmp").mkdir()
    (site.folder / "held.py").write_text(
        "import os, tempfile\ndef step(frame):\n    tempfile.mkstemp()\n    os.kill(os.getpid(), 9)\n"
    )
    site.pipeline(execution="Warm", transforms=[{"python": {"callable": "held:step"}}])
    worker = start(TMPDIR=str(site.folder / "tmp"))
    assert not worker.run(site.arrive("1", {"a": 1}))
    assert list(Path(site.folder / "tmp").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("step", sample(STEPS, 1))
def test_a_batch_that_is_killed_at_any_step_is_finished_by_a_job(
    site: Any, start: Callable[..., Worker], step: str
) -> None:
    site.view("things")
    worker = start(FEATURESTORE_KILL_AT=step)
    number = site.arrive("1", {"a": 1, "b": 2})
    assert not worker.run(number)
    ended = site.job(number=number)
    assert (ended.code, ended.failure) == (0, None), ended.log
    assert (site.rows(), site.online("things", "a", "b")) == (2, [1, 2])


@pytest.mark.slow
def test_after_workers_that_are_killed_at_any_moment_each_row_is_there_once(
    site: Any, start: Callable[..., Worker]
) -> None:
    site.view("things")
    ends = []
    for kill in range(1, KILLS + 1):
        worker, number = start(), site.arrive(f"{kill}", {"a": kill})
        timer = threading.Timer(LONGEST_S * kill / KILLS, worker.process.send_signal, [signal.SIGKILL])
        timer.start()
        try:
            ends.append(worker.run(number))
        except TransientError:
            ends.append(False)
        timer.join()
        if not ends[-1]:
            # At once: what the worker had begun may still be at work.
            assert site.job(number=number).code == 0
    assert not all(ends)
    table = Table.open(site.storage, f"datasets/{NAME}")
    assert table is not None
    assert site.rows() == KILLS
    assert site.job(view="things").code == 0
    assert site.online("things", "a") == [KILLS]


def test_nothing_that_it_imports_leaves_a_thread_that_a_fork_would_lose(
    start: Callable[..., Worker],
) -> None:
    worker = start()
    threads = Path(f"/proc/{worker.process.pid}/task").iterdir()
    names = {(each / "comm").read_text().strip() for each in threads if each.name != str(worker.process.pid)}
    # Of allocators, which know of forks, and of Polars, which looks for what queries wrote to disk.
    assert names <= {"jemalloc_bg_thd", "polars-ooc-clea"}
