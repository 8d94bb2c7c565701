"""``get --watch`` and ``logs --follow`` go on: each change once, none of them lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from featurestore.cli import logs
from featurestore.cli.get import get
from featurestore.cli.output import OutputFormat
from featurestore.cli.watch import watch
from featurestore.registry.project import Project
from featurestore.resources import FeatureView
from featurestore.runner import journal
from featurestore.runner.journal import Event, Journal

SECOND = 1_000_000


class Rounds:
    """What happens while one waits, one after the other; then the wait is over. Each takes a second."""

    def __init__(self, *happens: Callable[[], Any]) -> None:
        self.happens, self.now = list(happens), 10**15

    def now_us(self) -> int:
        return self.now

    def wait(self) -> bool:
        if not self.happens:
            return False
        self.now += SECOND
        self.happens.pop(0)()
        return True


def watched(rounds: Rounds, show: Callable[[int], str]) -> list[str]:
    return list(watch(show, rounds.now_us, rounds.wait))


def test_the_list_comes_first_and_then_only_the_lines_that_change() -> None:
    rows = {"a": 1, "b": 1}
    rounds = Rounds(lambda: None, lambda: rows.update(b=2), lambda: rows.update(c=1), lambda: rows.pop("a"))
    said = watched(rounds, lambda now: "NAME ROWS\n" + "\n".join(f"{k} {v}" for k, v in rows.items()))
    assert said == ["NAME ROWS\na 1\nb 1", "b 2", "c 1"]


def test_an_age_that_grows_is_not_a_change_and_a_change_is_shown_with_its_age() -> None:
    state = {"rows": 1}
    rounds = Rounds(*[lambda: None] * 3, lambda: state.update(rows=2))
    said = watched(rounds, lambda now: f"AGE ROWS\n{(now - 10**15) // SECOND}s {state['rows']}")
    assert said == ["AGE ROWS\n0s 1", "4s 2"]


def test_a_document_is_printed_whole_each_time_it_changes() -> None:
    state = {"rows": 1}
    rounds = Rounds(lambda: None, lambda: state.update(rows=2))
    said = list(watch(lambda now: json.dumps(state, indent=1), rounds.now_us, rounds.wait, whole=True))
    assert [json.loads(text) for text in said] == [{"rows": 1}, {"rows": 2}]


def test_a_view_that_is_applied_while_one_watches_is_shown(project: Project) -> None:
    view = project.registry.all(FeatureView)["aircraft-delays"].resource
    other = view.model_copy(update={"metadata": view.metadata.model_copy(update={"name": "b"})})
    rounds = Rounds(lambda: project.registry.accept(other))
    first, changed = watched(rounds, lambda now: get(project, "views", None, None, now))
    assert first.splitlines()[0].startswith("NAME")
    assert [line.split()[0] for line in changed.splitlines() if line.startswith("b ")] == ["b"]


def event(n: int, name: str = "flights") -> Event:
    return Event(time_us=n * SECOND, subject="pipeline", name=name, what="Did", message=f"number {n}")


def test_following_shows_the_last_events_and_then_each_that_comes_also_where_the_file_is_turned(
    project: Project, monkeypatch: Any
) -> None:
    monkeypatch.setattr(journal, "_MOST_BYTES", 500)
    written = Journal(project.state)
    for n in range(5):
        written.write(event(n))
    rounds = Rounds(
        *[lambda n=n: [written.write(event(n)), written.write(event(n, "other"))] for n in range(5, 25)]
    )
    said = list(logs.follow(project, "flights", 2, None, rounds.wait))
    assert [line.rpartition(" ")[2] for line in said] == [str(n) for n in range(3, 25)]


def test_half_a_line_is_waited_for(tmp_path: Path) -> None:
    line = event(1).model_dump_json(by_alias=True) + "\n"
    with Journal(tmp_path).reader() as reader:  # before there is a file
        (tmp_path / "events.jsonl").write_text(line[:20])
        assert list(reader.new_events()) == []
        with open(tmp_path / "events.jsonl", "a") as file:
            file.write(line[20:])
        assert [it.message for it in reader.new_events()] == ["number 1"]
        assert list(reader.new_events()) == []


def test_a_stream_of_json_is_an_event_a_line(project: Project) -> None:
    Journal(project.state).write(event(1))
    [line] = logs.follow(project, None, 5, OutputFormat.JSON, lambda: False)
    assert json.loads(line)["message"] == "number 1"
