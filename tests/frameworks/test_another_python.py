"""A training set has the same bytes when another Python makes it, by other numbers of threads and from another checkout."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from own_environment import OwnEnvironment, own_environment
from training import begin, rows, training_set

HALVES = {"train": 0.5, "test": 0.5}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> OwnEnvironment:
    return own_environment("python", tmp_path_factory.mktemp("python"))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a training set that is made, and in ``root`` beside it one where it is yet to be made."""
    folder = tmp_path_factory.mktemp("begun")
    laptop = begin(folder, rows(2000), rows(1000, seed=1))
    laptop.run()
    laptop.apply(
        training_set(
            split={"by": "Hash", "keys": ["k"], "parts": HALVES}, shards={"rows": 100, "shuffle": {"seed": 7}}
        )
    )
    shutil.copytree(folder / "root", folder / "before")
    laptop.run()
    return folder


@pytest.mark.parametrize("threads", [1, 8])
def test_another_python_with_other_threads_makes_the_same_bytes(
    other: OwnEnvironment, begun: Path, tmp_path: Path, threads: int
) -> None:
    store = tmp_path / "root"
    shutil.copytree(begun / "before", store)
    names = ("PYTHON_CPU_COUNT", "POLARS_MAX_THREADS", "OMP_NUM_THREADS")
    made = other.ask("set_make.py", store, environ=dict.fromkeys(names, str(threads)))
    assert made == {"python": [3, 13], "threads": [threads] * 3}
    assert content(store) == content(begun / "root")


def content(store: Path) -> dict[str, bytes]:
    """All files of the version: its manifest, its shards, and what was counted of each."""
    [folder] = (store / "trainingsets/set").glob("*/manifest.json")
    files = {
        str(path.relative_to(store)): path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()
    }
    assert len([name for name in files if name.endswith(".parquet")]) >= 30
    return files
