"""The process that does requests: what comes back, and what happens when it dies."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featurestore.arrivals.result import BatchResult
from featurestore.errors import CodeError, FeatureStoreError, TransientError
from featurestore.failure import Failure, as_error, as_failure
from featurestore.protocol import BatchRequest
from featurestore.runner.scratch import Scratch
from featurestore.runner.worker import Worker

REQUEST = BatchRequest(root="/store", pipeline="flights", number=7)
RESULT = {
    "kind": "batch",
    "pipeline": "flights",
    "number": 7,
    "datasetVersion": 8,
    "files": 1,
    "filesQuarantined": 0,
    "rowsRead": 5,
    "rowsCommitted": 5,
    "rowsQuarantined": 0,
    "rowsDropped": 0,
    "finishedUs": 1,
}
# A process that speaks the protocol, and does what it is told with each request.
SPEAKER = """
import json, os, signal, sys
say = lambda answer: print(json.dumps(answer), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    {body}
"""


@pytest.fixture
def speak(tmp_path: Path) -> Iterator[Callable[[str], Worker]]:
    workers: list[Worker] = []

    def start(body: str) -> Worker:
        code = SPEAKER.replace("{body}", body.replace("\n", "\n    "))
        workers.append(Worker(tmp_path, [sys.executable, "-c", code]))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def ignore(progress: dict[str, Any]) -> None:
    del progress


def test_a_result_comes_back_after_its_progress(speak: Any) -> None:
    worker = speak(f"say({{'progress': {{'rows': 3}}}})\nsay({{'result': {RESULT}}})")
    heard: list[dict[str, Any]] = []
    result = worker.run(REQUEST, heard.append)
    assert isinstance(result, BatchResult)
    assert (result.number, result.dataset_version) == (7, 8)
    assert heard == [{"rows": 3}]


def test_one_process_does_all_requests(speak: Any) -> None:
    worker = speak(f"say({{'result': {{**{RESULT}, 'number': os.getpid()}}}})")
    first, second = worker.run(REQUEST, ignore), worker.run(REQUEST, ignore)
    assert first.number == second.number != os.getpid()


def test_a_failure_comes_back_as_the_error_that_it_was(speak: Any) -> None:
    failure = {"type": "CodeError", "problem": "no", "where": "here", "hint": "mend it", "retryable": False}
    worker = speak(f"say({{'failure': {failure}}})")
    with pytest.raises(CodeError) as caught:
        worker.run(REQUEST, ignore)
    assert (caught.value.where, caught.value.hint) == ("here", "mend it")
    assert caught.value.exit_code == 5


def test_what_a_callable_prints_is_not_taken_for_an_answer(speak: Any) -> None:
    worker = speak(f"print('hello')\nprint(42)\nsay({{'result': {RESULT}}})")
    assert worker.run(REQUEST, ignore).number == 7


def test_a_worker_that_the_kernel_kills_is_a_failure_that_may_heal_and_names_memory(speak: Any) -> None:
    worker = speak("os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(TransientError) as caught:
        worker.run(REQUEST, ignore)
    assert "SIGKILL" in caught.value.got
    assert "memory" in caught.value.hint
    assert caught.value.retryable


def test_the_last_words_of_a_worker_that_died_are_kept(speak: Any) -> None:
    worker = speak("sys.exit('the disk is full')")
    with pytest.raises(TransientError, match="the disk is full") as caught:
        worker.run(REQUEST, ignore)
    assert caught.value.got.startswith("exit code 1")


def test_after_a_death_the_next_request_finds_a_new_process(speak: Any, tmp_path: Path) -> None:
    flag = tmp_path / "died"
    worker = speak(
        f"if not os.path.exists({str(flag)!r}):\n    open({str(flag)!r}, 'w').close(); os._exit(9)\n"
        f"say({{'result': {RESULT}}})"
    )
    with pytest.raises(TransientError):
        worker.run(REQUEST, ignore)
    assert worker.run(REQUEST, ignore).number == 7


def test_a_worker_that_died_between_two_requests_is_started_again(speak: Any) -> None:
    worker = speak(f"say({{'result': {{**{RESULT}, 'number': os.getpid()}}}})")
    first = worker.run(REQUEST, ignore).number
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert worker.run(REQUEST, ignore).number != first


def test_ctrl_c_in_the_terminal_does_not_reach_the_worker(speak: Any) -> None:
    worker = speak(f"say({{'result': {{**{RESULT}, 'number': os.getpgid(0)}}}})")
    assert worker.run(REQUEST, ignore).number != os.getpgid(0)


def test_it_runs_in_the_projects_folder_so_that_callables_are_found(speak: Any, tmp_path: Path) -> None:
    worker = speak("say({'failure': {'type': 'CodeError', 'problem': os.getcwd(), 'retryable': False}})")
    with pytest.raises(CodeError, match=str(tmp_path)):
        worker.run(REQUEST, ignore)


@pytest.mark.parametrize("kind", ["ValueError", "Iterable", "annotations"])
def test_a_failure_of_an_unknown_class_is_still_an_error_of_the_tree(kind: str) -> None:
    assert type(as_error(Failure(type=kind, problem="no", retryable=False))) is FeatureStoreError
    assert type(as_error(Failure(type=kind, problem="no", retryable=True))) is TransientError


def test_an_error_survives_the_way_there_and_back() -> None:
    error = CodeError("a value does not fit", where="row 3", wanted="int64", got="'x'", hint="cast it")
    again = as_error(as_failure(error))
    assert (type(again), str(again)) == (CodeError, str(error))


LEAVE = """
import tempfile
say({"begun": True})
folder = tempfile.mkdtemp()
open("where", "w").write(folder)
"""


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", f"say({{'result': {RESULT}}})"])
def test_what_a_process_leaves_in_temporary_folders_goes_with_it(
    speak: Callable[[str], Worker], tmp_path: Path, end: str
) -> None:
    worker = speak(LEAVE + end)
    if "kill" in end:
        with pytest.raises(FeatureStoreError):
            worker.run(REQUEST, ignore)
    else:
        worker.run(REQUEST, ignore)
        assert Path((tmp_path / "where").read_text()).is_dir()
        worker.close()
    assert not Path((tmp_path / "where").read_text()).exists()


def test_a_folder_that_a_killed_runner_left_is_deleted_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    living = Scratch()
    (living.path / "a").write_text("in use")
    left, other = tmp_path / "featurestore-worker-left", tmp_path / "somebody-else"
    for folder in (left, other):
        folder.mkdir()
        (folder / "b").write_text("b")
    (tmp_path / "featurestore-worker-link").symlink_to(other)
    Scratch().close()
    assert (living.path / "a").exists()
    assert not left.exists()
    assert (other / "b").exists()
