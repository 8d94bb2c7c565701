"""Feast, in an environment of its own, and our command line: each a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from cluster.binaries import MissingError, built
from unavailable import unavailable

_ANSWERS = Path(__file__).with_name("feast_answers.py")


def feast_python() -> str:
    """The interpreter that has Feast; where it is not installed, the test is reported as not run."""
    try:
        return str(built("bin/feast").with_name("python"))
    except MissingError as missing:
        unavailable(missing)


def feast_answers(folder: Path, *questions: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What Feast answers to each: see ``feast_answers.py``. ``folder``: for the files between the two."""
    asked, answered = folder / "questions.json", folder / "answers.json"
    asked.write_text(json.dumps(questions))
    _run([feast_python(), str(_ANSWERS), str(asked), str(answered)], {**os.environ, "TZ": "UTC"})
    answers: list[dict[str, Any]] = json.loads(answered.read_text())
    return answers


def featurestore(*arguments: str, roots: Sequence[Path] = ()) -> str:
    """What our command line prints. ``roots``: folders outside of the project that sources may lie in."""
    environment = {key: value for key, value in os.environ.items() if key != "FEATURESTORE_URI"}
    environment["FEATURESTORE_FILE_ROOTS"] = ":".join(map(str, roots))
    return _run([sys.executable, "-m", "featurestore.cli", *arguments], environment)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def assert_joined_alike(
    feast: Sequence[Mapping[str, Any]], ours: Mapping[str, Sequence[Any]], features: Sequence[str]
) -> None:
    """Each row that Feast gives is ours. It leaves out labels whose entity has rows, and none in time:
    here they are without values."""
    given = {row["row"]: row for row in feast}
    for number, row in enumerate(rows(ours, features)):
        assert row == {name: given[number][name] if number in given else None for name in features}, number
    assert any(None not in row.values() for row in given.values()), "no row has all values"


def rows(columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of these columns, as JSON has them."""
    return [
        dict(zip(names, map(_plain, values), strict=True))
        for values in zip(*(columns[name] for name in names), strict=True)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    return value.isoformat() if isinstance(value, datetime) else value
