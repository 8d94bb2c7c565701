"""A training set that two nodes of Ray make has the bytes of one that a process makes, also if a node is lost meanwhile."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from own_environment import OwnEnvironment, own_environment
from training import begin, rows, training_set

from featurestore.storage import paths


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> OwnEnvironment:
    return own_environment("ray", tmp_path_factory.mktemp("ray"))


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose training set of 30 shards is not made yet."""
    folder = tmp_path_factory.mktemp("before")
    laptop = begin(folder, rows(2000), rows(1000, seed=1))
    laptop.run()
    laptop.apply(training_set(shards={"rows": 100}, resources={"memory": "256Mi"}))
    return folder


@pytest.fixture(scope="module")
def expected(before: Path, tmp_path_factory: pytest.TempPathFactory, ray: OwnEnvironment) -> dict[str, str]:
    """What one process makes of it."""
    store = _copy(before, tmp_path_factory.mktemp("one"))
    ray.ask("ray_build.py", store, "alone")
    return _made(store)


def test_two_nodes_make_the_bytes_of_one_process(
    ray: OwnEnvironment, before: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    store = _copy(before, tmp_path)
    done = _by_ray(ray, store, tmp_path, "two")
    assert done["nodes"] == ["head", "second"]
    assert _made(store) == expected


def test_a_node_that_is_killed_in_the_middle_of_a_shard_leaves_one_version_with_the_same_bytes(
    ray: OwnEnvironment, before: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    store = _copy(before, tmp_path)
    [shards] = _by_ray(ray, store, tmp_path, "kill")["killed_after"]
    assert 0 < shards < 30
    assert _made(store) == expected
    assert [path.name for path in (store / paths.training_results("set")).iterdir()] == ["000000000001.json"]


def _copy(folder: Path, to: Path) -> Path:
    shutil.copytree(folder / "root", to / "root")
    return to / "root"


def _by_ray(ray: OwnEnvironment, store: Path, home: Path, how: str) -> Any:
    return ray.ask("ray_build.py", store, how, environ={"HOME": str(home)})


def _made(store: Path) -> dict[str, str]:
    """Digests of all shards and of their records, by their paths."""
    files = sorted((store / "trainingsets/set").rglob("all/*"))
    assert len(files) == 60
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
