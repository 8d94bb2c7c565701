"""A batch that is killed at any step, or run by two at once, is committed once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from featurestore.arrivals.result import BatchResult
from featurestore_transforms.entrypoint.serve import answer

Make = Callable[..., Any]
STEPS = ["after-quarantine-commit", "after-dataset-commit", "after-result"]


def _filled(pipeline: Make) -> Any:
    p = pipeline(expectations=[{"name": "small", "that": "x < 100"}], deduplicate={"keys": ["k"]})
    p.batch(p.csv("a.csv", "k,x\na,1\nb,2\nc,300\n"))
    (p.raw / "broken.csv").write_bytes(b"\0\0")
    p.intend(p.csv("b.csv", "k,x\na,5\nd,6\ne,700\n"), "broken.csv")
    return p


def _all(p: Any) -> tuple[Any, Any]:
    return p.rows(), p.quarantine()


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_batch_ends_as_an_undisturbed_one(
    pipeline: Make, run_python: Any, command: Any, step: str
) -> None:
    p = _filled(pipeline)
    arguments = command(p.request(2))
    run_python(*arguments, kill_at=step)
    run_python(*arguments)
    killed = _all(p)
    assert [(row["k"], row["x"], row["__batch"]) for row in killed[0]] == [
        ("b", 2, 1),
        ("a", 5, 2),
        ("d", 6, 2),
    ]
    assert [(row["__batch"], row["__row"], row["rule"]) for row in killed[1]] == [
        (1, 2, "small"),
        (2, 2, "small"),
        (2, None, "file:format"),
    ]
    result = p.ledger.result(2)
    assert (result.rows_committed, result.rows_quarantined, result.files_quarantined) == (2, 1, 1)
    version = p.dataset.version
    assert p.run(2) == result
    assert p.dataset.version == version


def test_a_file_lost_between_the_two_commits_is_told(pipeline: Make, run_python: Any, command: Any) -> None:
    p = _filled(pipeline)
    run_python(*command(p.request(2)), kill_at="after-quarantine-commit")
    (p.raw / "b.csv").unlink()
    p.run(2)
    assert [(row["k"], row["x"]) for row in p.rows()] == [("a", 1), ("b", 2)]
    files = [(row["__batch"], row["__file"], row["rule"]) for row in p.quarantine() if row["__row"] is None]
    assert sorted(files) == [(2, 0, "file:gone"), (2, 1, "file:format")]


def test_a_file_that_was_gone_stays_out_if_it_comes_back(
    pipeline: Make, run_python: Any, command: Any
) -> None:
    p = _filled(pipeline)
    aside = (p.raw / "b.csv").rename(p.raw.parent / "aside.csv")
    run_python(*command(p.request(2)), kill_at="after-quarantine-commit")
    aside.rename(p.raw / "b.csv")
    p.run(2)
    assert {row["k"] for row in p.rows()} == {"a", "b"}
    assert len([row for row in p.quarantine() if row["rule"] == "file:gone"]) == 1


def test_two_processes_that_run_a_batch_at_once_commit_it_once(
    pipeline: Make, command: Any, python: str
) -> None:
    p = _filled(pipeline)
    version = p.dataset.version
    processes = [
        subprocess.Popen([python, *command(p.request(2))], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0].splitlines()[-1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    first, second = (BatchResult.model_validate(json.loads(line)["result"]) for line in said)
    assert first == second
    assert p.dataset.version == version + 1
    assert [(row["k"], row["x"]) for row in p.rows()] == [("b", 2), ("a", 5), ("d", 6)]
    assert len(p.quarantine()) == 3


def test_progress_and_result_come_as_json_lines(pipeline: Make, run_python: Any, command: Any) -> None:
    p = _filled(pipeline)
    lines = [json.loads(line) for line in run_python(*command(p.request(2))).stdout.splitlines()]
    assert [list(line) for line in lines[:-1]] == [["begun"], *[["progress"]] * (len(lines) - 2)]
    assert lines[-1]["result"]["rowsCommitted"] == 2


def test_a_request_that_fails_says_why_and_ends_with_the_errors_code(pipeline: Make, tmp_path: Any) -> None:
    p = pipeline()
    with (tmp_path / "answers").open("w+") as answers:
        code = answer(p.request(7).model_dump_json(), answers)
        answers.seek(0)
        said = json.loads(answers.read().splitlines()[-1])
    assert code == 3
    assert said["failure"]["problem"] == "no such batch"


def test_a_request_that_makes_no_sense_is_refused(tmp_path: Any) -> None:
    with (tmp_path / "answers").open("w+") as answers:
        assert answer('{"kind": "batch"}', answers) == 2
        answers.seek(0)
        assert "cannot be read" in json.loads(answers.read())["failure"]["problem"]


def test_a_process_answers_one_request_after_the_other_whatever_callables_print(
    pipeline: Make, tmp_path: Any, python: str
) -> None:
    (tmp_path / "chatty.py").write_text("def f(rows):\n    print('no JSON')\n    return rows\n")
    p = pipeline(transforms=[{"python": {"callable": "chatty:f"}}])
    numbers = [p.intend(p.csv(f"{n}.csv", f"x\n{n}\n")) for n in range(2)]
    requests = "".join(p.request(number).model_dump_json() + "\n" for number in numbers)
    said = subprocess.run(
        [python, "-m", "featurestore_transforms", "--serve"],
        input=requests,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    answers = [json.loads(line) for line in said.stdout.splitlines()]
    results = [line["result"]["number"] for line in answers if "result" in line]
    assert results == numbers, said.stderr
