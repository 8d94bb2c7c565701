"""A view with more rows than fit is matched part by part on disk, and no byte of a version tells."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from examples import sample
from laptop import Laptop
from small_disk import disk, fill
from training import begin, rows, training_set

from featurestore.client.training_data import TrainingData
from featurestore.errors import StorageError
from featurestore.protocol import Progress, TrainingSetRequest
from featurestore.storage.objects import Storage
from featurestore_transforms.training import pinned_version
from featurestore_transforms.training.make_version import run_training_set

SPEC = {
    "split": {"by": "Time", "parts": {"train": 0.5, "validation": 0.25, "test": 0.25}},
    "shards": {"rows": 100, "shuffle": {"seed": 7}},
}
MATCH, JOIN = "match labels of set with view", "join features of set"
KIB = 1024


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """A store with a version that was made of a view that fits."""
    laptop = begin(tmp_path_factory.mktemp("begun"), rows(400, entities=30), rows(300, seed=1, entities=40))
    laptop.apply(training_set(**SPEC))
    laptop.run()
    return laptop


@pytest.fixture(autouse=True)
def _parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are said to take so much that only those of few entities fit, and pieces are not those of parts and shards."""
    monkeypatch.setattr("featurestore_transforms.training.joined._INDEX_BYTES", 2**24)
    monkeypatch.setattr(pinned_version, "_MOST_GROUPS", 1)
    monkeypatch.setattr(pinned_version, "ROW_GROUP_ROWS", 37)


def make(root: Path) -> list[Progress]:
    steps: list[Progress] = []
    request = TrainingSetRequest(root=str(root), base=str(root.parent), name="set", number=1)
    run_training_set(Storage(str(root)), request, steps.append)
    return steps


def without_set(laptop: Laptop, place: Path) -> Path:
    """The store once more, in which the version is begun and nothing of it is made."""
    shutil.copytree(laptop.folder / "root", place)
    [digest] = (it for it in (place / "trainingsets" / "set").iterdir() if (it / "manifest.json").exists())
    shutil.rmtree(digest)
    shutil.rmtree(place / "trainingsets" / "set" / "results")
    return place


def content(root: Path) -> dict[str, bytes]:
    """All that stands below the set, but what tells the time."""
    folder = root / "trainingsets" / "set"
    return {
        str(it.relative_to(folder)): it.read_bytes()
        for it in folder.rglob("*")
        if it.is_file() and it.parent.name != "results"
    }


def test_the_bytes_are_those_of_a_view_that_fits_and_both_steps_are_told(
    laptop: Laptop, tmp_path: Path
) -> None:
    root = without_set(laptop, tmp_path / "root")
    steps = make(root)
    assert content(root) == content(laptop.folder / "root")
    matched = [it.done for it in steps if it.step == MATCH]
    joined = [it.done for it in steps if it.step == JOIN]
    assert matched == sorted(matched)
    assert (matched[-1], joined[-1]) == (700, 700)
    assert len(matched) > 1
    assert {it.total for it in steps} == {700}


@pytest.mark.parametrize(
    ("step", "times"), sample([(step, n) for step in ("after-shard", "after-record") for n in range(1, 9)], 2)
)
def test_after_a_kill_only_labels_of_shards_that_are_not_there_are_matched_again(
    laptop: Laptop, tmp_path: Path, step: str, times: int
) -> None:
    root = without_set(laptop, tmp_path / "root")
    with laptop.killed_at(f"{step}-training", times):
        make(root)
    records = len(list(root.glob("trainingsets/set/*/_shards/*/*.json")))
    steps = make(root)
    assert content(root) == content(laptop.folder / "root")
    manifest = TrainingData.find(Storage(str(root)), "set").manifest
    shards = [shard.rows for part in manifest.parts for shard in part.shards]
    assert {it.total for it in steps if it.step == MATCH} == {sum(shards[records:])}


@pytest.mark.slow
def test_a_disk_that_is_full_is_told_and_nothing_is_left_on_it(
    laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = without_set(laptop, tmp_path / "root")
    with disk(tmp_path / "disk", "16m") as small:
        monkeypatch.setattr(tempfile, "tempdir", str(small))
        refused: list[str] = []
        for left in (4, *sample([16, 24, 32, 48, 64, 80, 96, 112, 128, 256], 2)):
            fill(small / "ballast", left * KIB)
            try:
                make(root)
            except StorageError as error:
                refused.append(str(error))
            assert os.listdir(small) == ["ballast"]
            (small / "ballast").unlink()
        make(root)
    assert refused
    assert all("this machine's disk" in message for message in refused)
    assert content(root) == content(laptop.folder / "root")
