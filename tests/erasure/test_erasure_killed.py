"""An erasure that is killed at any step, and finished by whoever comes next, ends as an undisturbed one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from erasing import SECRET, Erasing, training_set
from examples import sample

from featurestore import failpoint
from featurestore.cli import erase as command
from featurestore.erasure.begin import unfinished
from featurestore.storage.delta import Table

STEPS = [step for step in get_args(failpoint.Step) if step.endswith("erasure")]
TIMES = {"after-build-erasure": 2, "after-online-erasure": 2, "after-sweep-erasure": 3}
"""Steps that are reached more than once: killed at the first and at this one."""
KILLS = [*((step, 1) for step in STEPS), *TIMES.items()]


def outcome(p: Erasing) -> Any:
    """All that readers see, and the record without what only one run counted."""
    record = command.verify(p.project, 1)
    tables = sorted((table.path.partition("/")[0], table.rows) for table in record.tables if table.rows)
    sources = [(source.uri, source.batch, source.rows) for source in record.sources]
    training = p.store(p.now).training_set("set")
    rows = sorted((row["k"], row["v"]) for row in training.to_arrow().to_pylist())
    return p.seen(), p.traces(), record.keys, tables, sources, rows, training.manifest.erasures


@pytest.fixture(scope="module")
def trained(first: Erasing, tmp_path_factory: pytest.TempPathFactory) -> Erasing:
    """With a training set that has rows of the secret, too."""
    p = first.copied(tmp_path_factory.mktemp("trained") / "project")
    p.apply(training_set())
    p.run()
    return p


@pytest.fixture(scope="module")
def undisturbed(trained: Erasing, tmp_path_factory: pytest.TempPathFactory) -> Any:
    p = trained.copied(tmp_path_factory.mktemp("undisturbed") / "project")
    p.erase()
    return outcome(p)


@pytest.mark.parametrize(("step", "times"), sample(KILLS, 4), ids=lambda value: str(value))
def test_an_erasure_that_is_killed_at_any_step_ends_as_an_undisturbed_one(
    trained: Erasing, undisturbed: Any, tmp_path: Path, step: str, times: int
) -> None:
    p = trained.copied(tmp_path / "project")
    reached = False
    with p.killed_at(step, times):
        p.erase()
        reached = True
    assert not reached, "the step was never reached"
    # A runner that works meanwhile, and files that arrive, harm nothing.
    p.run()
    for number in unfinished(p.storage):
        p.finish(number)
    assert outcome(p) == undisturbed


def test_an_erasure_is_committed_once_however_often_it_is_finished(past: Erasing) -> None:
    number = past.begin(SECRET)
    first, again = past.finish(number), past.finish(number)
    assert first == again
    assert past.begin(SECRET) == number + 1, "what is finished is not the same erasure"
    for path in ("datasets/events", "quarantine/pipelines/events"):
        table = Table.open(past.storage, path)
        assert table is not None
        assert len([entry for entry in table.history() if entry.get("erasure") == str(number)]) == 1


def test_one_that_was_begun_and_not_finished_goes_on_when_it_is_asked_for_again(past: Erasing) -> None:
    assert past.begin(SECRET) == past.begin(SECRET) == 1
    assert past.begin("b") == 2
    past.finish(2)
    assert past.traces() == []
    assert unfinished(past.storage) == []
