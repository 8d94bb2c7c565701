"""A version that is killed at any step is the same, byte by byte, when the next run is done."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from examples import exhaustive
from laptop import Laptop
from training import begin, rows, training_set

from featurestore.protocol import TrainingSetRequest
from featurestore.storage.objects import Storage
from featurestore.training.training_versions import complete_numbers, version_numbers
from featurestore_transforms.training.make_version import run_training_set

SHARDS = 48
STEPS = [
    *((f"after-{what}-training", n) for what in ("shard", "record") for n in range(1, SHARDS + 1)),
    *(
        (f"{what}-training", 1)
        for what in ("after-version", "before-manifest", "after-manifest", "after-result")
    ),
    ("during-retention-training", 1),
]
SPEC = {
    "split": {"by": "Time", "parts": {"train": 0.6, "validation": 0.2, "test": 0.2}},
    "shards": {"rows": 100, "shuffle": {"seed": 1}},
    "retention": {"versions": 1},
}


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """A store with a first version, and with new rows that are in none yet."""
    laptop = begin(tmp_path_factory.mktemp("begun"), rows(600))
    laptop.apply(training_set(**SPEC))
    laptop.run()
    laptop.drop("more.parquet", rows(4100, seed=5))
    laptop.run()
    return laptop


def make(root: Path) -> None:
    request = TrainingSetRequest(root=str(root), base=str(root.parent), name="set", number=2)
    run_training_set(Storage(str(root)), request, lambda _: None)


def copied(laptop: Laptop, place: Path) -> Path:
    return Path(shutil.copytree(laptop.folder / "root", place))


def content(root: Path) -> dict[str, bytes]:
    """All that stands below the set, but what tells the time."""
    folder = root / "trainingsets" / "set"
    return {
        str(it.relative_to(folder)): it.read_bytes()
        for it in folder.rglob("*")
        if it.is_file() and it.parent.name not in ("versions", "results")
    }


@pytest.fixture(scope="module")
def undisturbed(laptop: Laptop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = copied(laptop, tmp_path_factory.mktemp("undisturbed") / "root")
    make(root)
    return content(root)


# Else one of a shard, one of a record, and the last.
@pytest.mark.parametrize(("step", "times"), STEPS if exhaustive() else STEPS[34::33])
def test_a_version_that_is_killed_at_any_step_ends_as_an_undisturbed_one(
    laptop: Laptop, undisturbed: dict[str, bytes], tmp_path: Path, step: str, times: int
) -> None:
    root = copied(laptop, tmp_path / "root")
    ended = False
    with laptop.killed_at(step, times):
        make(root)
        ended = True
    assert not ended, "the step was not reached"
    make(root)
    assert content(root) == undisturbed
    storage = Storage(str(root))
    assert complete_numbers(storage, "set") == version_numbers(storage, "set") == [2]


def test_a_version_that_was_begun_goes_on_with_what_it_pinned_whatever_came_since(
    laptop: Laptop, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    root = copied(laptop, tmp_path / "root")
    with laptop.killed_at("after-shard-training", 3):
        make(root)
    # A view of the same name and no rows is what serves by now.
    pointer = root / "features" / "view" / "current.json"
    pointer.unlink()
    make(root)
    assert content(root) == undisturbed
