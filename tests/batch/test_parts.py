"""A batch that is read part by part becomes what it becomes as a whole, whatever is killed or repeated on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from examples import sample

from featurestore.arrivals.isolation import Trial
from featurestore.errors import Conflict
from featurestore.failure import Failure
from featurestore.quarantine.replay import replay
from featurestore_transforms.batch.batch import run_batch

Make = Callable[..., Any]
CRASH = Failure(type="WorkerKilled", problem="died", got="signal SIGSEGV", retryable=True)
STEPS = ["before-part", "after-part", "after-quarantine-commit", "after-dataset-commit", "after-result"]
SPEC: dict[str, Any] = {
    "expectations": [{"name": "small", "that": "x < 100"}],
    "deduplicate": {"keys": ["k"]},
}


def _arrived(p: Any) -> int:
    p.batch(p.csv("0.csv", "k,x\na,1\nb,2\nc,300\n"))
    (p.raw / "5.csv").write_bytes(b"\0\0")
    files = [p.csv(f"{n}.csv", f"k,x,new{n}\na,{n},\nd{n},{n},1\ne,{n}00,\n") for n in range(1, 5)]
    return int(p.intend(*files, "5.csv"))


def _crash(p: Any, number: int) -> None:
    at = p.ledger.isolation(number)
    assert p.ledger.try_trial(number, at.turn, Trial(first=at.first, stop=at.stop, ended_us=1, crash=CRASH))


def _request(p: Any, number: int) -> Any:
    return p.request(number).model_copy(update={"turn": p.ledger.isolation(number).turn})


def _finish(p: Any, number: int, killer: int | None = None) -> None:
    """Attempt after attempt until the batch is committed, where one file ends each process that reads it."""
    while p.ledger.committed_batch() < number:
        at = p.ledger.isolation(number)
        if killer is not None and at.first <= killer < at.stop:
            _crash(p, number)
        else:
            run_batch(p.storage, _request(p, number), lambda progress: None)


def _seen(p: Any) -> tuple[Any, Any]:
    """All rows of dataset and quarantine, but for the versions of files, which each test writes anew."""
    return p.rows(), [{**row, "version": ""} for row in p.quarantine()]


def test_parts_come_to_what_the_whole_comes_to(maker: Any, tmp_path: Any) -> None:
    seen, results = [], []
    for name, crashes in (("whole", 0), ("halved", 2), ("quartered", 3)):
        p = maker(str(tmp_path / name), tmp_path / "raw", {**SPEC, "schemaPolicy": {"newColumn": "Evolve"}})
        number = _arrived(p)
        for _ in range(crashes):
            _crash(p, number)
        _finish(p, number)
        seen.append(_seen(p))
        results.append(
            p.ledger.result(number).model_dump(
                exclude={"finished_us", "peak_bytes", "took_us", "dataset_bytes"}
            )
        )
    assert seen[0] == seen[1] == seen[2]
    assert results[0] == results[1] == results[2]


def test_all_but_the_killer_is_committed_and_the_killer_runs_again_when_it_is_asked_for(
    pipeline: Make,
) -> None:
    p = pipeline()
    number = p.intend(*(p.csv(f"{n}.csv", f"x\n{n}\n") for n in range(5)))
    _finish(p, number, killer=3)
    assert [row["x"] for row in p.rows("x")] == [0, 1, 2, 4]
    (refused,) = p.quarantine("uri", "rule", "reason", "__row")
    assert (refused["rule"], refused["__row"]) == ("file:killed", None)
    assert refused["uri"].endswith("3.csv")
    assert "signal SIGSEGV" in refused["reason"]
    assert p.ledger.result(number).files_refused == {"file:killed": 1}
    assert replay(p.storage, "events", now_us=1) is not None
    p.run()
    assert sorted(row["x"] for row in p.rows("x")) == [0, 1, 2, 3, 4]


def test_a_batch_of_one_file_that_kills_is_committed_without_it(pipeline: Make) -> None:
    p = pipeline()
    p.batch(p.csv("0.csv", "x\n0\n"))
    _finish(p, p.intend(p.csv("1.csv", "x\n1\n")), killer=0)
    assert p.rows("x") == [{"x": 0}]
    assert [row["rule"] for row in p.quarantine()] == ["file:killed"]


def test_the_first_batch_may_be_nothing_but_killers(pipeline: Make) -> None:
    p = pipeline()
    number = p.intend(p.csv("0.csv", "x\n0\n"))
    _finish(p, number, killer=0)
    assert p.ledger.result(number).rows_committed == 0
    p.batch(p.csv("1.csv", "x\n1\n"))
    assert p.rows("x") == [{"x": 1}]


def test_a_rule_that_fails_the_batch_fails_it_also_when_only_one_part_breaks_it(pipeline: Make) -> None:
    p = pipeline(expectations=[{"name": "small", "that": "x < 100", "otherwise": "FailBatch"}])
    p.batch(p.csv("first.csv", "x\n1\n"))
    number = p.intend(*(p.csv(f"{n}.csv", f"x\n{n * 60}\n") for n in range(4)))
    _finish(p, number, killer=0)
    assert p.rows("x") == [{"x": 1}]
    rules = [(row["__file"], row["rule"]) for row in p.quarantine() if row["__batch"] == number]
    assert rules == [(0, "file:killed"), *((n, "batch:small") for n in (1, 2, 3))]


@pytest.mark.parametrize("step", sample(STEPS, 2))
def test_a_halved_batch_that_is_killed_at_any_step_ends_as_an_undisturbed_one(
    pipeline: Make, python: str, command: Any, step: str
) -> None:
    p = pipeline(**SPEC, schemaPolicy={"newColumn": "Ignore"})
    number = _arrived(p)
    for _ in range(2):
        _crash(p, number)
    killed = 0
    while p.ledger.committed_batch() < number:
        # Killed once at each attempt that comes to the step, and not the next time.
        request = _request(p, number)
        environment = {**os.environ, "FEATURESTORE_KILL_AT": step}
        ended = subprocess.run([python, *command(request)], env=environment, capture_output=True, check=False)
        killed += ended.returncode == -signal.SIGKILL
        if p.ledger.committed_batch() < number and p.ledger.isolation(number).turn == request.turn:
            subprocess.run([python, *command(request)], capture_output=True, check=True)
    assert killed
    rows = [(row["k"], row["x"]) for row in p.rows() if row["__batch"] == number]
    assert sorted(rows) == [("a", 4), ("d1", 1), ("d2", 2), ("d3", 3), ("d4", 4)]
    refused = [
        (row["__file"], row["__row"], row["rule"]) for row in p.quarantine() if row["__batch"] == number
    ]
    assert refused == [*((n, 2, "small") for n in range(4)), (4, None, "file:format")]
    result = p.ledger.result(number)
    assert (result.rows_read, result.rows_quarantined, result.files_quarantined) == (12, 4, 1)


def test_two_processes_at_one_part_keep_it_once(pipeline: Make, command: Any, python: str) -> None:
    p = pipeline()
    number = p.intend(*(p.csv(f"{n}.csv", f"x\n{n}\n") for n in range(4)))
    for _ in range(2):
        _crash(p, number)
    arguments = [python, *command(_request(p, number))]
    both = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    last = [json.loads(process.communicate()[0].splitlines()[-1]) for process in both]
    kept = [line["result"] for line in last if "result" in line]
    assert {(it["kind"], it["first"], it["stop"]) for it in kept} == {("part", 0, 2)}
    assert all(line["failure"]["type"] == "Conflict" for line in last if "failure" in line)
    _finish(p, number)
    assert [row["x"] for row in p.rows("x")] == [0, 1, 2, 3]


def test_an_attempt_that_is_not_due_any_more_does_nothing(pipeline: Make) -> None:
    p = pipeline()
    number = p.intend(p.csv("0.csv", "x\n0\n"))
    late = _request(p, number)
    _crash(p, number)
    with pytest.raises(Conflict, match="another attempt is due"):
        run_batch(p.storage, late, lambda progress: None)


def test_rows_of_a_part_are_left_out_if_their_file_was_refused_meanwhile(
    pipeline: Make, run_python: Any, command: Any
) -> None:
    """A whole run that was killed between its commits had found a file gone, which is back for the parts."""
    p = pipeline()
    number = p.intend(*(p.csv(f"{n}.csv", f"x\n{n}\n") for n in range(4)))
    whole = _request(p, number)
    for _ in range(2):
        _crash(p, number)
    run_batch(p.storage, _request(p, number), lambda progress: None)
    aside = (p.raw / "1.csv").rename(p.raw.parent / "aside.csv")
    trials = Path(p.storage.root) / "ledger/events/trials"
    hidden = trials.rename(p.raw.parent / "trials")
    run_python(*command(whole), kill_at="after-quarantine-commit")
    hidden.rename(trials)
    aside.rename(p.raw / "1.csv")
    _finish(p, number)
    assert [row["x"] for row in p.rows("x")] == [0, 2, 3]
    assert [(row["__file"], row["rule"]) for row in p.quarantine()] == [(1, "file:gone")]
