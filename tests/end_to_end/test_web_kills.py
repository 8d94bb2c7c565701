"""A pipeline of files on a web server is killed at each step: the end is as of a run that nothing disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from event_specs import NAME, START, STEPS, VIEW
from events import Events
from examples import exhaustive
from web_folder import ALL, WebFolder, web_folder

COLUMNS = [
    {"name": "at", "type": "timestamp"},
    {"name": "level", "type": "string"},
    {"name": "n", "type": "int64"},
]


@pytest.fixture(scope="module")
def web() -> Iterator[WebFolder]:
    with web_folder() as folder:
        yield folder


def csv(*numbers: int, level: str = "info") -> str:
    return "at,level,n\n" + "".join(f"2024-01-01T00:00:{n % 60:02d}Z,{level},{n}\n" for n in numbers)


def story(web: WebFolder, folder: Path, *kill: tuple[str, int]) -> list[Any]:
    """What is kept of files that come, change, and are gone, where the runner is killed once in each of two runs."""
    web.files.clear()
    web.changed.clear()
    web.tells = ALL
    events = Events[Any](folder / "project", web).apply({"onOverwrite": "Replace"}, columns=COLUMNS)
    events.laptop.apply(VIEW)

    def disturbed() -> AbstractContextManager[None]:
        return events.laptop.killed_at(*kill[0]) if kill else nullcontext()

    web.put("raw/a.csv", csv(1, 500))
    web.put("raw/b.csv", csv(2))
    web.write_index("raw/a.csv", "raw/b.csv", "raw/c.csv")
    with disturbed():
        events.run()
    events.run()
    web.put("raw/a.csv", csv(1, 3))
    web.put("raw/c.csv", csv(4, 600, level="warning"))
    del web.files["raw/b.csv"]
    with disturbed():
        events.run()
    events.run()
    manifests = (events.ledger.manifest(n + 1) for n in range(events.ledger.last_batch()))
    taken = [
        sorted((entry.arrival.uri[-5:], str(entry.action)) for entry in each.entries) for each in manifests
    ]
    at = {"level": ["info", "warning"], "event_timestamp": [START + timedelta(hours=1)] * 2}
    return [
        *events.laptop.kept_rows(NAME),
        taken,
        events.laptop.store(START).get_features("levels:n", at).to_dict(),
    ]


@pytest.fixture(scope="module")
def clean(web: WebFolder, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What comes of it when nothing disturbs the runs."""
    return story(web, tmp_path_factory.mktemp("clean"))


def test_undisturbed_each_version_of_a_file_is_taken_once(clean: list[Any]) -> None:
    rows, refused, taken, features = clean
    assert sorted(int(dict(row)["n"]) for row in rows) == [1, 2, 3, 4]
    assert sorted(dict(row)["rule"] for row in refused) == ["small", "small"]
    assert taken == [
        [("a.csv", "Take"), ("b.csv", "Take")],
        [("a.csv", "Replace"), ("c.csv", "Take")],
    ]
    assert features["n"] == [3, 4]


KILLS = [(step, times) for step in STEPS for times in range(1, 17 if exhaustive() else 4)]


@pytest.mark.parametrize("kill", KILLS if exhaustive() else KILLS[6::7], ids=str)
def test_killed_anywhere_the_end_is_as_of_a_run_that_nothing_disturbed(
    web: WebFolder, clean: list[Any], tmp_path: Path, kill: tuple[str, int]
) -> None:
    assert story(web, tmp_path, kill) == clean
